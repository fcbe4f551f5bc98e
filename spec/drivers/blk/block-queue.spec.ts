import { expect } from 'chai';
import { blkifOp, blkifRsp } from '../../../drivers/blk/wire.js';
import { Orders } from '../../support/orders.js';
import { contentOf, differing, pattern } from './images.js';
import { type RawRequest, SRING_WORDS } from './raw-frontend.js';
import { flush, mapped, onRawFrontends, read, refsOf, write } from './raw-rig.js';
import type { Call } from './recording.module.js';

const { okay, error, notSupported } = blkifRsp;

onRawFrontends('a queue of requests to a disk', ({ images, calls, rig, withFrontend }) => {
  const moves = (): readonly Call[] => calls.filter(({ call }) => call !== 'close');

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
        expect(await frontend.statuses(write(0, segment), flush, read(0, segment))).to.deep.equal([error, okay, okay]);
        expect(moves().map(({ call }) => call)).to.deep.equal(['flush', 'read']);
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
      ['a first sector far behind the last', (gref) => ({ segments: [{ gref }, { gref, first: 7, last: 1 }] })],
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
          expect(await mapped(rig)).to.equal(0);
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

  it('does not look at a request again once it has judged it (XSA-155)', async () => {
    await withFrontend({}, async (frontend, image, { machine, guest }) => {
      const page = frontend.shareMore(2);
      page.bytes.fill(0x99, 0, 4096);
      const [from, into] = refsOf(page);
      // In the middle of the call the ring says something else: who calls the disk writes over all requests.
      const orders = new Orders(machine, frontend.backend);
      await orders.give('scribble', guest.domid, frontend.page.ref, SRING_WORDS);
      expect(await frontend.statuses(write(0, { gref: from }))).to.deep.equal([okay]);
      expect(await frontend.statuses(read(32, { gref: into }))).to.deep.equal([okay]);
      await orders.give('stop');
      // It did say so, in the slots that nobody has answered in.
      expect(frontend.page.words.subarray(frontend.slot(2)).every((word) => word === 0x7f7f7f7f)).to.equal(true);
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
});
