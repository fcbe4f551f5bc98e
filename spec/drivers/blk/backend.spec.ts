import { renameSync } from 'node:fs';
import { expect } from 'chai';
import { onEveryPlatform, type Rig } from '../../../contract/index.js';
import { type Domid, type SharedPage, XenStore } from '../../../core/index.js';
import { BlkFrontend } from '../../../drivers/blk/frontend.js';
import { blk } from '../../../drivers/blk/protocol.js';
import { vbdKeys } from '../../../drivers/blk/vbd-keys.js';
import { blkifOp, blkifRsp } from '../../../drivers/blk/wire.js';
import { contentOf, differing, Images, pattern } from './images.js';
import { RawFrontend, type RawOptions, type RawRequest } from './raw-frontend.js';
import { type Call, during, type RecordingOptions } from './recording.module.js';

const { okay, error, notSupported } = blkifRsp;
const module = import.meta.resolve('./recording.module.js');

onEveryPlatform(blk, BlkFrontend, module, (_connect, rig) => {
  const images = new Images();
  let backends: number;
  let calls: Call[];

  beforeEach(() => {
    backends = 0;
    calls = [];
  });

  afterEach(() => {
    during.call = undefined;
    images.remove();
  });

  interface Setup extends Partial<Omit<RawOptions, 'backend'>> {
    readonly disk?: RecordingOptions;
  }

  const boot = async (cmdline: RecordingOptions = {}): Promise<Domid> => {
    const { machine } = rig();
    const domid = await machine.boot({ name: `disks-${backends++}`, module, cmdline });
    machine.reportsOf$(domid).subscribe((call) => calls.push(call as unknown as Call));
    return domid;
  };

  /** Runs `body` with a frontend made by hand, on a backend of its own. */
  const withFrontend = async (
    setup: Setup,
    body: (frontend: RawFrontend, image: string, rig: Rig) => Promise<void>,
  ): Promise<void> => {
    const { machine, guest } = rig();
    const backend = await boot(setup.disk);
    const params = setup.params ?? images.make(64);
    const frontend = await RawFrontend.connect(machine, guest, { mode: 'w', ...setup, params, backend });
    await body(frontend, params, rig());
    await frontend.close();
  };

  const read = (sector: number | bigint, ...segments: NonNullable<RawRequest['segments']>): RawRequest => ({
    operation: blkifOp.read,
    sector,
    segments,
  });
  const write = (sector: number | bigint, ...segments: NonNullable<RawRequest['segments']>): RawRequest => ({
    operation: blkifOp.write,
    sector,
    segments,
  });
  const flush: RawRequest = { operation: blkifOp.flush };

  /** What the backend has mapped of the guest besides its ring. */
  const mapped = ({ machine, guest }: Rig): number =>
    (machine.ledger().find(({ domid }) => domid === guest.domid)?.mapped ?? Number.NaN) - 1;

  /** The references of up to four pages. */
  const refsOf = ({ refs }: SharedPage): readonly [number, number, number, number] =>
    refs as readonly number[] as readonly [number, number, number, number];

  const moves = (): readonly Call[] => calls.filter(({ call }) => call !== 'close');

  describe('the backend of class vbd', () => {
    describe('says what it serves:', () => {
      const keysOf = async (setup: Setup): Promise<Readonly<Record<string, string | undefined>>> => {
        const found: Record<string, string | undefined> = {};
        await withFrontend(setup, async ({ otherendPath }, _image, { machine }) => {
          const store = machine.dom0.get(XenStore);
          for (const name of (await store.directory(otherendPath)) ?? []) {
            found[name] = await store.read(`${otherendPath}/${name}`);
          }
        });
        return found;
      };

      it('flush, the size in units of 512 bytes, the sectors, and no more than it has (blkif.h)', async () => {
        const { frontend, 'frontend-id': _id, online, state, params, ...rest } = await keysOf({});
        expect(rest).to.deep.equal({
          script: '/etc/xen/scripts/block',
          removable: '0',
          bootable: '1',
          dev: 'xvda',
          type: 'phy',
          mode: 'w',
          'device-type': 'disk',
          'discard-enable': '1',
          'feature-flush-cache': '1',
          sectors: '64',
          'sector-size': '512',
          'physical-sector-size': '512',
          info: '0',
        });
      });

      it('4096-byte sectors, of which sectors still counts 512-byte units (blkif.h)', async () => {
        expect(await keysOf({ disk: { sectorSize: 4096 } })).to.include({
          sectors: '64',
          'sector-size': '4096',
          'physical-sector-size': '4096',
        });
      });

      it('that it is a CD, removable, read-only (blkif.h VDISK_CDROM, VDISK_REMOVABLE, VDISK_READONLY)', async () => {
        expect(await keysOf({ mode: 'r' })).to.include({ info: '4' });
        expect(await keysOf({ mode: 'r', cdrom: true, removable: true, vdev: 'xvdb' })).to.include({ info: '7' });
      });

      it('why it cannot serve a disk, once, and closes', async () => {
        const { machine, guest } = rig();
        const backend = await boot();
        const lines: string[] = [];
        machine.log$.subscribe(({ level, text }) => level === 'error' && lines.push(text));
        const params = `${images.make(8)}.not`;
        const keys = vbdKeys({ vdev: 'xvda', params });
        await machine.toolstack.attach({ device: 'vbd', id: 51712, frontend: guest.domid, backend, keys });
        // The guest has no driver yet, and stays Initialising.
        await machine.idle();
        const store = machine.dom0.get(XenStore);
        const path = `backend/vbd/${guest.domid}/51712`;
        const why = `DiskError: ${params}: there is no such file; check the path, or make an image with truncate -s 16M`;
        expect(await store.read(`/local/domain/${backend}/error/${path}/error`)).to.equal(`5 ${why}`);
        expect(await store.read(`/local/domain/${backend}/${path}/state`)).to.equal('6');
        expect(lines).to.deep.equal([why]);
      });

      it('why it cannot serve a disk, and serves it when the frontend begins anew and it can', async () => {
        const { machine, guest } = rig();
        const backend = await boot();
        const params = images.make(8);
        const hidden = `${params}.hidden`;
        renameSync(params, hidden);
        const frontend = await RawFrontend.attach(machine, guest, { params, backend });
        await machine.idle();
        renameSync(hidden, params);
        await frontend.store.write(`${frontend.path}/state`, '6');
        await machine.idle();
        await frontend.store.write(`${frontend.path}/state`, '1');
        await frontend.share();
        expect(await frontend.statuses(read(0, { gref: frontend.shareMore().ref }))).to.deep.equal([okay]);
        await frontend.close();
      });
    });

    describe('moves', () => {
      it('the sectors of each segment, first and last included, and touches no byte beside them', async () => {
        await withFrontend({}, async (frontend, image) => {
          const pages = frontend.shareMore(3);
          pages.bytes.fill(0xee);
          const [a, b, c] = refsOf(pages);
          const segments = [
            { gref: a, first: 3, last: 3 },
            { gref: b, first: 0, last: 7 },
            { gref: c, first: 6, last: 7 },
          ];
          expect(await frontend.statuses(read(20, ...segments))).to.deep.equal([okay]);
          const expected = new Uint8Array(3 * 4096).fill(0xee);
          const disk = pattern(64);
          expected.set(disk.subarray(20 * 512, 21 * 512), 3 * 512);
          expected.set(disk.subarray(21 * 512, 29 * 512), 4096);
          expected.set(disk.subarray(29 * 512, 31 * 512), 2 * 4096 + 6 * 512);
          expect(differing(pages.bytes, expected)).to.deep.equal([]);

          pages.bytes.fill(0x11, 0, 4096).fill(0x22, 4096, 8192).fill(0x33, 8192);
          expect(await frontend.statuses(write(40, ...segments))).to.deep.equal([okay]);
          disk
            .fill(0x11, 40 * 512, 41 * 512)
            .fill(0x22, 41 * 512, 49 * 512)
            .fill(0x33, 49 * 512, 51 * 512);
          expect(differing(contentOf(image), disk)).to.deep.equal([]);
        });
      });

      it('11 segments, the most that a request has', async () => {
        await withFrontend({ params: images.make(88) }, async (frontend) => {
          const pages = frontend.shareMore(11);
          expect(await frontend.statuses(read(0, ...pages.refs.map((gref) => ({ gref }))))).to.deep.equal([okay]);
          expect(differing(pages.bytes, pattern(88))).to.deep.equal([]);
        });
      });

      it('one page that a request names again and again, which is legal', async () => {
        await withFrontend({}, async (frontend, image) => {
          const page = frontend.shareMore();
          page.bytes.fill(0x77);
          const same = { gref: page.ref };
          expect(await frontend.statuses(write(0, same, same, same), read(32, same, same))).to.deep.equal([okay, okay]);
          const disk = pattern(64);
          disk.fill(0x77, 0, 24 * 512);
          expect(differing(contentOf(image), disk)).to.deep.equal([]);
          expect(differing(page.bytes, disk.subarray(40 * 512, 48 * 512))).to.deep.equal([]);
        });
      });

      it('one page into a whole ring of requests, more often than it can be mapped at once', async () => {
        await withFrontend({ params: images.make(32 * 88) }, async (frontend, image) => {
          const page = frontend.shareMore(1, { readonly: true });
          const segments = Array.from({ length: 11 }, () => ({ gref: page.ref }));
          const requests = Array.from({ length: 32 }, (_, i) => write(i * 88, ...segments));
          expect(await frontend.statuses(...requests)).to.deep.equal(requests.map(() => okay));
          expect(contentOf(image).every((byte) => byte === 0)).to.equal(true);
        });
      });

      it('pages that it may only read to the disk, and never from it', async () => {
        await withFrontend({}, async (frontend) => {
          const page = frontend.shareMore(1, { readonly: true });
          const segment = { gref: page.ref };
          expect(await frontend.statuses(write(0, segment), read(0, segment))).to.deep.equal([okay, error]);
          expect(page.bytes.every((byte) => byte === 0)).to.equal(true);
        });
      });

      it('nothing onto a disk that the toolstack has made read-only', async () => {
        await withFrontend({ mode: 'r' }, async (frontend, image) => {
          const segment = { gref: frontend.shareMore().ref };
          expect(await frontend.statuses(write(0, segment), flush, read(0, segment))).to.deep.equal([
            error,
            okay,
            okay,
          ]);
          expect(differing(contentOf(image), pattern(64))).to.deep.equal([]);
        });
      });
    });

    describe('answers ERROR, and touches nothing, for', () => {
      type Shape = readonly [what: string, request: (gref: number) => Omit<RawRequest, 'operation'>];
      const shapes: readonly Shape[] = [
        ['no segment', () => ({ segments: [] })],
        ['12 segments', (gref) => ({ segments: Array.from({ length: 11 }, () => ({ gref })), nrSegments: 12 })],
        ['255 segments', (gref) => ({ segments: Array.from({ length: 11 }, () => ({ gref })), nrSegments: 255 })],
        ['a first sector behind the last', (gref) => ({ segments: [{ gref }, { gref, first: 4, last: 3 }] })],
        ['a last sector beyond the page', (gref) => ({ segments: [{ gref, first: 0, last: 8 }] })],
        ['a first sector beyond the page', (gref) => ({ segments: [{ gref, first: 8, last: 8 }] })],
        ['a segment of 256 sectors', (gref) => ({ segments: [{ gref, first: 0, last: 255 }] })],
        ['the first sector behind the disk', (gref) => ({ sector: 64, segments: [{ gref, first: 0, last: 0 }] })],
        ['an end behind the disk', (gref) => ({ sector: 57, segments: [{ gref }] })],
        [
          'an end behind the disk, by the last segment',
          (gref) => ({ sector: 48, segments: [{ gref }, { gref }, { gref, last: 0 }] }),
        ],
        ['sector 2^32', (gref) => ({ sector: 2 ** 32, segments: [{ gref }] })],
        ['sector 2^53', (gref) => ({ sector: 2n ** 53n, segments: [{ gref }] })],
        ['sector 2^63', (gref) => ({ sector: 2n ** 63n, segments: [{ gref }] })],
        ['sector 2^64 - 1, whose end wraps', (gref) => ({ sector: 2n ** 64n - 1n, segments: [{ gref }] })],
        ['sector 2^64 - 8, whose end is 0', (gref) => ({ sector: 2n ** 64n - 8n, segments: [{ gref }] })],
      ];
      const misaligned: readonly Shape[] = [
        ['a sector that is no multiple of 4096 bytes', (gref) => ({ sector: 1, segments: [{ gref }] })],
        ['a segment that is no multiple of 4096 bytes', (gref) => ({ segments: [{ gref, first: 0, last: 3 }] })],
        [
          'segments that are one only together',
          (gref) => ({
            segments: [
              { gref, last: 3 },
              { gref, first: 4 },
            ],
          }),
        ],
      ];
      const cases = [
        ...shapes.map(([what, request]) => ({ what, request, sectorSize: 512 })),
        ...misaligned.map(([what, request]) => ({ what, request, sectorSize: 4096 })),
      ];

      for (const { what, request, sectorSize } of cases) {
        it(what, async () => {
          await withFrontend({ disk: { sectorSize } }, async (frontend, image, rig) => {
            const page = frontend.shareMore();
            page.bytes.fill(0xee);
            const shape = request(page.ref);
            const statuses = await frontend.statuses(
              { ...shape, operation: blkifOp.read },
              { ...shape, operation: blkifOp.write },
              ...(what === 'no segment' ? [] : [{ ...shape, operation: blkifOp.flush }]),
            );
            expect(statuses).to.satisfy((all: readonly number[]) => all.every((status) => status === error));
            expect(moves()).to.deep.equal([]);
            expect(page.bytes.every((byte) => byte === 0xee)).to.equal(true);
            expect(differing(contentOf(image), pattern(64))).to.deep.equal([]);
            expect(mapped(rig)).to.equal(0);
            // The link goes on.
            expect(await frontend.statuses(read(56, { gref: page.ref }))).to.deep.equal([okay]);
          });
        });
      }
    });

    for (const operation of [blkifOp.writeBarrier, 4, blkifOp.discard, blkifOp.indirect, 7, 0x80, 0xff]) {
      it(`answers operation ${operation}, which it does not offer, by EOPNOTSUPP`, async () => {
        await withFrontend({}, async (frontend, image) => {
          const request = { operation, segments: [{ gref: frontend.shareMore().ref }] };
          expect(await frontend.statuses(request, request)).to.deep.equal([notSupported, notSupported]);
          expect(moves()).to.deep.equal([]);
          expect(differing(contentOf(image), pattern(64))).to.deep.equal([]);
        });
      });
    }

    describe('answers ERROR for a request of which it cannot map a segment, and for no other (XSA-361, XSA-365):', () => {
      for (let k = 0; k < 11; k++) {
        it(`segment ${k} of 11`, async () => {
          await withFrontend({ params: images.make(352) }, async (frontend, image, rig) => {
            const pages = frontend.shareMore(11);
            pages.bytes.fill(0x66);
            const good = pages.refs.map((gref) => ({ gref: gref as number }));
            const bad = good.map((segment, i) => (i === k ? { gref: 0xffffffff } : segment));
            const statuses = await frontend.statuses(
              write(0, ...good),
              write(88, ...bad),
              write(176, ...good),
              read(264, ...bad),
            );
            expect(statuses).to.deep.equal([okay, error, okay, error]);
            const disk = pattern(352);
            disk.fill(0x66, 0, 88 * 512).fill(0x66, 176 * 512, 264 * 512);
            expect(differing(contentOf(image), disk)).to.deep.equal([]);
            expect(pages.bytes.every((byte) => byte === 0x66)).to.equal(true);
            expect(mapped(rig)).to.equal(0);
          });
        });
      }

      it('one that was never granted, was taken back, is beyond the table, or another domain’s', async () => {
        await withFrontend({}, async (frontend, _image, { machine }) => {
          const other = await machine.guest('other');
          const gone = frontend.shareMore();
          const refs = [frontend.shareMore(1, { to: other.domid }).ref, 400, 1 << 20, 0xffffffff, gone.ref];
          gone[Symbol.dispose]();
          const requests = refs.flatMap((gref) => [read(0, { gref }), write(0, { gref })]);
          expect(await frontend.statuses(...requests)).to.deep.equal(requests.map(() => error));
          expect(moves()).to.deep.equal([]);
        });
      });
    });

    describe('flushes', () => {
      it('the disk, once for each flush, after what came before and before what comes after it', async () => {
        await withFrontend({}, async (frontend) => {
          const gref = frontend.shareMore().ref;
          const requests = [write(0, { gref }), flush, write(8, { gref }), flush, flush];
          expect(await frontend.statuses(...requests)).to.deep.equal([okay, okay, okay, okay, okay]);
          expect(moves().map(({ call }) => call)).to.deep.equal(['write', 'flush', 'write', 'flush', 'flush']);
        });
      });

      it('before it writes what a flush carries (blkback, QEMU)', async () => {
        await withFrontend({}, async (frontend, image) => {
          const page = frontend.shareMore();
          page.bytes.fill(0x55);
          const carrying = { operation: blkifOp.flush, sector: 8, segments: [{ gref: page.ref }] };
          expect(await frontend.statuses(write(0, { gref: page.ref }), carrying)).to.deep.equal([okay, okay]);
          expect(moves().map(({ call }) => call)).to.deep.equal(['write', 'flush', 'write']);
          const disk = pattern(64);
          disk.fill(0x55, 0, 16 * 512);
          expect(differing(contentOf(image), disk)).to.deep.equal([]);
        });
      });

      it('and answers ERROR when the disk cannot', async () => {
        await withFrontend({ disk: { badFlush: true } }, async (frontend, image) => {
          const carrying = { operation: blkifOp.flush, sector: 8, segments: [{ gref: frontend.shareMore().ref }] };
          expect(await frontend.statuses(flush, carrying)).to.deep.equal([error, error]);
          expect(differing(contentOf(image), pattern(64))).to.deep.equal([]);
        });
      });
    });

    describe('makes one call on the disk', () => {
      const neighbours = (refs: readonly number[], make: typeof read, sector = 0): readonly RawRequest[] =>
        refs.map((gref, i) => make(sector + i * 8, { gref }));

      it('for adjacent sectors of requests that follow one another, however many', async () => {
        await withFrontend({ params: images.make(256) }, async (frontend) => {
          const pages = frontend.shareMore(32);
          const requests = neighbours(pages.refs, read);
          expect(await frontend.statuses(...requests)).to.deep.equal(requests.map(() => okay));
          // Pages that lie side by side are one view.
          expect(moves()).to.deep.equal([{ call: 'read', sector: 0, views: [32 * 4096] }]);
          expect(differing(pages.bytes, pattern(256))).to.deep.equal([]);
        });
      });

      it('with a view for each run of pages that lie side by side (XSA-229)', async () => {
        await withFrontend({ params: images.make(256) }, async (frontend, image) => {
          const pages = frontend.shareMore(4);
          pages.bytes.fill(1, 0, 4096).fill(2, 4096, 8192).fill(3, 8192, 12288).fill(4, 12288);
          const [a, b, c, d] = refsOf(pages);
          const requests = [write(8, { gref: c }, { gref: d }), write(24, { gref: a, first: 0, last: 3 }, { gref: b })];
          expect(await frontend.statuses(...requests)).to.deep.equal([okay, okay]);
          expect(moves()).to.deep.equal([{ call: 'write', sector: 8, views: [8192, 2048, 4096] }]);
          const disk = pattern(256);
          disk
            .fill(3, 8 * 512, 16 * 512)
            .fill(4, 16 * 512, 24 * 512)
            .fill(1, 24 * 512, 28 * 512)
            .fill(2, 28 * 512, 36 * 512);
          expect(differing(contentOf(image), disk)).to.deep.equal([]);
        });
      });

      it('of a mebibyte at most', async () => {
        await withFrontend({ params: images.make(32 * 88) }, async (frontend) => {
          const pages = frontend.shareMore(11);
          const requests = Array.from({ length: 32 }, (_, i) => read(i * 88, ...pages.refs.map((gref) => ({ gref }))));
          expect(await frontend.statuses(...requests)).to.deep.equal(requests.map(() => okay));
          const sizes = moves().map((call) => ('views' in call ? call.views.reduce((sum, n) => sum + n, 0) : 0));
          expect(sizes).to.deep.equal([23 * 45056, 9 * 45056]);
        });
      });

      const separate: readonly (readonly [string, (a: number, b: number) => readonly RawRequest[]])[] = [
        ['a read and then a write', (a, b) => [read(0, { gref: a }), write(8, { gref: b })]],
        ['a gap', (a, b) => [read(0, { gref: a }), read(16, { gref: b })]],
        ['an overlap', (a, b) => [read(0, { gref: a }), read(4, { gref: b })]],
        ['falling sectors', (a, b) => [read(8, { gref: a }), read(0, { gref: b })]],
        ['a flush between them', (a, b) => [write(0, { gref: a }), flush, write(8, { gref: b })]],
      ];
      for (const [what, requests] of separate) {
        it(`for each request where there is ${what}`, async () => {
          await withFrontend({}, async (frontend) => {
            const [a, b] = refsOf(frontend.shareMore(2));
            expect(await frontend.statuses(...requests(a, b))).to.deep.equal(requests(a, b).map(() => okay));
            expect(moves().filter(({ call }) => call !== 'flush')).to.have.length(2);
          });
        });
      }

      it('and answers requests it need not carry out without parting those around them', async () => {
        await withFrontend({}, async (frontend) => {
          const [a, b] = refsOf(frontend.shareMore(2));
          const requests = [read(0, { gref: a }), { operation: 9 }, read(64, { gref: a }), read(8, { gref: b })];
          expect(await frontend.statuses(...requests)).to.deep.equal([okay, notSupported, error, okay]);
          expect(moves()).to.have.length(1);
        });
      });

      it('and when that fails, one for each request: only those that concern a bad sector are answered ERROR', async () => {
        await withFrontend({ params: images.make(256), disk: { bad: [17, 200] } }, async (frontend, image) => {
          const pages = frontend.shareMore(5);
          pages.bytes.fill(0x44);
          const requests = neighbours(pages.refs, write);
          expect(await frontend.statuses(...requests)).to.deep.equal([okay, okay, error, okay, okay]);
          expect(moves()).to.have.length(6);
          const disk = pattern(256);
          disk.fill(0x44, 0, 16 * 512).fill(0x44, 24 * 512, 40 * 512);
          expect(differing(contentOf(image), disk)).to.deep.equal([]);
        });
      });
    });

    it('carries requests out in the order of the ring: a read sees the write before it, and not the one after', async () => {
      await withFrontend({}, async (frontend) => {
        const pages = frontend.shareMore(4);
        const [one, two, first, second] = refsOf(pages);
        pages.bytes.fill(1, 0, 4096).fill(2, 4096, 8192);
        const requests = [
          write(8, { gref: one }),
          read(8, { gref: first }),
          write(8, { gref: two }),
          read(8, { gref: second }),
        ];
        expect(await frontend.statuses(...requests)).to.deep.equal([okay, okay, okay, okay]);
        expect(pages.bytes.subarray(8192, 12288).every((byte) => byte === 1)).to.equal(true);
        expect(pages.bytes.subarray(12288).every((byte) => byte === 2)).to.equal(true);
      });
    });

    it('tells the log which sectors failed and why, ten times and no more', async () => {
      const { machine } = rig();
      const lines: string[] = [];
      machine.log$.subscribe(({ level, text }) => level === 'error' && lines.push(text));
      await withFrontend({ disk: { bad: [5] } }, async (frontend) => {
        const { ref: gref } = frontend.shareMore();
        const requests = Array.from({ length: 20 }, () => read(0, { gref }));
        expect(await frontend.statuses(...requests)).to.deep.equal(requests.map(() => error));
      });
      expect(lines).to.have.length(10);
      expect(lines[0]).to.equal('read of sectors 0 to 7 failed: sector 5 is bad: EIO');
      expect(lines[9]).to.include('further failures are not reported');
    });

    it('does not look at a request again once it has judged it (XSA-155)', async function () {
      if (rig().platform !== 'local') this.skip();
      await withFrontend({}, async (frontend, image) => {
        const page = frontend.shareMore(2);
        page.bytes.fill(0x99, 0, 4096);
        const [from, into] = refsOf(page);
        // In the middle of the call the ring says something else.
        during.call = () => frontend.page.words.fill(0x7f7f7f7f, 16);
        expect(await frontend.statuses(write(0, { gref: from }))).to.deep.equal([okay]);
        expect(await frontend.statuses(read(32, { gref: into }))).to.deep.equal([okay]);
        during.call = undefined;
        const disk = pattern(64);
        disk.fill(0x99, 0, 8 * 512);
        expect(differing(contentOf(image), disk)).to.deep.equal([]);
        expect(differing(page.bytes.subarray(4096), disk.subarray(32 * 512, 40 * 512))).to.deep.equal([]);
      });
    });

    for (const abi of ['x86_64-abi', 'x86_32-abi'] as const) {
      it(`leaves nothing in the holes of a response (XSA-216), ${abi}`, async () => {
        await withFrontend({ abi }, async (frontend) => {
          const at = frontend.slot(0);
          frontend.submit(read(0, { gref: frontend.shareMore().ref }));
          // The request's id lies where the response has its holes.
          const id = at + frontend.offset('id') / 4;
          frontend.page.words.fill(0xa5a5a5a5 | 0, id, id + 2);
          frontend.push();
          await rig().machine.idle();
          const [idBytes, rest] = [
            Array.from({ length: 8 }, () => 0xa5),
            Array.from({ length: abi === 'x86_64-abi' ? 8 : 4 }, () => 0),
          ];
          const found = frontend.page.bytes.subarray(at * 4, at * 4 + 8 + rest.length);
          expect([...found]).to.deep.equal([...idBytes, ...rest]);
        });
      });
    }

    it('hands ids of 64 bits back as they are', async () => {
      await withFrontend({}, async (frontend) => {
        const at = frontend.slot(0) + frontend.offset('id') / 4;
        frontend.submit(read(0, { gref: frontend.shareMore().ref }));
        frontend.page.words[at] = 0x89abcdef | 0;
        frontend.page.words[at + 1] = 0xfedcba98 | 0;
        frontend.push();
        await rig().machine.idle();
        const words = new Uint32Array(frontend.page.words.slice(frontend.slot(0), frontend.slot(0) + 2));
        expect([...words]).to.deep.equal([0x89abcdef, 0xfedcba98]);
      });
    });

    it('serves a 32-bit frontend by its own layout', async () => {
      await withFrontend({ abi: 'x86_32-abi' }, async (frontend, image) => {
        const pages = frontend.shareMore(11);
        const all = pages.refs.map((gref) => ({ gref: gref as number, first: 0, last: 3 }));
        // Sector 2^32 + 8 is beyond the disk, and would be sector 8 if its upper word were read elsewhere.
        const beyond = read(2n ** 32n + 8n, { gref: pages.ref });
        expect(await frontend.statuses(read(20, ...all), beyond, flush)).to.deep.equal([okay, error, okay]);
        const disk = pattern(64);
        for (let i = 0; i < 11; i++) {
          const found = pages.bytes.subarray(i * 4096, i * 4096 + 2048);
          expect(differing(found, disk.subarray((20 + i * 4) * 512, (24 + i * 4) * 512))).to.deep.equal([]);
        }
        pages.bytes.fill(0x21);
        expect(await frontend.statuses(write(3, { gref: pages.ref, first: 7, last: 7 }))).to.deep.equal([okay]);
        expect(differing(contentOf(image), disk)).to.deep.equal([3]);
      });
    });

    it('closes the link of a frontend that publishes more than its ring holds, and no other (XSA-39)', async () => {
      const { machine, guest } = rig();
      const backend = await boot();
      const [image, other] = [images.make(64), images.make(64)];
      const liar = await RawFrontend.connect(machine, guest, { mode: 'w', params: image, backend });
      const honest = await RawFrontend.connect(machine, guest, { mode: 'w', params: other, backend, vdev: 'xvdb' });
      liar.submit(write(0, { gref: liar.shareMore().ref }));
      liar.publish(33);
      await machine.idle();
      expect(await liar.store.read(`${liar.otherendPath}/state`)).to.equal('5');
      const error = `/local/domain/${backend}/error/backend/vbd/${guest.domid}/51712/error`;
      expect(await machine.dom0.get(XenStore).read(error)).to.match(/^22 PeerFault: .*req_prod.* 33/);
      expect(differing(contentOf(image), pattern(64))).to.deep.equal([]);
      expect(await honest.statuses(write(0, { gref: honest.shareMore().ref }))).to.deep.equal([okay]);
      await liar.close();
      await honest.close();
    });

    it('writes nothing that a guest has not asked for when the guest dies with its ring full', async () => {
      const { machine } = rig();
      const backend = await boot();
      const image = images.make(512);
      const guest = await machine.guest('mortal');
      const frontend = await RawFrontend.connect(machine, guest, { mode: 'w', params: image, backend });
      const pages = frontend.shareMore(32);
      pages.bytes.fill(0x13);
      for (const [i, gref] of pages.refs.entries()) frontend.submit(write(i * 16, { gref }));
      frontend.push();
      await machine.toolstack.destroy(guest.domid);
      await machine.idle();
      const disk = pattern(512);
      const written = differing(contentOf(image), disk);
      expect(written.every((sector) => sector % 16 < 8)).to.equal(true);
      for (const sector of written) disk.fill(0x13, sector * 512, (sector + 1) * 512);
      expect(differing(contentOf(image), disk)).to.deep.equal([]);
      expect(calls.at(-1)).to.deep.equal({ call: 'close' });
    });

    it('closes its disk with the link, and opens it again for the next', async () => {
      const { machine, guest } = rig();
      const backend = await boot();
      const image = images.make(64);
      const frontend = await RawFrontend.connect(machine, guest, { mode: 'w', params: image, backend });
      await frontend.store.write(`${frontend.path}/state`, '6');
      await frontend.backendIs('6');
      expect(calls).to.deep.equal([{ call: 'close' }]);
      await frontend.store.write(`${frontend.path}/state`, '1');
      await frontend.share();
      expect(calls).to.deep.equal([{ call: 'close' }]);
      await frontend.close();
      expect(calls).to.deep.equal([{ call: 'close' }, { call: 'close' }]);
    });
  });
});
