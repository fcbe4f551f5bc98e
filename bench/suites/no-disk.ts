import { asSector } from '../../core/index.js';
import type { Disk } from '../../drivers/blk/index.js';

/** A disk of a gibibyte that moves nothing: what is left is the cost of the way to it. */
export const noDisk = (options: { readonly readOnly: boolean }): Disk => ({
  sectors: asSector(2 ** 21),
  sectorSize: 512,
  readOnly: options.readOnly,
  readInto() {},
  writeFrom() {},
  flush() {},
  close() {},
});
