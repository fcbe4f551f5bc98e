import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { asDomid, asGrantRef, PAGE_SIZE } from '../../../core/abi/units.js';
import { Arena } from '../../../platform/xen/arena.js';
import { XenGrantTable } from '../../../platform/xen/grant-table.js';
import { type Libc, loadLibc } from '../../../platform/xen/libc.js';

const hindrance = await loadLibc().then(
  () => (process.platform === 'linux' ? undefined : 'Linux only'),
  (error: unknown) => String(error),
);

(hindrance === undefined ? describe : describe.skip)(
  `grants of a process on Xen${hindrance === undefined ? '' : ` (${hindrance})`}`,
  () => {
    const path = join(tmpdir(), `splitring-grants-${process.pid}`);
    const peer = asDomid(7);
    let fd: number;
    let calls: number;
    let answer: number;
    let table: XenGrantTable;
    let arena: Arena;

    // A file stands for what gntdev maps; only its requests, which a file has not, are answered here.
    beforeEach(async () => {
      writeFileSync(path, new Uint8Array(2 * PAGE_SIZE).fill(7));
      fd = openSync(path, 'r+');
      calls = answer = 0;
      const real = await loadLibc();
      const libc: Libc = {
        ...real,
        ioctl: () => {
          calls++;
          return answer;
        },
      };
      arena = new Arena(libc, 16);
      const gntdev = { path, fd, [Symbol.dispose]: () => closeSync(fd) };
      table = new XenGrantTable({ libc, arena, gntdev, openGntalloc: () => gntdev });
    });
    afterEach(() => rmSync(path));

    it('can be let go of when the device has been closed: a disk may have been at them for longer', () => {
      const page = table.map(peer, [asGrantRef(8), asGrantRef(9)]);
      const { bytes } = page;
      expect(bytes[PAGE_SIZE]).to.equal(7);
      const taken = arena.taken;
      table[Symbol.dispose]();
      closeSync(fd);
      expect(bytes[PAGE_SIZE]).to.equal(7);
      answer = -9; // EBADF
      calls = 0;
      page[Symbol.dispose]();
      expect(calls).to.equal(0);
      expect(bytes[PAGE_SIZE]).to.equal(0);
      expect(arena.taken).to.equal(taken - 2);
      expect(table.counts.mapped).to.equal(0);
    });
  },
);
