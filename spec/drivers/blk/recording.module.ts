import { ContainerModule, inject, injectable } from 'inversify';
import {
  CommandLine,
  Domain,
  type Domid,
  type GrantRef,
  GrantTable,
  type Page,
  type Plain,
  Reporter,
  XenError,
} from '../../../core/index.js';
import { type Disk, type DiskRequest, Disks } from '../../../drivers/blk/disk.js';
import { RawDisk } from '../../../drivers/blk/host/raw-disk.js';
import { obey } from '../../support/orders.js';

export { BlkBackend } from '../../../drivers/blk/backend.js';

/** What a recording disk reports of each call. */
export type Call =
  | { readonly call: 'read' | 'write'; readonly sector: number; readonly views: readonly number[] }
  | { readonly call: 'flush' | 'close' };

/** How recording disks behave: `bad` sectors fail every call that touches them, `badFlush` every flush. */
export interface RecordingOptions {
  readonly [option: string]: Plain;
  readonly sectorSize?: number;
  readonly bad?: readonly number[];
  readonly badFlush?: boolean;
}

/** A raw image that reports what is asked of it, and fails where it is told to. */
class RecordingDisk extends RawDisk implements Disk {
  readonly #options: RecordingOptions;
  readonly #report: (call: Call) => void;

  constructor({ params, mode }: DiskRequest, options: RecordingOptions, report: (call: Call) => void) {
    super(params, { mode, sectorSize: options.sectorSize ?? 512 });
    this.#options = options;
    this.#report = report;
  }

  override readInto(views: readonly Uint8Array[], position: number): void {
    this.#move('read', views, position);
    super.readInto(views, position);
  }

  override writeFrom(views: readonly Uint8Array[], position: number): void {
    this.#move('write', views, position);
    super.writeFrom(views, position);
  }

  override flush(): void {
    this.#report({ call: 'flush' });
    if (this.#options.badFlush === true) throw new XenError('EIO', 'a bad flush');
    super.flush();
  }

  override close(): void {
    this.#report({ call: 'close' });
    super.close();
  }

  #move(call: 'read' | 'write', views: readonly Uint8Array[], position: number): void {
    const sector = position / 512;
    const lengths = views.map(({ length }) => length);
    this.#report({ call, sector, views: lengths });
    const end = sector + lengths.reduce((sum, length) => sum + length, 0) / 512;
    const bad = this.#options.bad?.find((one) => one >= sector && one < end);
    if (bad !== undefined) throw new XenError('EIO', `sector ${bad} is bad`);
  }
}

/**
 * Opens recording disks. Ordered to `scribble` on a page of a peer's, it overwrites what lies there from a word on in the middle of
 * each call, until it is ordered to `stop`.
 */
@injectable()
class RecordingDisks extends Disks {
  readonly #options: RecordingOptions;
  readonly #reporter: Reporter;
  #scribble: (() => void) | undefined;

  constructor(
    @inject(Domain) domain: Domain,
    @inject(CommandLine) { value }: CommandLine,
    @inject(Reporter) reporter: Reporter,
    @inject(GrantTable) grants: GrantTable,
  ) {
    super();
    this.#options = (value ?? {}) as RecordingOptions;
    this.#reporter = reporter;
    let page: Page | undefined;
    obey(domain, {
      scribble: (peer: Domid, gref: GrantRef, from: number) => {
        page = grants.map(peer, [gref]);
        const { words } = page;
        this.#scribble = () => words.fill(0x7f7f7f7f, from);
      },
      stop: () => {
        this.#scribble = undefined;
        page?.[Symbol.dispose]();
      },
    });
  }

  open(request: DiskRequest): Disk {
    return new RecordingDisk(request, this.#options, (call) => {
      this.#scribble?.();
      this.#reporter.report(call);
    });
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Disks).to(RecordingDisks).inSingletonScope();
});
