import { expect } from 'chai';
import { filter, firstValueFrom } from 'rxjs';
import { Clock, type Domain, Domctl, type Domid, EventChannels, Sched, Vcpus } from '../../../core/index.js';
import { ThreadsMachine } from '../../../platform/threads/index.js';

const module = import.meta.resolve('./vcpus.module.js');
const MS = 1_000_000;

describe('the vCPUs of a machine of threads', () => {
  let machine: ThreadsMachine;

  beforeEach(async () => {
    machine = await ThreadsMachine.create({ memory: 16 << 20, watchdog: 1 });
  });

  afterEach(() => machine[Symbol.asyncDispose]());

  const boot = (cmdline: string, blocking = false, vcpus = 1): Promise<Domid> =>
    machine.boot({ name: cmdline, module, cmdline, blocking, vcpus });
  const reported = async (cmdline: string, blocking = false, vcpus = 1): Promise<unknown> => {
    const report = firstValueFrom(machine.reports$);
    await boot(cmdline, blocking, vcpus);
    return (await report).value;
  };

  for (const blocking of [false, true]) {
    describe(`in a thread that ${blocking ? 'blocks' : 'parks'}`, () => {
      it('are woken by their single-shot timer, not before its time', async () => {
        expect(await reported('singleshot', blocking)).to.equal('in time');
      });

      it('are woken by the end of a poll, not before its time', async () => {
        expect(await reported('poll', blocking)).to.equal('in time');
      });

      it('hear of periods while they compute', async () => {
        expect(await reported('periodic', blocking)).to.equal(3);
      });

      it('spend CPU time by computing, and hear of timers in virtual time', async () => {
        expect(await reported('virtual', blocking)).to.equal('received');
      });

      it('run what is left for them, all in the one thread', async () => {
        expect(await reported('smp', blocking, 2)).to.deep.equal([2, 1, 0]);
      });

      it('are cancelled in their suspension, in the same domain', async () => {
        const report = firstValueFrom(machine.reports$);
        const domid = await boot('suspend', blocking);
        expect((await machine.shutdownOf(domid)).reason).to.equal('suspend');
        await machine.dom0.get(Domctl).resume(domid);
        expect((await report).value).to.equal('cancelled');
      });
    });
  }

  it('tell why their domain shuts down', async () => {
    const { reason, name } = await machine.shutdownOf(await boot('reboot'));
    expect([reason, name]).to.deep.equal(['reboot', 'reboot']);
  });

  it('are shut down by their watchdog though their thread hangs', async function () {
    this.timeout(20_000);
    expect((await machine.shutdownOf(await boot('watchdog'))).reason).to.equal('watchdog');
  });

  it('are named in the log while they do not yield, and when they have', async function () {
    this.timeout(20_000);
    const said: string[] = [];
    machine.log$.subscribe(({ domain, text }) => said.push(`${domain} ${text}`));
    const yielded = firstValueFrom(machine.log$.pipe(filter(({ text }) => text.startsWith('yielded after'))));
    expect(await reported('hang')).to.equal('hung');
    await yielded;
    expect(said[0]).to.match(/^hang has not yielded for \d+\.\d s$/);
    expect(said[1]).to.match(/^hang yielded after \d+\.\d s$/);
  });

  describe('of a domain in the machine’s own thread', () => {
    let guest: Domain;
    let sender: Domain;
    const sleep = (ms: number): Promise<void> => firstValueFrom(machine.dom0.get(Clock).timer$(ms));

    beforeEach(async () => {
      guest = await machine.guest('guest', undefined, 2);
      sender = await machine.guest('sender');
    });

    it('are woken by timers, and poll and block', async () => {
      const vcpu = guest.get(Vcpus).vcpu(0);
      await firstValueFrom(vcpu.singleshot$(vcpu.systemTime() + 5 * MS));
      await guest.get(Sched).poll([], vcpu.systemTime() + 5 * MS);
      await guest.get(Sched).yield();
    });

    it('are not entered while they are paused, and get what came afterwards', async () => {
      const there = guest.get(EventChannels).allocUnbound(sender.domid);
      const here = sender.get(EventChannels).bindInterdomain(guest.domid, there.port);
      let upcalls = 0;
      there.subscribe(() => upcalls++);
      await machine.idle();
      const before = upcalls;
      await machine.dom0.get(Domctl).pause(guest.domid);
      here.notify();
      here.notify();
      await sleep(10);
      expect(upcalls).to.equal(before);
      await machine.dom0.get(Domctl).unpause(guest.domid);
      await machine.idle();
      expect(upcalls).to.equal(before + 1);
    });
  });
});
