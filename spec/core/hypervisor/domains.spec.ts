import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { gntst } from '../../../core/abi/gntst.js';
import { DOMID_SELF, type Domid, type GrantRef, type Port } from '../../../core/abi/units.js';
import { DOMID_XEN } from '../../../core/hypervisor/domains.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { addDomain, dom0, dom1, dom3, machine, nobody } from './machine.js';

/** What the compiler lets pass for a domid and no table of domids has. */
const numbersOfNoDomain: readonly number[] = [
  -1,
  0.5,
  1.5,
  NaN,
  Infinity,
  -Infinity,
  2 ** 32 + 1,
  1 - 2 ** 32,
  2 ** 80,
];

describe('domains', () => {
  let hypervisor: Hypervisor;
  const create = (caller: Domid, domid: number) => hypervisor.domains.create(caller, { domid: domid as Domid });

  beforeEach(() => {
    ({ hypervisor } = machine());
  });

  it('are created by the machine or a privileged domain, else EPERM', () => {
    expect(create(dom1, 5)).to.equal(-errno.EPERM);
    expect(create(nobody, 5)).to.equal(-errno.EPERM);
    expect(create(dom0, 5)).to.equal(0);
    expect(create(DOMID_XEN, 6)).to.equal(0);
  });

  it('have any domid to 0x7FEF that is not taken', () => {
    expect(create(dom0, 0x7fef)).to.equal(0);
    expect(create(dom0, 0x7fef)).to.equal(-errno.EEXIST);
    for (const bad of [0x7ff0, DOMID_SELF, 0xffff, ...numbersOfNoDomain]) {
      expect(create(dom0, bad), `${bad}`).to.equal(-errno.EINVAL);
    }
    expect(create(dom0, 5)).to.equal(0);
    expect(hypervisor.domains.lifeOf(0x7fef as Domid)).to.equal('alive');
    expect(hypervisor.domains.lifeOf(0x7fee as Domid)).to.equal('none');
  });

  it('are looked for in no other word than their own, whatever the number', () => {
    const { eventChannels, grantEntries, grantMap } = hypervisor;
    const before = hypervisor.memory.words.slice();
    for (const bad of numbersOfNoDomain as readonly Domid[]) {
      expect(hypervisor.destroyDomain(dom0, bad), `destroy ${bad}`).to.equal(-errno.ESRCH);
      expect(eventChannels.allocUnbound(dom0, bad, dom1), `alloc_unbound ${bad}`).to.equal(-errno.ESRCH);
      expect(eventChannels.bindInterdomain(dom1, bad, 1 as Port), `bind_interdomain ${bad}`).to.equal(-errno.ESRCH);
      expect(eventChannels.status(dom0, bad, 1 as Port), `status ${bad}`).to.equal(-errno.ESRCH);
      expect(grantEntries.setupTable(dom0, bad, 2), `setup_table ${bad}`).to.equal(gntst.bad_domain);
      expect(grantEntries.querySize(dom0, bad).status, `query_size ${bad}`).to.equal(gntst.bad_domain);
      expect(grantMap.map(dom1, bad, 8 as GrantRef, gntmap.hostMap), `map ${bad}`).to.equal(gntst.bad_domain);
      expect(hypervisor.domains.lifeOf(bad), `${bad}`).to.equal('none');
    }
    expect(hypervisor.memory.words.every((word, i) => word === before[i])).to.equal(true);
  });

  it('are as many as the machine has slots for, and slots are used again', () => {
    for (const domid of [100, 101, 102, 103]) expect(create(dom0, domid)).to.equal(0);
    expect(create(dom0, 104)).to.equal(-errno.ENOMEM);
    expect(hypervisor.destroyDomain(dom0, 101 as Domid)).to.equal(0);
    expect(create(dom0, 104)).to.equal(0);
  });

  it('need four frames for their tables, and leave nothing behind when there are fewer', () => {
    let last = 0;
    for (let frame = 1; frame > 0; frame = hypervisor.pages.populate(dom1, dom1, 1)) last = frame;
    for (let free = 0; free < 4; free++) {
      expect(hypervisor.frames.freeCount).to.equal(free);
      expect(create(dom0, 5)).to.equal(-errno.ENOMEM);
      expect(hypervisor.frames.freeCount).to.equal(free);
      expect(hypervisor.domains.lifeOf(5 as Domid)).to.equal('none');
      hypervisor.pages.release(dom1, last - free, 1);
    }
    expect(create(dom0, 5)).to.equal(0);
  });

  it('need no page of their own, and give all back', () => {
    const free = hypervisor.frames.freeCount;
    for (let round = 0; round < 20; round++) {
      addDomain(hypervisor, 9 as Domid);
      expect(hypervisor.destroyDomain(dom0, 9 as Domid)).to.equal(0);
    }
    expect(hypervisor.frames.freeCount).to.equal(free);
  });

  it('are told apart from earlier ones of the same domid by their incarnation', () => {
    const first = hypervisor.domains.incarnation(dom3);
    hypervisor.destroyDomain(dom0, dom3);
    expect(hypervisor.domains.incarnation(dom3)).to.equal(0);
    addDomain(hypervisor, dom3);
    expect(hypervisor.domains.incarnation(dom3)).to.be.above(first);
  });

  it('refuse limits that cannot be', () => {
    for (const options of [
      { maxEventChannels: 0 },
      { maxEventChannels: 131072 },
      { maxGrantFrames: 0 },
      { maxGrantFrames: 65 },
      { maxMaptrackFrames: -1 },
      { maxMaptrackFrames: 1025 },
    ]) {
      expect(() => addDomain(hypervisor, 9 as Domid, options), JSON.stringify(options)).to.throw(RangeError);
    }
    expect(hypervisor.domains.lifeOf(9 as Domid)).to.equal('none');
  });

  it('fill a machine of 256', () => {
    const large = Hypervisor.create({ bytes: 16 * 2 ** 20, domains: 256 });
    for (let domid = 0; domid < 256; domid++)
      expect(large.domains.create(DOMID_XEN, { domid: (domid * 100) as Domid })).to.equal(0);
    expect(large.domains.create(DOMID_XEN, { domid: 1 as Domid })).to.equal(-errno.ENOMEM);
    const last = 25500 as Domid;
    const port = large.eventChannels.allocUnbound(last, last, 0 as Domid);
    expect(large.eventChannels.bindInterdomain(0 as Domid, last, port as never)).to.equal(1);
    expect(large.eventChannels.status(0 as Domid, 0 as Domid, 1 as never)).to.include({ dom: last, port });
  });
});
