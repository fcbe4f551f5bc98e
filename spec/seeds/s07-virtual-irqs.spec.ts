import { expect } from 'chai';
import { firstValueFrom } from 'rxjs';
import { Clock, Domctl, EventChannels, Vcpus, virq } from 'splitring';
import { onEachPlatform, refusal } from './on-each-platform.js';

const MS = 1e6;

onEachPlatform('S7, virtual IRQs', (scene) => {
  it('come from a clock of virtual time: when the domain has received so many milliseconds of CPU', async () => {
    const { machine, front } = scene();
    const vcpu = front.get(Vcpus).current;
    const before = vcpu.runstate().time.running;
    let fired = 0;
    vcpu.virtualTimer$(20).subscribe(() => {
      fired++;
      expect(vcpu.runstate().time.running - before).to.be.at.least(20 * MS);
    });
    // Time alone does not count: the domain does nothing meanwhile.
    await firstValueFrom(machine.dom0.get(Clock).timer$(40));
    expect(fired).to.equal(0);
    await vcpu.spend(30);
    await machine.idle();
    expect(fired).to.equal(1);
  });

  it('which stands still while another domain has the processor', async () => {
    const { platform, machine, front, back } = scene();
    const [own, other] = [front.get(Vcpus).current, back.get(Vcpus).current];
    const received = (): number => own.runstate().time.running;
    const before = received();
    const fired = firstValueFrom(own.virtualTimer$(10)).then(() => received() - before);
    await other.spend(30);
    // On threads the host's scheduler has a part in what a domain receives.
    if (platform === 'local') expect(received() - before, 'the other one has had 30 ms').to.be.below(10 * MS);
    await own.spend(15);
    expect(await fired).to.be.at.least(10 * MS);
    await machine.idle();
  });

  it('come from a timer at a time that the guest has set', async () => {
    const { machine, front } = scene();
    const vcpu = front.get(Vcpus).current;
    const at = vcpu.systemTime() + 5 * MS;
    const fired = firstValueFrom(vcpu.singleshot$(at));
    const bindIt = (): unknown => front.get(EventChannels).bindVirq(virq.timer);
    expect(refusal(bindIt), 'VIRQ_TIMER is what the timer raises').to.equal('EEXIST');
    await fired;
    expect(vcpu.systemTime()).to.be.at.least(at);
    await machine.idle();
  });

  it('are kept for a domain that does not run when they are raised', async () => {
    const { machine, front } = scene();
    const vcpu = front.get(Vcpus).current;
    const clock = machine.dom0.get(Clock);
    let fired = 0;
    vcpu.singleshot$(vcpu.systemTime() + 5 * MS).subscribe(() => fired++);
    const domctl = machine.dom0.get(Domctl);
    await domctl.pause(front.domid);
    await firstValueFrom(clock.timer$(20));
    await machine.idle();
    expect(fired).to.equal(0);
    await domctl.unpause(front.domid);
    await machine.idle();
    expect(fired).to.equal(1);
  });

  it('are raised by the hypervisor alone', () => {
    const channel = scene().front.get(EventChannels).bindVirq(virq.debug);
    expect(refusal(() => channel.notify())).to.equal('EINVAL');
  });

  it('belong to one domain where the machine has them once', () => {
    const { machine, front } = scene();
    expect(refusal(() => front.get(EventChannels).bindVirq(virq.conRing))).to.equal('EBUSY');
    using channel = machine.dom0.get(EventChannels).bindVirq(virq.conRing);
    expect(machine.dom0.get(EventChannels).status(channel.port)).to.deep.include({
      status: 'virq',
      virq: virq.conRing,
    });
  });
});
