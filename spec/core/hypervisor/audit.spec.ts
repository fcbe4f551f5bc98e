import { expect } from 'chai';
import type { Domid, GrantRef, Port } from '../../../core/abi/units.js';
import { DOMID_XEN } from '../../../core/hypervisor/domains.js';
import { parked } from '../../../core/hypervisor/doorbell.js';
import { expectSound } from './invariants.js';
import { addDomain, connect, deliver, dom1, dom2, dom3, ok } from './machine.js';
import { dom4, goOn, living, mapped, scenes, stage } from './scenes.js';

describe('a domain that dies anywhere', () => {
  for (const { name, caller, prepare } of scenes) {
    it(`leaves nothing that cannot be repaired, at every write of ${name}`, () => {
      let writes = 0;
      for (let died = true; died; writes++) {
        const { mortal, hypervisor, bystander, rung, free } = stage();
        const when = `died after ${writes} writes`;
        let call = (): void => {};
        mortal.live(() => {
          call = prepare(hypervisor);
          for (const domid of living(hypervisor)) {
            if (domid !== caller) hypervisor.doorbell.rest(domid, parked);
          }
        });
        died = mortal.die(writes, call);
        mortal.live(() => {
          bystander.recover(DOMID_XEN, caller);
          expectSound(bystander, when);
          expect(rung, when).to.include.members(living(bystander));
          ok(bystander.destroyDomain(DOMID_XEN, caller));
          expectSound(bystander, `${when}, and was destroyed`);
          addDomain(bystander, 8 as Domid);
          const others = living(bystander);
          goOn(bystander, others[0] as Domid, others[1] as Domid);
          goOn(bystander, others[1] as Domid, others[0] as Domid);
          expectSound(bystander, `${when}, and the others went on`);
          for (const domid of others) ok(bystander.destroyDomain(DOMID_XEN, domid));
          bystander.recover(DOMID_XEN, dom4);
          expect(bystander.frames.freeCount, when).to.equal(free);
          expect(bystander.domains.slots(), when).to.deep.equal([]);
        });
      }
      expect(writes, 'writes of the call').to.be.above(1);
    });
  }

  it('is mourned with a list of what was mended', () => {
    const { mortal, hypervisor } = stage();
    let port = 0 as Port;
    mortal.live(() => {
      port = ok<Port>(hypervisor.eventChannels.allocUnbound(dom2, dom2, dom1));
    });
    // The lock, the hint, and the caller's own end, with its vCPU; not yet the peer's.
    expect(mortal.die(4, () => hypervisor.eventChannels.bindInterdomain(dom1, dom2, port))).to.equal(true);
    mortal.live(() => {
      expect(hypervisor.recover(DOMID_XEN, dom1)).to.deep.equal([
        'domain 1 held the lock',
        'port 1 of domain 1 was bound on one side only',
      ]);
      expect(hypervisor.recover(DOMID_XEN, dom1)).to.deep.equal([]);
      expect(hypervisor.eventChannels.status(dom2, dom2, port)).to.deep.equal({
        status: 'unbound',
        vcpu: 0,
        dom: dom1,
      });
    });
  });

  it('is mourned with the pages that it had taken, and not counted', () => {
    const { mortal, hypervisor } = stage();
    // The lock, then the frame.
    expect(mortal.die(2, () => hypervisor.pages.populate(dom1, dom1, 1))).to.equal(true);
    mortal.live(() => {
      expect(hypervisor.recover(DOMID_XEN, dom1)).to.deep.equal([
        'domain 1 held the lock',
        'domain 1 has 1 pages and counted 0',
      ]);
      expect(hypervisor.recover(DOMID_XEN, dom1)).to.deep.equal([]);
    });
  });

  it('does not take back what it had done: an event that it had raised still arrives', () => {
    const { mortal, hypervisor, rung } = stage();
    let ports: readonly [Port, Port] = [0 as Port, 0 as Port];
    mortal.live(() => {
      ports = connect(hypervisor, dom1, dom2);
      hypervisor.doorbell.rest(dom2, parked);
    });
    expect(mortal.die(1, () => hypervisor.eventChannels.send(dom1, ports[0]))).to.equal(true);
    mortal.live(() => {
      expect(rung).to.deep.equal([]);
      hypervisor.recover(DOMID_XEN, dom1);
      expect(rung).to.include(dom2);
      expect(deliver(hypervisor, dom2)).to.deep.equal([ports[1]]);
    });
  });

  it('leaves a mapping that a live domain has', () => {
    const { mortal, hypervisor } = stage();
    mortal.live(() => {
      const granted = mapped(hypervisor, dom2, dom3);
      hypervisor.recover(DOMID_XEN, dom1);
      expect(hypervisor.grantEntries.endAccess(dom3, granted.ref as GrantRef)).to.equal(false);
      expect(hypervisor.grantMap.frameOf(dom2, granted.handle)).to.equal(granted.frame);
      ok(hypervisor.grantMap.unmap(dom2, granted.handle, granted.frame * 4096, 0));
      expect(hypervisor.grantEntries.endAccess(dom3, granted.ref as GrantRef)).to.equal(true);
    });
  });
});
