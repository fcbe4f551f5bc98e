import { expect } from 'chai';
import { errno, errnoName } from '../../core/abi/errno.js';
import { gntst, gntstName } from '../../core/abi/gntst.js';
import { DOMID_FIRST_RESERVED, DOMID_SELF, PAGE_SIZE } from '../../core/abi/units.js';
import { type CConstant, golden } from './golden.js';

const c = golden.constants;

/** The headers' constants that begin with `prefix`, by the rest of their names. */
const without = (prefix: string): Record<string, CConstant> =>
  Object.fromEntries(
    Object.entries(c)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), value]),
  );

describe(`the constants of Xen ${golden.xen}`, () => {
  it('errno.h: errno has every number that Xen shows to guests, under its first name', () => {
    const aliases = ['XEN_EWOULDBLOCK', 'XEN_EDEADLOCK'];
    const numbers = Object.entries(c).filter(([name]) => /^XEN_E[A-Z0-9]+$/.test(name) && !aliases.includes(name));
    expect(errno).to.eql(Object.fromEntries(numbers.map(([name, value]) => [name.slice('XEN_'.length), value])));
    for (const [name, value] of Object.entries(errno)) expect(errnoName(value)).to.equal(name);
  });

  it('grant_table.h: gntst has every status', () => {
    expect(gntst).to.eql(without('GNTST_'));
    for (const [name, value] of Object.entries(gntst)) expect(gntstName(value)).to.equal(`GNTST_${name}`);
  });

  it('xen.h, ring.h: the domids and the page of units.ts', () => {
    expect({ DOMID_FIRST_RESERVED, DOMID_SELF }).to.eql({
      DOMID_FIRST_RESERVED: c.DOMID_FIRST_RESERVED,
      DOMID_SELF: c.DOMID_SELF,
    });
    expect(PAGE_SIZE).to.equal(2 ** Number(c.XEN_PAGE_SHIFT));
  });
});
