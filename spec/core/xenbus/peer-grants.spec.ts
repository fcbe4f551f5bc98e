import { expect } from 'chai';
import { Disconnected, GrantError, GrantTable, PAGE_SIZE } from '../../../core/index.js';
import { LinkPages } from '../../../core/xenbus/link-pages.js';
import { PeerGrants } from '../../../core/xenbus/peer-grants.js';
import { XenbusRig } from '../../support/xenbus-rig.js';

describe('a link’s grants', () => {
  let rig: XenbusRig;
  let front: LinkPages;
  let back: PeerGrants;
  beforeEach(async () => {
    rig = await XenbusRig.create();
    front = new LinkPages(rig.guest.get(GrantTable), rig.backend.domid);
    back = new PeerGrants(rig.backend.get(GrantTable), rig.guest.domid);
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  it('copy bytes and pages into a page of the peer’s, and out of it', () => {
    const page = front.share();
    expect(back.copyTo(page.ref, Uint8Array.of(1, 2, 3), 10)).to.equal(3);
    expect([...page.bytes.slice(9, 14)]).to.deep.equal([0, 1, 2, 3, 0]);
    const own = back.alloc();
    own.bytes.fill(7);
    expect(back.copyTo(page.ref, own, 100, 0, 5)).to.equal(5);
    expect([...page.bytes.slice(99, 106)]).to.deep.equal([0, 7, 7, 7, 7, 7, 0]);
    expect(back.copyFrom(page.ref, own, 10, 2000, 3)).to.equal(3);
    expect([...own.bytes.slice(2000, 2004)]).to.deep.equal([1, 2, 3, 7]);
  });

  it('stage bare bytes through one page, which the next bytes do not show through', () => {
    const page = front.share();
    back.copyTo(page.ref, new Uint8Array(PAGE_SIZE).fill(9));
    back.copyTo(page.ref, Uint8Array.of(1), 0);
    expect(page.bytes[0]).to.equal(1);
    expect(page.bytes[1]).to.equal(9);
    expect(rig.ledgerOf(rig.backend).pages).to.equal(1);
  });

  it('refuse what leaves the page, and a reference that grants nothing', () => {
    const page = front.share();
    expect(() => back.copyTo(page.ref, new Uint8Array(PAGE_SIZE), 1)).to.throw(GrantError, 'GNTST_bad_copy_arg');
    expect(() => back.copyTo(500 as typeof page.ref, Uint8Array.of(1))).to.throw(GrantError);
    expect(() => back.map(500 as typeof page.ref)).to.throw(GrantError);
    const readable = front.share(1, { readonly: true });
    expect(() => back.copyTo(readable.ref, Uint8Array.of(1))).to.throw(GrantError);
    back.map(readable.ref, { readonly: true })[Symbol.dispose]();
  });

  it('are for this peer alone', async () => {
    const page = front.share();
    const other = await rig.machine.guest('other');
    const stranger = new PeerGrants(other.get(GrantTable), rig.guest.domid);
    expect(() => stranger.map(page.ref)).to.throw(GrantError);
  });

  it('do nothing more, and hold nothing, once the link has ended', () => {
    const page = front.share();
    const mapped = back.map(page.ref);
    back.copyTo(page.ref, Uint8Array.of(1));
    mapped[Symbol.dispose]();
    page[Symbol.dispose]();
    front.leave();
    front.release();
    back[Symbol.dispose]();
    for (const call of [
      () => front.share(),
      () => back.map(page.refs),
      () => back.copyTo(page.refs[0] as typeof page.ref, Uint8Array.of(1)),
      () => back.alloc(),
    ]) {
      expect(call).to.throw(Disconnected, 'has ended');
    }
    back[Symbol.dispose]();
    rig.expectNothingHeld();
  });
});
