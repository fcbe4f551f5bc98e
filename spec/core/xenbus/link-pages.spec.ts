import { expect } from 'chai';
import { asDomid, Disconnected, GrantTable } from '../../../core/index.js';
import { LinkPages } from '../../../core/xenbus/link-pages.js';
import { LocalMachine } from '../../../platform/local/index.js';

describe('the pages of a frontend’s link', () => {
  let machine: LocalMachine;
  let pages: LinkPages;

  beforeEach(async () => {
    machine = await LocalMachine.create({ seed: 1, clock: 'simulated' });
    pages = new LinkPages((await machine.guest('guest')).get(GrantTable), asDomid(0));
  });

  afterEach(() => machine[Symbol.asyncDispose]());

  const grants = (): number | undefined => machine.holdings()[0]?.grants;

  it('are taken back at once while the link stands', () => {
    const page = pages.share();
    expect(grants()).to.equal(1);
    page[Symbol.dispose]();
    page[Symbol.dispose]();
    expect(grants()).to.equal(0);
  });

  it('stay granted from the end of the link until the backend has let go, whoever disposes of them (XSA-396)', () => {
    const page = pages.share();
    const { ref } = page;
    pages.leave();
    page[Symbol.dispose]();
    expect(grants()).to.equal(1);
    expect(() => page.bytes).to.throw(TypeError, /disposed/);
    expect(page.ref).to.equal(ref);
    pages.release();
    expect(grants()).to.equal(0);
  });

  it('are taken back at once again after the backend has let go', () => {
    const page = pages.share();
    pages.leave();
    pages.release();
    expect(grants()).to.equal(1);
    page[Symbol.dispose]();
    expect(grants()).to.equal(0);
  });

  it('are no more once the link has ended', () => {
    pages.leave();
    expect(() => pages.share()).to.throw(Disconnected);
  });
});
