import { expect } from 'chai';
import { blkifRsp } from '../../../drivers/blk/wire.js';
import { contentOf, differing, pattern } from './images.js';
import type { RawRequest } from './raw-frontend.js';
import { flush, mapped, onRawFrontends, read, refsOf, write } from './raw-rig.js';
import type { Call } from './recording.module.js';

const { okay, error, notSupported } = blkifRsp;

onRawFrontends('a batch of requests', ({ images, calls, withFrontend }) => {
  const moves = (): readonly Call[] => calls.filter(({ call }) => call !== 'close');

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
          expect(await mapped(rig)).to.equal(0);
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
});
