import { expect } from 'chai';
import { bufferCount, filter, map, merge, Subject, Subscription, scan, share, switchMap, take } from 'rxjs';
import { asPirq, asPort, type Domid, type Port } from '../../../core/abi/units.js';
import { virq } from '../../../core/abi/virq.js';
import { EventChannel, EventChannels } from '../../../core/domain/event-channels.js';
import { XenError } from '../../../core/errors.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { HypervisorEventChannels } from '../../../platform/hypervisor/event-channels.js';
import { HypervisorPhysdev } from '../../../platform/hypervisor/physdev.js';
import { dom0, dom1, dom2, dom3, machine, sharedInfoOf } from '../../core/hypervisor/machine.js';

const LINE = asPirq(20);

describe('a domain’s channels of every kind', () => {
  let hypervisor: Hypervisor;
  let one: HypervisorEventChannels;
  let two: HypervisorEventChannels;
  let physdev: HypervisorPhysdev;
  const channelsOf = (domid: Domid): HypervisorEventChannels =>
    new HypervisorEventChannels(hypervisor, domid, (error) => {
      throw error;
    });
  const enter = (channels: HypervisorEventChannels): number => channels.enter() + channels.enter(undefined, 1);
  /** What is thrown: its errno, and its text. */
  const refusal = (call: () => unknown): readonly [string, string] => {
    try {
      call();
    } catch (error) {
      if (error instanceof XenError) return [error.code, error.message];
      throw error;
    }
    throw new Error('nothing was refused');
  };

  beforeEach(() => {
    ({ hypervisor } = machine({ vcpus: 2 }));
    one = channelsOf(dom1);
    two = channelsOf(dom2);
    physdev = new HypervisorPhysdev(hypervisor, dom0);
  });

  /** Each kind: how it is bound in domain 1, and what raises it. */
  const kinds: Readonly<Record<string, () => { readonly channel: EventChannel; readonly raise: () => void }>> = {
    interdomain: () => {
      const channel = one.allocUnbound(dom2);
      const peer = two.bindInterdomain(dom1, channel.port);
      return { channel, raise: () => peer.notify() };
    },
    'per-vCPU VIRQ': () => {
      const channel = one.bindVirq(virq.timer, 1);
      return { channel, raise: () => hypervisor.virqs.raise(hypervisor.memory.slotOf(dom1), 1, virq.timer) };
    },
    'per-domain VIRQ': () => {
      const channel = one.bindVirq(virq.argo);
      return { channel, raise: () => hypervisor.virqs.raise(hypervisor.memory.slotOf(dom1), 0, virq.argo) };
    },
    'global VIRQ': () => {
      hypervisor.virqs.setHandler(dom0, dom1, virq.console);
      return { channel: one.bindVirq(virq.console), raise: () => hypervisor.virqs.raiseGlobal(virq.console) };
    },
    IPI: () => {
      const channel = one.bindIpi(1);
      return { channel, raise: () => channel.notify() };
    },
    PIRQ: () => {
      const channel = one.bindPirq(physdev.mapPirq(dom1, { type: 'gsi', index: 20 }));
      return { channel, raise: () => hypervisor.pirqs.setLine(20, true) };
    },
  };

  for (const [kind, bind] of Object.entries(kinds)) {
    describe(kind, () => {
      let channel: EventChannel;
      let raise: () => void;

      beforeEach(() => {
        ({ channel, raise } = bind());
      });

      it('is an Observable of upcalls, delivered when the domain is entered, never inside the call that raised it', () => {
        let seen = 0;
        channel.subscribe(() => {
          seen++;
        });
        raise();
        raise();
        expect(seen).to.equal(0);
        enter(one);
        expect(seen).to.equal(1);
        raise();
        enter(one);
        expect(seen).to.equal(2);
      });

      it('is masked without a subscriber: subscribing unmasks, and so delivers what is pending; unsubscribing masks', () => {
        raise();
        expect(enter(one)).to.equal(0);
        let seen = 0;
        const subscription = channel.subscribe(() => {
          seen++;
        });
        enter(one);
        expect(seen).to.equal(1);
        subscription.unsubscribe();
        const mask = sharedInfoOf(hypervisor, dom1)[640 + (channel.port >>> 5)] as number;
        expect(mask & (1 << (channel.port & 31))).to.not.equal(0);
        raise();
        expect(enter(one)).to.equal(0);
        channel.subscribe(() => {
          seen++;
        });
        enter(one);
        expect(seen).to.equal(2);
      });

      it('completes and is closed when it is disposed, once: what it was bound to is free', () => {
        let completed = 0;
        channel.subscribe({
          complete: () => {
            completed++;
          },
        });
        channel[Symbol.dispose]();
        channel[Symbol.dispose]();
        expect(completed).to.equal(1);
        expect(one.status(channel.port)).to.deep.equal({ status: 'closed', vcpu: 0 });
        expect(one.open).to.equal(0);
        if (kind !== 'IPI' && kind !== 'interdomain') raise();
        expect(enter(one)).to.equal(0);
        if (kind !== 'PIRQ') bind();
        else expect(one.bindPirq(asPirq(16)).port).to.equal(channel.port);
      });

      it('composes with the operators of RxJS, which hold it only as long as they need it', () => {
        const counts: number[] = [];
        channel
          .pipe(
            map(() => 1),
            scan((a, b) => a + b),
            filter((count) => count % 2 === 1),
            take(2),
          )
          .subscribe((count) => counts.push(count));
        for (let i = 0; i < 5; i++) {
          raise();
          enter(one);
        }
        expect(counts).to.deep.equal([1, 3]);
        expect(enter(one)).to.equal(0);
      });
    });
  }

  it('are merged, shared and switched between like any Observables', () => {
    const [a, b] = [kinds.interdomain?.(), kinds.IPI?.()];
    if (a === undefined || b === undefined) throw new Error('no such kind');
    const merged: string[] = [];
    const both = merge(a.channel.pipe(map(() => 'a')), b.channel.pipe(map(() => 'b')));
    const all = new Subscription();
    all.add(both.pipe(bufferCount(2)).subscribe((pair) => merged.push(pair.join(''))));
    a.raise();
    b.raise();
    enter(one);
    expect(merged).to.have.length(1);
    expect([...(merged[0] ?? '')].sort()).to.deep.equal(['a', 'b']);
    all.unsubscribe();

    const shared = a.channel.pipe(share());
    let count = 0;
    const two = [1, 2].map(() =>
      shared.subscribe(() => {
        count++;
      }),
    );
    a.raise();
    enter(one);
    expect(count).to.equal(2);
    for (const subscription of two) subscription.unsubscribe();

    const which = new Subject<EventChannel>();
    const seen: Port[] = [];
    const switching = which
      .pipe(switchMap((channel) => channel.pipe(map(() => channel.port))))
      .subscribe((port) => seen.push(port));
    which.next(a.channel);
    which.next(b.channel);
    a.raise();
    b.raise();
    enter(one);
    expect(seen).to.deep.equal([b.channel.port]);
    switching.unsubscribe();
  });

  describe('of two vCPUs', () => {
    it('are delivered on the vCPU that they notify', () => {
      const ipis = [one.bindIpi(0), one.bindIpi(1)];
      const seen: string[] = [];
      ipis.forEach((ipi, vcpu) => {
        ipi.subscribe(() => seen.push(`ipi of vCPU ${vcpu}`));
      });
      for (const ipi of ipis) ipi.notify();
      expect(one.enter(undefined, 1)).to.equal(1);
      expect(seen).to.deep.equal(['ipi of vCPU 1']);
      expect(one.enter(undefined, 0)).to.equal(1);
    });

    it('move by bindVcpu, where they may', () => {
      const channel = one.allocUnbound(dom2);
      const peer = two.bindInterdomain(dom1, channel.port);
      channel.bindVcpu(1);
      expect(one.status(channel.port)).to.deep.equal({ status: 'interdomain', vcpu: 1, dom: dom2, port: peer.port });
      channel.subscribe();
      peer.notify();
      expect(one.enter(undefined, 0)).to.equal(0);
      expect(one.enter(undefined, 1)).to.equal(1);
    });
  });

  it('all end by reset, and their ports are free', () => {
    const channels = Object.values(kinds).map((bind) => bind().channel);
    let completed = 0;
    for (const channel of channels) channel.subscribe({ complete: () => completed++ });
    one.reset();
    expect(completed).to.equal(channels.length);
    expect(one.open).to.equal(0);
    expect(hypervisor.ledger(dom1).ports).to.deep.equal({ unbound: 0, interdomain: 0, pirq: 0, virq: 0, ipi: 0 });
    expect(one.bindIpi(0).port).to.equal(1);
  });

  it('tell what they are by status', () => {
    const timer = one.bindVirq(virq.timer, 1);
    expect(one.status(timer.port)).to.deep.equal({ status: 'virq', vcpu: 1, virq: virq.timer });
    expect(one.status(asPort(0))).to.deep.equal({ status: 'closed', vcpu: 0 });
  });

  describe('when they are misused', () => {
    it('say which call, which port or interrupt, who, and the rule that was broken', () => {
      const ipi = one.bindIpi(1);
      const timer = one.bindVirq(virq.timer, 1);
      const closed = one.bindIpi(0);
      closed[Symbol.dispose]();
      expect(refusal(() => one.bindVirq(virq.timer, 2))).to.deep.equal([
        'ENOENT',
        'EVTCHNOP_bind_virq of VIRQ_TIMER on vCPU 2 by domain 1, which has no such vCPU: ENOENT',
      ]);
      expect(refusal(() => one.bindVirq(virq.timer, 1))).to.deep.equal([
        'EEXIST',
        'EVTCHNOP_bind_virq of VIRQ_TIMER on vCPU 1 by domain 1, which has bound it already, on this vCPU: EEXIST',
      ]);
      expect(refusal(() => one.bindVirq(virq.conRing))).to.deep.equal([
        'EBUSY',
        'EVTCHNOP_bind_virq of VIRQ_CON_RING on vCPU 0 by domain 1, which does not own it: a global one is one domain’s: EBUSY',
      ]);
      expect(refusal(() => one.bindVirq(5 as number as typeof virq.timer, 1))[0]).to.equal('EINVAL');
      expect(refusal(() => one.bindIpi(7))).to.deep.equal([
        'ENOENT',
        'EVTCHNOP_bind_ipi to vCPU 7 by domain 1, which has no such vCPU: ENOENT',
      ]);
      expect(refusal(() => one.bindPirq(LINE))).to.deep.equal([
        'EPERM',
        'EVTCHNOP_bind_pirq of interrupt 20 by domain 1, which was not given it: PHYSDEVOP_map_pirq does: EPERM',
      ]);
      expect(refusal(() => ipi.bindVcpu(0))[1]).to.match(
        /^EVTCHNOP_bind_vcpu of port 1 to vCPU 0 by domain 1, where it stays: .*: EINVAL$/,
      );
      expect(refusal(() => closed.bindVcpu(0))).to.deep.equal([
        'EINVAL',
        'EVTCHNOP_bind_vcpu of port 3 to vCPU 0 by domain 1, which has closed it: EINVAL',
      ]);
      expect(refusal(() => timer.notify())).to.deep.equal([
        'EINVAL',
        'EVTCHNOP_send on port 2 by domain 1, which cannot send on it: it is closed, an interrupt’s, or Xen’s own: EINVAL',
      ]);
      expect(refusal(() => one.status(asPort(64)))).to.deep.equal([
        'EINVAL',
        'EVTCHNOP_status of port 64 by domain 1, whose table does not reach that far: EINVAL',
      ]);
      expect(refusal(() => two.bindInterdomain(dom1, asPort(9)))[1]).to.match(
        /^EVTCHNOP_bind_interdomain to port 9 of domain 1 by domain 2, for which no such port waits.*: EINVAL$/,
      );
      expect(one.open).to.equal(2);
    });

    it('change nothing: what was bound is bound still', () => {
      const timer = one.bindVirq(virq.timer, 1);
      let seen = 0;
      timer.subscribe(() => {
        seen++;
      });
      refusal(() => one.bindVirq(virq.timer, 1));
      hypervisor.virqs.raise(hypervisor.memory.slotOf(dom1), 1, virq.timer);
      enter(one);
      expect(seen).to.equal(1);
    });

    it('are ESRCH where the domain is gone', () => {
      hypervisor.destroyDomain(dom0, dom1);
      const calls = [() => one.bindVirq(virq.timer), () => one.bindIpi(0), () => one.bindPirq(LINE), () => one.reset()];
      for (const call of calls) expect(refusal(call)[0]).to.equal('ESRCH');
    });

    it('are ENOSYS on a platform that has no such operation, which its name stands in', () => {
      class Bare extends EventChannels {
        override allocUnbound(): never {
          throw new Error('not here');
        }
        override bindInterdomain(): never {
          throw new Error('not here');
        }
      }
      class BareChannel extends EventChannel {
        override readonly port = asPort(4);
        override notify(): void {}
        override retrigger(): void {}
        override [Symbol.dispose](): void {}
      }
      const bare = new Bare();
      const calls: Readonly<Record<string, () => unknown>> = {
        bind_virq: () => bare.bindVirq(virq.timer),
        bind_ipi: () => bare.bindIpi(0),
        bind_pirq: () => bare.bindPirq(LINE),
        status: () => bare.status(asPort(1)),
        reset: () => bare.reset(),
        bind_vcpu: () => new BareChannel(() => {}).bindVcpu(0),
      };
      for (const [name, call] of Object.entries(calls)) {
        const [code, text] = refusal(call);
        expect(code).to.equal('ENOSYS');
        expect(text).to.match(new RegExp(`^EVTCHNOP_${name}\\b.*this platform does not offer`));
      }
    });
  });

  describe('and Physdev', () => {
    it('gives a domain an interrupt, which that binds, ends and shares', () => {
      hypervisor.pirqs.setTrigger(20, 'level');
      const three = channelsOf(dom3);
      const eois = [dom1, dom3].map((domid) => new HypervisorPhysdev(hypervisor, domid));
      const pirqs = [dom1, dom3].map((domid) => physdev.mapPirq(domid, { type: 'gsi', index: 20, pirq: LINE }));
      expect(pirqs).to.deep.equal([LINE, LINE]);
      let seen = 0;
      for (const channels of [one, three]) {
        channels.bindPirq(LINE, { willShare: true }).subscribe(() => {
          seen++;
        });
      }
      hypervisor.pirqs.setLine(20, true);
      for (const channels of [one, three]) channels.enter();
      expect(seen).to.equal(2);
      expect(eois[0]?.irqStatusQuery(LINE)).to.deep.equal({ needsEoi: true, shared: true });
      eois[0]?.eoi(LINE);
      one.enter();
      expect(seen).to.equal(2);
      eois[1]?.eoi(LINE);
      for (const channels of [one, three]) channels.enter();
      expect(seen).to.equal(4);
    });

    it('takes it away again, and its channel is silent', () => {
      const pirq = physdev.mapPirq(dom1, { type: 'gsi', index: 20 });
      let seen = 0;
      one.bindPirq(pirq).subscribe(() => {
        seen++;
      });
      physdev.unmapPirq(dom1, pirq);
      hypervisor.pirqs.setLine(20, true);
      one.enter();
      expect(seen).to.equal(0);
      expect(refusal(() => physdev.mapPirq(dom1, { type: 'gsi', index: 20 }))).to.deep.equal([
        'EBUSY',
        'PHYSDEVOP_map_pirq of gsi 20 for domain 1 by domain 0, while the channel of the interrupt that was taken away is still open: EBUSY',
      ]);
    });

    it('says which call, which interrupt and the rule that was broken', () => {
      const guest = new HypervisorPhysdev(hypervisor, dom1);
      expect(refusal(() => guest.mapPirq(dom1, { type: 'gsi', index: 20, pirq: LINE }))).to.deep.equal([
        'EPERM',
        'PHYSDEVOP_map_pirq of gsi 20 as 20 for domain 1 by domain 1, which is not privileged, or asks for Xen’s own timer: EPERM',
      ]);
      expect(refusal(() => guest.eoi(LINE))).to.deep.equal([
        'EINVAL',
        'PHYSDEVOP_eoi of interrupt 20 by domain 1, which has no such interrupt: EINVAL',
      ]);
      expect(refusal(() => guest.irqStatusQuery(asPirq(256)))[0]).to.equal('EINVAL');
      expect(refusal(() => physdev.unmapPirq(dom1, LINE))[0]).to.equal('EINVAL');
      hypervisor.destroyDomain(dom0, dom1);
      expect(refusal(() => guest.eoi(LINE))).to.deep.equal(['ESRCH', 'domain 1 has been destroyed: ESRCH']);
    });
  });
});
