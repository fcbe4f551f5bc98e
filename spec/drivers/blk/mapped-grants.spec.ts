import { expect } from 'chai';
import type { SharedPage } from '../../../core/index.js';
import { MAX_PERSISTENT_GRANTS } from '../../../drivers/blk/mapped-grants.js';
import { blkifRsp } from '../../../drivers/blk/wire.js';
import { hypervisorOf } from './hypervisor-of.js';
import { contentOf, differing, pattern } from './images.js';
import type { RawFrontend } from './raw-frontend.js';
import { flush, mapped, onRawFrontends, read, refsOf, write } from './raw-rig.js';

const { okay, error } = blkifRsp;

onRawFrontends('the grants of a frontend', ({ images, withFrontend }) => {
  for (const persistent of [undefined, '0'] as const) {
    it(`that writes feature-persistent as ${persistent ?? 'nothing'} are unmapped before it is answered`, async () => {
      await withFrontend(persistent === undefined ? {} : { persistent }, async (frontend, _image, rig) => {
        const pages = frontend.shareMore(2);
        const [a, b] = refsOf(pages);
        expect(await frontend.statuses(read(0, { gref: a }), write(8, { gref: b }))).to.deep.equal([okay, okay]);
        expect(pages.inUse).to.equal(false);
        expect(await mapped(rig)).to.equal(0);
      });
    });
  }

  describe('that writes feature-persistent', () => {
    it('stay mapped, and serve reads and writes alike', async () => {
      await withFrontend({ persistent: '1' }, async (frontend, image, rig) => {
        const pages = frontend.shareMore(2);
        const [a, b] = refsOf(pages);
        expect(await frontend.statuses(read(0, { gref: a }), read(8, { gref: b }))).to.deep.equal([okay, okay]);
        expect(await mapped(rig)).to.equal(2);
        expect(differing(pages.bytes, pattern(64).subarray(0, 8192))).to.deep.equal([]);
        pages.bytes.fill(0x31);
        expect(await frontend.statuses(write(16, { gref: a }), flush, read(16, { gref: b }))).to.deep.equal([
          okay,
          okay,
          okay,
        ]);
        expect(await mapped(rig)).to.equal(2);
        const disk = pattern(64);
        disk.fill(0x31, 16 * 512, 24 * 512);
        expect(differing(contentOf(image), disk)).to.deep.equal([]);
      });
    });

    it('are unmapped with the link, before the backend is Closed', async () => {
      await withFrontend({ persistent: '1' }, async (frontend, _image, rig) => {
        const page = frontend.shareMore();
        expect(await frontend.statuses(read(0, { gref: page.ref }))).to.deep.equal([okay]);
        await frontend.store.write(`${frontend.path}/state`, '6');
        await frontend.backendIs('6');
        expect(page.inUse).to.equal(false);
        await frontend.store.write(`${frontend.path}/state`, '1');
        await frontend.share();
        expect(await mapped(rig)).to.equal(0);
        expect(await frontend.statuses(read(0, { gref: page.ref }))).to.deep.equal([okay]);
      });
    });

    it('must be writable even where they are only read (blkif.h, note 8)', async () => {
      await withFrontend({ persistent: '1' }, async (frontend, image, rig) => {
        const { ref: gref } = frontend.shareMore(1, { readonly: true });
        const { ref: good } = frontend.shareMore();
        expect(await frontend.statuses(write(0, { gref: good }, { gref }), write(16, { gref: good }))).to.deep.equal([
          error,
          okay,
        ]);
        const disk = pattern(64);
        disk.fill(0, 16 * 512, 24 * 512);
        expect(differing(contentOf(image), disk)).to.deep.equal([]);
        expect(await mapped(rig)).to.equal(1);
      });
    });

    it('are mapped once, however many segments name one at once', async () => {
      await withFrontend({ params: images.make(32 * 88), persistent: '1' }, async (frontend, image, rig) => {
        const page = frontend.shareMore();
        page.bytes.fill(0x28);
        const segments = Array.from({ length: 11 }, () => ({ gref: page.ref }));
        const requests = Array.from({ length: 32 }, (_, i) => write(i * 88, ...segments));
        expect(await frontend.statuses(...requests)).to.deep.equal(requests.map(() => okay));
        expect(contentOf(image).every((byte) => byte === 0x28)).to.equal(true);
        expect(await mapped(rig)).to.equal(1);
      });
    });

    it('that cannot be mapped fail their request each time, and are not remembered (XSA-365)', async () => {
      await withFrontend({ persistent: '1' }, async (frontend, _image, rig) => {
        const [a, b] = refsOf(frontend.shareMore(2));
        const bad = read(0, { gref: a }, { gref: 400 }, { gref: b });
        expect(await frontend.statuses(bad, bad, read(0, { gref: a }))).to.deep.equal([error, error, okay]);
        expect(await mapped(rig)).to.be.at.most(2);
      });
    });

    describe(`are ${MAX_PERSISTENT_GRANTS} at most (blkback xen_blkif_max_pgrants):`, () => {
      const use = async (frontend: RawFrontend, pages: readonly SharedPage[]): Promise<void> => {
        for (let i = 0; i < pages.length; i += 32) {
          const requests = pages.slice(i, i + 32).map(({ ref }) => read(0, { gref: ref }));
          expect(await frontend.statuses(...requests)).to.deep.equal(requests.map(() => okay));
        }
      };

      it('what was used longest ago makes room', async () => {
        await withFrontend({ persistent: '1' }, async (frontend, _image, rig) => {
          const pages = Array.from({ length: MAX_PERSISTENT_GRANTS + 3 }, () => frontend.shareMore());
          const kept = pages.slice(0, MAX_PERSISTENT_GRANTS);
          await use(frontend, kept);
          expect(await mapped(rig)).to.equal(MAX_PERSISTENT_GRANTS);
          // The first is used again, so the second is the oldest.
          await use(frontend, pages.slice(0, 1));
          await use(frontend, pages.slice(MAX_PERSISTENT_GRANTS));
          expect(await mapped(rig)).to.equal(MAX_PERSISTENT_GRANTS);
          expect(pages.flatMap(({ inUse }, i) => (inUse ? [] : [i]))).to.deep.equal([1, 2, 3]);
          await use(frontend, pages.slice(1, 4));
          expect(pages.flatMap(({ inUse }, i) => (inUse ? [] : [i]))).to.deep.equal([4, 5, 6]);
        });
      }).timeout(20_000);
    });

    it('go on meaning the page that they meant first: who changes one harms nobody else', async () => {
      await withFrontend({ persistent: '1' }, async (frontend, _image, { machine, guest }) => {
        const [page, other] = [frontend.shareMore(), frontend.shareMore()];
        const backend = Number(frontend.otherendPath.split('/')[3]) as never;
        expect(await frontend.statuses(read(0, { gref: page.ref }))).to.deep.equal([okay]);
        const { grantEntries } = hypervisorOf(machine);
        // The frontend writes its own table as it should not: the entry is in use.
        grantEntries.grantAccess(guest.domid, page.ref, backend, other.bytes.byteOffset / 4096, false);
        expect(await frontend.statuses(read(8, { gref: page.ref }))).to.deep.equal([okay]);
        expect(differing(page.bytes, pattern(64).subarray(8 * 512, 16 * 512))).to.deep.equal([]);
        expect(other.bytes.every((byte) => byte === 0)).to.equal(true);
      });
    });

    it('that it ends while they are mapped are nobody else’s before the backend lets go (XSA-396)', async () => {
      await withFrontend({ persistent: '1' }, async (frontend, _image, rig) => {
        const page = frontend.shareMore();
        const gref = page.ref;
        const frame = page.bytes.byteOffset;
        expect(await frontend.statuses(read(0, { gref }))).to.deep.equal([okay]);
        page[Symbol.dispose]();
        const more = frontend.shareMore(8);
        expect(more.refs).not.to.include(gref);
        expect(frame < more.bytes.byteOffset || frame >= more.bytes.byteOffset + more.bytes.length).to.equal(true);
        // The reference is still granted, and what comes in by it harms its owner at most.
        expect(await frontend.statuses(read(0, { gref }))).to.deep.equal([okay]);
        expect(more.bytes.every((byte) => byte === 0)).to.equal(true);
        expect(await mapped(rig)).to.equal(1);
      });
    });
  });
});
