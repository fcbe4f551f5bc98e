import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { gntst, gntstName } from '../../../core/abi/gntst.js';
import type { Domid, GrantRef } from '../../../core/abi/units.js';
import { GrantError } from '../../../core/errors.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { mapError, peerCopyError } from '../../../platform/hypervisor/grant-errors.js';
import { HypervisorGrantTable } from '../../../platform/hypervisor/grant-table.js';
import { addDomain, dom1, dom2, dom3, machine, nobody } from '../../core/hypervisor/machine.js';

describe('what Xen refuses of grants', () => {
  let hypervisor: Hypervisor;
  let front: HypervisorGrantTable;
  let back: HypervisorGrantTable;

  beforeEach(() => {
    ({ hypervisor } = machine());
    front = new HypervisorGrantTable(hypervisor, dom1);
    back = new HypervisorGrantTable(hypervisor, dom2);
  });

  const message = (call: () => unknown): string => {
    try {
      call();
    } catch (error) {
      return (error as Error).message;
    }
    return 'nothing was thrown';
  };

  it('names the operation, the reference, its domain and the rule', () => {
    const shared = front.share(dom3);
    const own = back.alloc();
    const copy = (ref: GrantRef, length = 1) => ({ ref, offset: 4000, page: own, pageOffset: 0, length });
    const mine = front.share(dom2);
    expect([
      message(() => back.map(dom1, [600 as GrantRef])),
      message(() => back.map(dom1, [shared.ref])),
      message(() => back.map(nobody, [8 as GrantRef])),
      message(() => back.copyFrom(dom1, [copy(mine.ref, 97)])),
      message(() => back.copyTo(dom1, [copy(shared.ref)])),
    ]).to.deep.equal([
      'GNTTABOP_map_grant_ref of reference 600 of domain 1: GNTST_bad_gntref, the table has no such entry: EINVAL',
      `GNTTABOP_map_grant_ref of reference ${shared.ref} of domain 1: GNTST_general_error, the entry is revoked, or for another domain, or for reading only, or the page is mapped as often as can be counted: EINVAL`,
      'GNTTABOP_map_grant_ref of reference 8 of domain 77: GNTST_bad_domain, there is no such domain, or this one has been destroyed: EINVAL',
      `GNTTABOP_copy with reference ${mine.ref} of domain 1: GNTST_bad_copy_arg, the bytes leave a page: EINVAL`,
      `GNTTABOP_copy with reference ${shared.ref} of domain 1: GNTST_general_error, the entry is revoked, or for another domain, or for reading only, or was changed while it is mapped: EINVAL`,
    ]);
  });

  it('for want of handles is ENOSPC', () => {
    addDomain(hypervisor, 9 as Domid, { maxMaptrackFrames: 0 });
    const shared = front.share(9 as Domid);
    const [error] = new HypervisorGrantTable(hypervisor, 9 as Domid).mapEach(dom1, [shared.ref]);
    expect(error).to.be.instanceOf(GrantError);
    expect(error).to.include({ status: gntst.no_space, errno: errno.ENOSPC });
    expect((error as GrantError).message).to.include('has no mapping left');
  });

  it('is known for every status that map and copy have: the words tell a rule', () => {
    const { general_error, bad_domain, bad_gntref, permission_denied, bad_page, bad_copy_arg, no_space } = gntst;
    for (const status of [general_error, bad_domain, bad_gntref, permission_denied, bad_page, no_space]) {
      expect(mapError(status, dom1, 8).message, gntstName(status)).to.match(/: GNTST_\w+, .{10}/);
    }
    for (const status of [general_error, bad_domain, bad_gntref, permission_denied, bad_page, bad_copy_arg]) {
      expect(peerCopyError(status, dom1, 8, dom2, 9).message, gntstName(status)).to.match(/: GNTST_\w+, .{10}/);
    }
    expect(mapError(gntst.eagain, dom1, 8).message).to.match(/GNTST_eagain: EAGAIN$/);
  });
});
