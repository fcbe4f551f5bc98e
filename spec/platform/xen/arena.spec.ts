import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { PAGE_SIZE } from '../../../core/abi/units.js';
import { XenError } from '../../../core/errors.js';
import { Arena } from '../../../platform/xen/arena.js';
import { type Libc, loadLibc } from '../../../platform/xen/libc.js';

/** Why it cannot be run here; undefined where it can. */
const hindrance = await loadLibc().then(
  () => (process.platform === 'linux' ? undefined : 'Linux only'),
  (error: unknown) => String(error),
);

(hindrance === undefined ? describe : describe.skip)(
  `the arena of a process on Xen${hindrance === undefined ? '' : ` (${hindrance})`}`,
  () => {
    let libc: Libc;
    before(async () => {
      libc = await loadLibc();
    });

    it('gives out pages side by side, no page twice, and takes all back (property)', () => {
      fc.assert(
        fc.property(fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 9 })), { maxLength: 60 }), (steps) => {
          const arena = new Arena(libc, 64);
          const runs: { start: number; count: number }[] = [];
          for (const [take, n] of steps) {
            if (take) {
              const taken = new Set(
                runs.flatMap(({ start, count }) => Array.from({ length: count }, (_, i) => start + i)),
              );
              try {
                const start = arena.take(n);
                for (let i = 0; i < n; i++) expect(taken.has(start + i)).to.equal(false);
                expect(start + n).to.be.at.most(64);
                runs.push({ start, count: n });
              } catch (error) {
                expect(error).to.be.instanceOf(XenError).with.property('code', 'ENOMEM');
                const free = Array.from({ length: 64 }, (_, i) => (taken.has(i) ? ' ' : 'x')).join('');
                expect(free).not.to.include('x'.repeat(n));
              }
            } else {
              const [run] = runs.splice(n % Math.max(runs.length, 1), 1);
              if (run !== undefined) arena.give(run.start, run.count);
            }
            expect(arena.taken).to.equal(runs.reduce((sum, { count }) => sum + count, 0));
          }
          for (const { start, count } of runs) arena.give(start, count);
          expect(arena.take(64)).to.equal(0);
        }),
      );
    });

    it('shows a file’s pages where they are put, through the view that it always had, and zeros after they are blanked', () => {
      const path = join(tmpdir(), `splitring-arena-${process.pid}`);
      writeFileSync(path, new Uint8Array(3 * PAGE_SIZE).fill(7));
      const fd = openSync(path, 'r+');
      try {
        const arena = new Arena(libc, 8);
        const page = arena.take(2);
        const view = arena.bytes.subarray(page * PAGE_SIZE, (page + 2) * PAGE_SIZE);
        expect(view.every((byte) => byte === 0)).to.equal(true);
        expect(arena.place(page, 2, { fd, offset: PAGE_SIZE, readonly: false })).to.equal(0);
        expect(view.every((byte) => byte === 7)).to.equal(true);
        arena.blank(page, 2);
        expect(view.every((byte) => byte === 0)).to.equal(true);
        view.fill(1);
        expect(view.every((byte) => byte === 1)).to.equal(true);
      } finally {
        closeSync(fd);
        rmSync(path);
      }
    });

    it('says -errno when pages cannot be put there, and is whole again when blanked', () => {
      const arena = new Arena(libc, 4);
      const page = arena.take(1);
      const fd = openSync('/dev/null', 'r+');
      expect(arena.place(page, 1, { fd, offset: 0, readonly: false })).to.equal(-19); // ENODEV
      closeSync(fd);
      arena.blank(page, 1);
      expect(arena.bytes[page * PAGE_SIZE]).to.equal(0);
    });

    it('refuses no pages, and part of a page', () => {
      const arena = new Arena(libc, 4);
      for (const count of [0, -1, 1.5]) expect(() => arena.take(count)).to.throw(RangeError);
    });
  },
);
