import { expect } from 'chai';
import { firstValueFrom } from 'rxjs';
import { runstate } from '../../../core/hypervisor/runstate.js';
import { Domctl, EventChannels, GrantTable, Vcpus, virq, XenError } from '../../../core/index.js';
import { vcpuScene } from './vcpu-scene.js';

const MS = 1_000_000;
const outcome = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);

describe('the vCPUs of a local machine', () => {
  const scene = vcpuScene();
  const { make, guest, vcpu, now, note, sleep } = scene;

  it('are as many as DomainConfig says; all but the first are brought up by the domain', async () => {
    await make();
    const vcpus = (await guest('smp', 3)).get(Vcpus);
    expect(vcpus.count).to.equal(3);
    expect([0, 1, 2].map((id) => vcpus.vcpu(id).isUp)).to.deep.equal([true, false, false]);
    vcpus.vcpu(2).up();
    vcpus.vcpu(2).up();
    expect([0, 1, 2].map((id) => vcpus.vcpu(id).isUp)).to.deep.equal([true, false, true]);
    vcpus.vcpu(0).down();
    expect(vcpus.vcpu(0).isUp).to.equal(false);
    expect(() => vcpus.vcpu(3))
      .to.throw(XenError, 'has no vCPU 3')
      .with.property('code', 'ENOENT');
    expect(await outcome(scene.machine.boot({ name: 'too-many', vcpus: 33 }))).to.be.instanceOf(RangeError);
  });

  it('are offline until their domain runs, and blocked while it has nothing to do', async () => {
    await make();
    const domid = await scene.machine.toolstack.create({ name: 'idle' });
    const state = (): number =>
      scene.machine.hypervisor.runstates.state(scene.machine.hypervisor.memory.slotOf(domid), 0);
    expect(state()).to.equal(runstate.offline);
    await scene.machine.toolstack.unpause(domid);
    await scene.machine.idle();
    expect(state()).to.equal(runstate.blocked);
  });

  it('run what is left for them, each on its own', async () => {
    await make();
    const vcpus = (await guest('smp', 2)).get(Vcpus);
    vcpus.vcpu(1).up();
    const ids = await Promise.all([1, 0].map((id) => vcpus.vcpu(id).run(() => vcpus.current.id)));
    expect(ids).to.deep.equal([1, 0]);
  });

  it('have the wall clock and system time from their pages', async () => {
    await make();
    const vcpus = (await guest('one')).get(Vcpus);
    await sleep(1500);
    expect([vcpus.current.systemTime(), vcpus.wallclock()]).to.deep.equal([1500 * MS, 1500]);
  });

  describe('with timers', () => {
    it('hear of a single-shot one at its absolute system time, several in the order of their times', async () => {
      await make();
      const one = vcpu(await guest('one'));
      const start = one.systemTime();
      one.singleshot$(start + 20 * MS).subscribe(note('late'));
      one.singleshot$(start + 5 * MS).subscribe(note('early'));
      const stopped = one.singleshot$(start + 10 * MS).subscribe(note('never'));
      await sleep(1);
      stopped.unsubscribe();
      await sleep(30);
      expect(scene.trace).to.deep.equal([`early at ${start / MS + 5}`, `late at ${start / MS + 20}`]);
    });

    it('hear at once of one that has passed, and not inside the call that set it', async () => {
      await make();
      const one = vcpu(await guest('one'));
      await sleep(10);
      let fired = false;
      one.singleshot$(1).subscribe(() => {
        fired = true;
      });
      expect(fired).to.equal(false);
      const before = now();
      await scene.machine.idle();
      expect([fired, now()]).to.deep.equal([true, before]);
    });

    it('set their own single-shot timer and no other vCPU’s: EINVAL', async () => {
      await make();
      const smp = await guest('smp', 2);
      vcpu(smp, 1).up();
      await vcpu(smp).run(() => {});
      const refused = await outcome(firstValueFrom(vcpu(smp, 1).singleshot$(5 * MS)));
      expect(refused).to.be.instanceOf(XenError).with.property('code', 'EINVAL');
      expect(String(refused)).to.include('VCPUOP_set_singleshot_timer').and.include('vCPU 1 from vCPU 0');
      await vcpu(smp, 1).run(() =>
        vcpu(smp, 1)
          .singleshot$(5 * MS)
          .subscribe(note('own')),
      );
      await sleep(10);
      expect(scene.trace).to.deep.equal(['own at 5']);
    });

    it('refuse a period below 1 ms, naming the call: EINVAL', async () => {
      await make();
      const refused = await outcome(firstValueFrom(vcpu(await guest('one')).periodic$(MS - 1)));
      expect(refused).to.be.instanceOf(XenError).with.property('code', 'EINVAL');
      expect(String(refused)).to.include('VCPUOP_set_periodic_timer');
    });

    it('leave VIRQ_TIMER free after a period that is refused', async () => {
      await make();
      const one = await guest('one');
      for (const period of [0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        expect(await outcome(firstValueFrom(vcpu(one).periodic$(period)))).to.be.instanceOf(RangeError);
      }
      for (const period of [-MS, 0, 2 ** 62]) {
        expect(await outcome(firstValueFrom(vcpu(one).periodic$(period)))).to.have.property('code', 'EINVAL');
      }
      expect(scene.machine.hypervisor.ledger(one.domid).ports.virq).to.equal(0);
    });

    it('name the rule when VIRQ_TIMER is bound already: EEXIST', async () => {
      await make();
      const one = await guest('one');
      one.get(EventChannels).bindVirq(virq.timer, 0);
      const refused = await outcome(firstValueFrom(vcpu(one).singleshot$(5 * MS)));
      expect(refused).to.be.instanceOf(XenError).with.property('code', 'EEXIST');
      expect(String(refused)).to.include('EVTCHNOP_bind_virq of VIRQ_TIMER on vCPU 0 by domain').and.include('already');
    });

    it('hear at once of time 0 at the machine’s boot', async () => {
      await make();
      vcpu(await guest('one'))
        .singleshot$(0)
        .subscribe(note('fired'));
      await scene.machine.idle();
      expect(scene.trace).to.deep.equal(['fired at 0']);
    });

    it('refuse clocks and timers once their domain is gone: ESRCH', async () => {
      await make();
      const one = await guest('one');
      const own = vcpu(one);
      const vcpus = one.get(Vcpus);
      await scene.machine.dom0.get(Domctl).destroy(one.domid);
      expect(() => vcpus.wallclock())
        .to.throw(XenError)
        .with.property('code', 'ESRCH');
      expect(() => own.systemTime())
        .to.throw(XenError)
        .with.property('code', 'ESRCH');
      for (const timer$ of [own.singleshot$(MS), own.periodic$(MS), own.virtualTimer$(1), vcpus.virtualTimer$(1)]) {
        expect(await outcome(firstValueFrom(timer$))).to.have.property('code', 'ESRCH');
      }
    });

    it('keep copies of their runstate and time where they fit, and change nothing where they do not: EFAULT', async () => {
      await make();
      const one = await guest('one');
      const page = one.get(GrantTable).alloc();
      const own = vcpu(one);
      const area = new DataView(page.bytes.buffer, page.bytes.byteOffset, page.bytes.length);
      own.registerRunstate(page, 64, true);
      own.registerTime(page, 128);
      await sleep(3);
      await own.run(() => {});
      expect(area.getUint32(64, true)).to.equal(runstate.running);
      expect(area.getBigUint64(72, true)).to.equal(BigInt(own.runstate().stateEntryTime));
      expect(area.getUint32(128, true) & 1).to.equal(0);
      const flags = (): number =>
        scene.machine.hypervisor.sharedInfo.flags(scene.machine.hypervisor.memory.slotOf(one.domid));
      const before = flags();
      for (const offset of [4096 - 40, 2, -4, Number.NaN]) {
        expect(() => own.registerRunstate(page, offset))
          .to.throw(XenError, 'VCPUOP_register_runstate_memory_area')
          .with.property('code', 'EFAULT');
      }
      expect(flags()).to.equal(before);
      expect(() => own.registerTime(page, 4096))
        .to.throw(XenError, 'VCPUOP_register_vcpu_time_memory_area')
        .with.property('code', 'EFAULT');
    });

    it('share VIRQ_TIMER of the vCPU while anybody waits, and leave it free then', async () => {
      await make();
      const one = await guest('one');
      const ports = () => scene.machine.hypervisor.ledger(one.domid).ports.virq;
      const first = vcpu(one)
        .singleshot$(5 * MS)
        .subscribe();
      const second = vcpu(one).periodic$(MS).subscribe();
      expect(ports()).to.equal(1);
      first.unsubscribe();
      expect(ports()).to.equal(1);
      second.unsubscribe();
      expect(ports()).to.equal(0);
    });

    it('hear of periods while they run, not while they are blocked, and at switch-in if one has passed', async () => {
      await make();
      const one = await guest('one');
      await sleep(100);
      const ticks = vcpu(one)
        .periodic$(10 * MS)
        .subscribe(note('tick'));
      await sleep(35);
      // Idle: only what setting it raised at once, for it had not fired since boot.
      expect(scene.trace).to.deep.equal(['tick at 100']);
      await vcpu(one).spend(25);
      ticks.unsubscribe();
      expect(scene.trace.slice(1)).to.deep.equal(['tick at 135', 'tick at 145', 'tick at 155']);
    });
  });

  describe('in virtual time (S7)', () => {
    it('hear of a timer when they have received so much CPU, not when so much time has passed', async () => {
      await make({ slice: 10 });
      const [a, b] = [await guest('a'), await guest('b')];
      let received = 0;
      vcpu(a)
        .virtualTimer$(25)
        .subscribe(() => {
          received = vcpu(a).runstate().time.running;
          note('virtual')();
        });
      await sleep(1000);
      expect(scene.trace).to.deep.equal([]);
      await Promise.all([vcpu(a).spend(40), vcpu(b).spend(40)]);
      expect(received).to.equal(25 * MS);
      expect(scene.trace).to.have.length(1);
      const at = Number(scene.trace[0]?.split(' ').pop());
      expect(at - 1000).to.be.greaterThan(25);
    });

    it('hear of one of the whole domain, whose vCPUs receive it together', async () => {
      await make({ cpus: 2 });
      const smp = await guest('smp', 2);
      vcpu(smp, 1).up();
      smp.get(Vcpus).virtualTimer$(30).subscribe(note('virtual'));
      await Promise.all([0, 1].map((id) => vcpu(smp, id).spend(50)));
      expect(scene.trace).to.deep.equal(['virtual at 15']);
    });

    it('stop one by unsubscribing', async () => {
      await make();
      const one = vcpu(await guest('one'));
      one.virtualTimer$(5).subscribe(note('never')).unsubscribe();
      await one.spend(10);
      expect(scene.trace).to.deep.equal([]);
    });
  });
});
