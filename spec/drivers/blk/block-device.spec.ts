import { expect } from 'chai';
import fc from 'fast-check';
import { onEveryPlatform } from '../../../contract/index.js';
import {
  type Abi,
  asSector,
  connection,
  Disconnected,
  type Domain,
  type Plain,
  XenError,
} from '../../../core/index.js';
import type { BlockDevice } from '../../../drivers/blk/block-device.js';
import { BlkFrontend } from '../../../drivers/blk/frontend.js';
import { blk } from '../../../drivers/blk/protocol.js';
import { type VbdConfig, vbdKeys } from '../../../drivers/blk/vbd-keys.js';
import { vdevOf } from '../../../drivers/blk/vdev.js';
import { contentOf, differing, Images, pattern } from './images.js';

const module = import.meta.resolve('../../../drivers/blk/module.js');

onEveryPlatform(blk, BlkFrontend, module, (connect, rig) => {
  const images = new Images();
  afterEach(() => images.remove());

  const open = (params: string, config: Partial<VbdConfig> = {}, cmdline?: Plain): Promise<BlockDevice> => {
    const { vdev = 'xvda' } = config;
    const keys = vbdKeys({ mode: 'w', ...config, vdev, params });
    return connect({ id: vdevOf(vdev), keys, ...(cmdline === undefined ? {} : { cmdline }) });
  };

  /** A disk of a guest that lays its structs out in another way than the backend. */
  const openIn = async (guest: Domain, params: string): Promise<BlockDevice> => {
    const { machine } = rig();
    const backend = await machine.boot({ name: `disks-of-${guest.name}`, module });
    const keys = vbdKeys({ vdev: 'xvda', mode: 'w', params });
    await machine.toolstack.attach({ device: 'vbd', id: 51712, frontend: guest.domid, backend, keys });
    return connection(guest, BlkFrontend, 51712);
  };

  describe('a disk', () => {
    it('tells its geometry', async () => {
      const disk = await open(images.make(64));
      expect(disk).to.include({
        sectors: 64,
        sectorSize: 512,
        physicalSectorSize: 512,
        readOnly: false,
        canFlush: true,
      });
      expect(disk).to.include({ cdrom: false, removable: false });
      const cd = await open(
        images.make(16),
        { vdev: 'xvdb', mode: 'r', cdrom: true, removable: true },
        { sectorSize: 4096 },
      );
      expect(cd).to.include({ sectors: 16, sectorSize: 4096, physicalSectorSize: 4096, readOnly: true });
      expect(cd).to.include({ cdrom: true, removable: true });
    });

    for (const sectors of [1, 7, 8, 9, 87, 88, 89, 177, 2 * 1408, 4096]) {
      it(`reads and writes ${sectors} sectors in one call`, async () => {
        const image = images.make(sectors + 3);
        const disk = await open(image);
        const into = new Uint8Array(sectors * 512);
        await disk.read(asSector(2), into);
        const expected = pattern(sectors + 3);
        expect(differing(into, expected.subarray(1024, 1024 + into.length))).to.deep.equal([]);
        into.reverse();
        await disk.write(asSector(1), into);
        expected.set(into, 512);
        expect(differing(contentOf(image), expected)).to.deep.equal([]);
      });
    }

    it('reads into, and writes from, any part of any bytes', async () => {
      const image = images.make(64);
      const disk = await open(image);
      const bytes = new Uint8Array(new SharedArrayBuffer(8192)).fill(0xee);
      await disk.read(asSector(9), bytes.subarray(100, 100 + 1024));
      const expected = new Uint8Array(8192).fill(0xee);
      expected.set(pattern(64).subarray(9 * 512, 11 * 512), 100);
      expect(differing(bytes, expected)).to.deep.equal([]);
      await disk.write(asSector(20), bytes.subarray(100, 612));
      expect(differing(contentOf(image), pattern(64))).to.deep.equal([20]);
    });

    it('resolves at once when there is nothing to move', async () => {
      const disk = await open(images.make(8));
      await disk.read(asSector(8), new Uint8Array(0));
      await disk.write(asSector(0), new Uint8Array(0));
    });

    it('flushes', async () => {
      const image = images.make(8);
      const disk = await open(image);
      await disk.write(asSector(0), new Uint8Array(512));
      await disk.flush();
      expect(differing(contentOf(image), pattern(8))).to.deep.equal([0]);
      await (await open(images.make(8), { mode: 'r', vdev: 'xvdb' })).flush();
    });

    describe('throws at once', () => {
      const wrong: readonly (readonly [
        what: string,
        sector: number,
        bytes: number,
        sectorSize: number,
        why: string,
      ])[] = [
        ['what is no whole number of sectors', 0, 100, 512, 'multiples of its 512 bytes'],
        ['half a 4096-byte sector', 0, 2048, 4096, 'multiples of its 4096 bytes'],
        ['a position within a 4096-byte sector', 4, 4096, 4096, 'multiples of its 4096 bytes'],
        ['a negative sector', -8, 4096, 512, 'multiples of its 512 bytes'],
        ['a fraction of a sector', 0.5, 512, 512, 'multiples of its 512 bytes'],
        ['no number', Number.NaN, 512, 512, 'multiples of its 512 bytes'],
        ['the sector behind the last', 64, 512, 512, 'it has 64 sectors'],
        ['an end behind the last sector', 57, 4096, 512, 'it has 64 sectors'],
        ['a sector that no disk has', Number.MAX_SAFE_INTEGER, 512, 512, 'it has 64 sectors'],
      ];
      for (const [what, sector, bytes, sectorSize, why] of wrong) {
        it(`for ${what}`, async () => {
          const disk = await open(images.make(64), {}, { sectorSize });
          const at = sector as ReturnType<typeof asSector>;
          const said = `device/vbd/51712: read of ${bytes} bytes at sector ${sector}: `;
          expect(() => disk.read(at, new Uint8Array(bytes)))
            .to.throw(RangeError, said)
            .with.property('message')
            .that.includes(why);
          expect(() => disk.write(at, new Uint8Array(bytes))).to.throw(RangeError, why);
        });
      }

      it('EROFS for a write to a read-only disk', async () => {
        const disk = await open(images.make(8), { mode: 'r' });
        expect(() => disk.write(asSector(0), new Uint8Array(512)))
          .to.throw(XenError, 'device/vbd/51712: write to sector 0')
          .with.property('code', 'EROFS');
      });
    });

    it('answers what it still can while it is closed, and nothing after', async () => {
      const disk = await open(images.make(4096));
      const outcome = (promise: Promise<void>): Promise<unknown> => promise.catch((error: unknown) => error);
      const pending = Array.from({ length: 80 }, () => outcome(disk.read(asSector(0), new Uint8Array(4096 * 12))));
      await disk.close();
      const ends = await Promise.all(pending);
      // First come, first served, up to the end.
      const end = ends.findIndex((error) => error !== undefined);
      for (const error of ends.slice(end < 0 ? 80 : end)) expect(error).to.be.instanceOf(Disconnected);
      expect(await outcome(disk.read(asSector(0), new Uint8Array(512)))).to.be.instanceOf(Disconnected);
      expect(await outcome(disk.flush())).to.be.instanceOf(Disconnected);
    });

    it('is not disturbed by another one that is closed', async () => {
      const [first, second] = [await open(images.make(64)), await open(images.make(64), { vdev: 'xvdb' })];
      await first.close();
      const into = new Uint8Array(4096);
      await second.read(asSector(3), into);
      expect(differing(into, pattern(64).subarray(3 * 512, 11 * 512))).to.deep.equal([]);
    });
  });

  describe('any reads, writes and flushes, all at once or in turn, have the effect that they would have on plain bytes', () => {
    const SECTORS = 1024;

    /** What happens to the disk, in 512-byte sectors; `wait` lets what came before finish. */
    interface Step {
      readonly kind: 'read' | 'write' | 'flush' | 'wait';
      readonly sector: number;
      readonly sectors: number;
      readonly value: number;
    }

    const nowhere = { sector: 0, sectors: 0, value: 0 };

    const steps = (unit: number): fc.Arbitrary<readonly Step[]> => {
      const size = fc.oneof(
        { weight: 4, arbitrary: fc.integer({ min: 1, max: 16 }) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 300 }) },
      );
      const move = fc.tuple(fc.nat(SECTORS / unit - 1), size, fc.nat(255)).map(([at, n, value]) => ({
        sector: at * unit,
        sectors: Math.min(Math.ceil(n / unit), SECTORS / unit - at) * unit,
        value,
      }));
      const step = fc.oneof(
        { weight: 6, arbitrary: move.map((at): Step => ({ kind: 'read', ...at })) },
        { weight: 6, arbitrary: move.map((at): Step => ({ kind: 'write', ...at })) },
        { weight: 1, arbitrary: fc.constant<Step>({ kind: 'flush', ...nowhere }) },
        { weight: 1, arbitrary: fc.constant<Step>({ kind: 'wait', ...nowhere }) },
      );
      return fc.array(step, { maxLength: 80, size: 'max' });
    };

    const holds = async (disk: BlockDevice, image: string, unit: number, numRuns: number): Promise<void> => {
      let model = contentOf(image);
      await fc.assert(
        fc.asyncProperty(steps(unit), async (list) => {
          await disk.write(asSector(0), pattern(SECTORS));
          model = pattern(SECTORS);
          const pending: Promise<void>[] = [];
          const reads: { readonly found: Uint8Array; readonly expected: Uint8Array }[] = [];
          for (const step of list) {
            if (step.kind === 'wait') await Promise.all(pending.splice(0));
            else if (step.kind === 'flush') pending.push(disk.flush());
            else {
              const { kind, sector, sectors, value } = step;
              const end = (sector + sectors) * 512;
              const bytes = new Uint8Array(sectors * 512).fill(value);
              pending.push(kind === 'read' ? disk.read(asSector(sector), bytes) : disk.write(asSector(sector), bytes));
              if (kind === 'read') reads.push({ found: bytes, expected: model.slice(sector * 512, end) });
              else model.set(bytes, sector * 512);
            }
          }
          await Promise.all(pending);
          for (const { found, expected } of reads) expect(differing(found, expected)).to.deep.equal([]);
          expect(differing(contentOf(image), model)).to.deep.equal([]);
        }),
        { numRuns },
      );
    };

    for (const sectorSize of [512, 4096]) {
      it(`with sectors of ${sectorSize} bytes`, async () => {
        const image = images.make(SECTORS);
        await holds(await open(image, {}, { sectorSize }), image, sectorSize / 512, 60);
      });
    }

    it('with a disk that answers later', async () => {
      const image = images.make(SECTORS);
      await holds(await open(image, {}, { io: 'async' }), image, 1, 40);
    });

    for (const abi of ['x86_32-abi', 'arm-abi'] as const satisfies readonly Abi[]) {
      it(`from a guest of ${abi}`, async () => {
        const image = images.make(SECTORS);
        await holds(await openIn(await rig().machine.guest('other', abi), image), image, 1, 30);
      });
    }
  });
});
