import { expect } from 'chai';
import fc from 'fast-check';
import type { Access } from '../../core/domain/xenstore.js';
import { XenError } from '../../core/errors.js';
import { formatPermission, parsePermission, right, rightsFor } from '../../xenstore/permissions.js';

const caller = (domid: number, target?: number) => ({ domid, privileged: domid === 0, target });
const perms = (...texts: string[]) => texts.map(parsePermission);
const all = right.read | right.write | right.owner;

describe('permissions (xs_lib.h, xenstored perm_for_conn)', () => {
  it('are a letter and a domid', () => {
    for (const text of ['r0', 'w1', 'b32751', 'n65535']) expect(formatPermission(parsePermission(text))).to.equal(text);
    for (const text of ['', 'r', 'x1', 'r-1', 'r1x', 'R1', '1r', 'r65536', 'r 1', 'rw1']) {
      expect(() => parsePermission(text), text).to.throw(XenError, 'EINVAL');
    }
  });

  it('give the owner and dom0 everything, whatever the letter', () => {
    expect(rightsFor(caller(3), perms('n3'))).to.equal(all);
    expect(rightsFor(caller(0), perms('n3', 'n0'))).to.equal(all);
  });

  it('give others what the first entry says, unless an entry of their own says otherwise', () => {
    expect(rightsFor(caller(4), perms('r3'))).to.equal(right.read);
    expect(rightsFor(caller(4), perms('b3', 'n4'))).to.equal(0);
    expect(rightsFor(caller(4), perms('n3', 'w4'))).to.equal(right.write);
    expect(rightsFor(caller(4), perms('n3', 'r4', 'b4'))).to.equal(right.read);
  });

  it('give the owner’s target’s device model what the target has (SET_TARGET)', () => {
    expect(rightsFor(caller(5, 3), perms('n3'))).to.equal(all);
    expect(rightsFor(caller(5, 3), perms('n1', 'r3'))).to.equal(right.read);
    expect(rightsFor(caller(5), perms('n3'))).to.equal(0);
  });

  it('count for nobody once they are ignored (XSA-322)', () => {
    expect(
      rightsFor(caller(4), [
        { domid: 3, access: 'n' },
        { domid: 4, access: 'b', ignored: true },
      ]),
    ).to.equal(0);
  });

  it('never give a stranger ownership', () => {
    const entry = fc.record({ domid: fc.nat(5), access: fc.constantFrom<Access>('r', 'w', 'b', 'n') });
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1 }), fc.integer({ min: 1, max: 5 }), (entries, domid) => {
        const owns = (rightsFor(caller(domid), entries) & right.owner) !== 0;
        expect(owns).to.equal(entries[0]?.domid === domid);
      }),
    );
  });
});
