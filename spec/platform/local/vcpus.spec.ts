// Long, since vCPUs, timers, waits and pauses share the rules of one scheduler.
import { expect } from 'chai';
import { firstValueFrom } from 'rxjs';
import { runstate } from '../../../core/hypervisor/runstate.js';
import {
  Clock,
  type Domain,
  Domctl,
  EventChannels,
  GrantTable,
  type Port,
  Sched,
  type ShutdownReason,
  shutdownReasons,
  type Vcpu,
  Vcpus,
  virq,
  XenError,
} from '../../../core/index.js';
import { LocalMachine, type LocalMachineOptions } from '../../../platform/local/index.js';

const MS = 1_000_000;
const outcome = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);

describe('the vCPUs of a local machine', () => {
  let machine: LocalMachine;
  let trace: string[];

  const make = async (options: LocalMachineOptions = {}): Promise<void> => {
    machine = await LocalMachine.create({ seed: 1, clock: 'simulated', memory: 8 << 20, ...options });
  };
  const guest = (name: string, vcpus?: number): Promise<Domain> => machine.guest(name, undefined, vcpus);
  const vcpu = (domain: Domain, id = 0): Vcpu => domain.get(Vcpus).vcpu(id);
  /** System time in milliseconds. */
  const now = (): number => machine.dom0.get(Clock).now();
  const note = (what: string) => (): void => {
    trace.push(`${what} at ${Math.round(now() * 1000) / 1000}`);
  };
  const sleep = (ms: number): Promise<void> => firstValueFrom(machine.dom0.get(Clock).timer$(ms));
  /** A channel: what raises its event, what it raises it in. */
  const channel = async (from: Domain, to: Domain) => {
    const there = to.get(EventChannels).allocUnbound(from.domid);
    const here = from.get(EventChannels).bindInterdomain(to.domid, there.port);
    await machine.idle();
    return [here, there] as const;
  };
  /** A machine with a guest that notes each upcall of a channel, and its sender; nothing is pending, and nothing noted. */
  const listening = async () => {
    await make();
    const [a, sender] = [await guest('a'), await guest('sender')];
    const [toA, atA] = await channel(sender, a);
    atA.subscribe(note('upcall'));
    await machine.idle();
    trace.length = 0;
    return { a, sender, toA, atA };
  };

  beforeEach(() => {
    trace = [];
  });
  afterEach(async () => {
    await machine[Symbol.asyncDispose]();
  });

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
    expect(await outcome(machine.boot({ name: 'too-many', vcpus: 33 }))).to.be.instanceOf(RangeError);
  });

  it('are offline until their domain runs, and blocked while it has nothing to do', async () => {
    await make();
    const domid = await machine.toolstack.create({ name: 'idle' });
    const state = (): number => machine.hypervisor.runstates.state(machine.hypervisor.memory.slotOf(domid), 0);
    expect(state()).to.equal(runstate.offline);
    await machine.toolstack.unpause(domid);
    await machine.idle();
    expect(state()).to.equal(runstate.blocked);
  });

  it('run what is left for them, each on its own', async () => {
    await make();
    const vcpus = (await guest('smp', 2)).get(Vcpus);
    vcpus.vcpu(1).up();
    const ids = await Promise.all([1, 0].map((id) => vcpus.vcpu(id).run(() => vcpus.current.id)));
    expect(ids).to.deep.equal([1, 0]);
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
      expect(trace).to.deep.equal([`early at ${start / MS + 5}`, `late at ${start / MS + 20}`]);
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
      await machine.idle();
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
      expect(trace).to.deep.equal(['own at 5']);
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
      expect(machine.hypervisor.ledger(one.domid).ports.virq).to.equal(0);
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
      await machine.idle();
      expect(trace).to.deep.equal(['fired at 0']);
    });

    it('refuse clocks and timers once their domain is gone: ESRCH', async () => {
      await make();
      const one = await guest('one');
      const own = vcpu(one);
      const vcpus = one.get(Vcpus);
      await machine.dom0.get(Domctl).destroy(one.domid);
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
      const flags = (): number => machine.hypervisor.sharedInfo.flags(machine.hypervisor.memory.slotOf(one.domid));
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
      const ports = () => machine.hypervisor.ledger(one.domid).ports.virq;
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
      expect(trace).to.deep.equal(['tick at 100']);
      await vcpu(one).spend(25);
      ticks.unsubscribe();
      expect(trace.slice(1)).to.deep.equal(['tick at 135', 'tick at 145', 'tick at 155']);
    });
  });

  describe('that spend CPU time', () => {
    it('receive it in as much system time where nobody else wants the CPU', async () => {
      await make();
      const one = vcpu(await guest('one'));
      const start = now();
      await one.spend(25);
      expect(now() - start).to.equal(25);
      expect(one.runstate().time.running).to.equal(25 * MS);
    });

    it('share one CPU by slices: virtual time is not system time, and both add up', async () => {
      await make();
      const [a, b] = [vcpu(await guest('a')), vcpu(await guest('b'))];
      const start = now();
      await Promise.all([a.spend(50).then(note('a')), b.spend(50).then(note('b'))]);
      expect(now() - start).to.equal(100);
      for (const each of [a, b]) {
        const { time } = each.runstate();
        expect(time.running).to.equal(50 * MS);
      }
      expect(a.runstate().time.runnable + b.runstate().time.runnable).to.be.within(50 * MS, 100 * MS);
    });

    it('run at the same time where there are CPUs enough', async () => {
      await make({ cpus: 2 });
      const smp = await guest('smp', 2);
      vcpu(smp, 1).up();
      const start = now();
      await Promise.all([0, 1].map((id) => vcpu(smp, id).spend(50)));
      expect(now() - start).to.equal(50);
    });

    it('three on two CPUs take three halves of the time', async () => {
      await make({ cpus: 2, slice: 1 });
      const all = await Promise.all(['a', 'b', 'c'].map((name) => guest(name)));
      const start = now();
      await Promise.all(all.map((each) => vcpu(each).spend(40)));
      expect(now() - start).to.be.within(60, 80);
      expect(all.map((each) => vcpu(each).runstate().time.running)).to.deep.equal([40 * MS, 40 * MS, 40 * MS]);
    });

    it('get their events while they run, and wait for them while they are switched out (S1)', async () => {
      await make({ slice: 10 });
      const [a, b, sender] = [await guest('a'), await guest('b'), await guest('sender')];
      const [toA, atA] = await channel(sender, a);
      atA.subscribe(() => trace.push(`event while ${vcpu(a).runstate().state}, ${vcpu(b).runstate().state}`));
      await machine.idle();
      trace.length = 0;
      const done = Promise.all([vcpu(a).spend(40), vcpu(b).spend(40)]);
      for (let i = 0; i < 15; i++) {
        await sleep(5);
        toA.notify();
      }
      await done;
      // Whenever the upcall came, a had the CPU and b had none.
      expect(trace.length).to.be.within(2, 15);
      for (const line of trace) expect(line).to.match(/^event while running, (runnable|blocked)$/);
    });

    it('are entered for an event at once, though they compute: the CPU is theirs', async () => {
      await make();
      const [a, sender] = [await guest('a'), await guest('sender')];
      const [toA, atA] = await channel(sender, a);
      await machine.idle();
      atA.subscribe(note('event'));
      await machine.idle();
      trace.length = 0;
      const done = vcpu(a).spend(30).then(note('done'));
      await sleep(7);
      toA.notify();
      await done;
      expect(trace).to.deep.equal(['event at 7', 'done at 30']);
    });

    it('keep a vCPU that has an event waiting for a slice, no longer', async () => {
      await make({ slice: 10 });
      const [a, idle, sender] = [await guest('a'), await guest('idle'), await guest('sender')];
      const [there, here] = await channel(sender, idle);
      here.subscribe(note('event'));
      await machine.idle();
      trace.length = 0;
      const start = now();
      const done = vcpu(a).spend(100);
      await sleep(3);
      there.notify();
      await done;
      expect(trace).to.deep.equal([`event at ${start + 10}`]);
    });

    it('leave their time alone while they are paused', async () => {
      await make();
      const a = await guest('a');
      const { toolstack } = machine;
      const done = vcpu(a).spend(20).then(note('done'));
      await sleep(5);
      await machine.dom0.get(Domctl).pause(a.domid);
      expect(vcpu(a).runstate().state).to.equal('offline');
      await sleep(100);
      await toolstack.unpause(a.domid);
      await done;
      expect(trace).to.deep.equal(['done at 120']);
      const { running, offline } = vcpu(a).runstate().time;
      expect([running, offline >= 100 * MS]).to.deep.equal([20 * MS, true]);
    });

    it('refuse less than nothing: RangeError', async () => {
      await make();
      const one = vcpu(await guest('one'));
      expect(() => one.spend(-1)).to.throw(RangeError);
      expect(() => one.virtualTimer$(Number.NaN)).to.throw(RangeError);
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
      expect(trace).to.deep.equal([]);
      await Promise.all([vcpu(a).spend(40), vcpu(b).spend(40)]);
      expect(received).to.equal(25 * MS);
      expect(trace).to.have.length(1);
      const at = Number(trace[0]?.split(' ').pop());
      expect(at - 1000).to.be.greaterThan(25);
    });

    it('hear of one of the whole domain, whose vCPUs receive it together', async () => {
      await make({ cpus: 2 });
      const smp = await guest('smp', 2);
      vcpu(smp, 1).up();
      smp.get(Vcpus).virtualTimer$(30).subscribe(note('virtual'));
      await Promise.all([0, 1].map((id) => vcpu(smp, id).spend(50)));
      expect(trace).to.deep.equal(['virtual at 15']);
    });

    it('stop one by unsubscribing', async () => {
      await make();
      const one = vcpu(await guest('one'));
      one.virtualTimer$(5).subscribe(note('never')).unsubscribe();
      await one.spend(10);
      expect(trace).to.deep.equal([]);
    });
  });

  describe('with the scheduling operations', () => {
    it('block until an event has come, and resume after its upcall', async () => {
      const { a, toA } = await listening();
      vcpu(a).upcallMask = true;
      const done = a.get(Sched).block().then(note('resumed'));
      expect(vcpu(a).upcallMask).to.equal(false);
      await sleep(5);
      expect(trace).to.deep.equal([]);
      toA.notify();
      await done;
      expect(trace).to.deep.equal(['upcall at 5', 'resumed at 5']);
    });

    it('do not sleep over an event that came before they block', async () => {
      const { a, toA } = await listening();
      vcpu(a).upcallMask = true;
      toA.notify();
      await machine.idle();
      expect(trace).to.deep.equal([]);
      await a.get(Sched).block().then(note('resumed'));
      expect(trace).to.deep.equal(['upcall at 0', 'resumed at 0']);
    });

    it('keep events while upcalls are masked, and get them all when they are not', async () => {
      const { a, toA } = await listening();
      vcpu(a).upcallMask = true;
      toA.notify();
      toA.notify();
      await sleep(5);
      expect(trace).to.deep.equal([]);
      vcpu(a).upcallMask = false;
      await machine.idle();
      expect(trace).to.deep.equal(['upcall at 5']);
    });

    it('poll a masked port: the event ends it, and is pending still', async () => {
      await make();
      const [a, sender] = [await guest('a'), await guest('sender')];
      const [toA, atA] = await channel(sender, a);
      // The binder's unconditional first event was at the sender's end.
      const polled = a.get(Sched).poll([atA.port]).then(note('polled'));
      await sleep(4);
      expect(trace).to.deep.equal([]);
      toA.notify();
      await polled;
      await a.get(Sched).poll([atA.port]);
      expect(trace).to.deep.equal(['polled at 4']);
      atA.subscribe(note('upcall'));
      await machine.idle();
      expect(trace).to.deep.equal(['polled at 4', 'upcall at 4']);
    });

    it('poll for two parts of the guest at a time: each event, masked, ends what waits, and no part is forgotten', async () => {
      await make();
      const [a, sender] = [await guest('a'), await guest('sender')];
      const [toOne, one] = await channel(sender, a);
      const [toTwo, two] = await channel(sender, a);
      const { sharedInfo, memory } = machine.hypervisor;
      const isPending = (port: number): boolean => sharedInfo.isPending(sharedInfo.at(memory.slotOf(a.domid)), port);
      const wait = async (name: string, { port }: { readonly port: Port }): Promise<void> => {
        while (!isPending(port)) await a.get(Sched).poll([port]);
        note(name)();
      };
      const both = Promise.all([wait('one', one), wait('two', two)]);
      await sleep(2);
      toOne.notify();
      await sleep(2);
      toTwo.notify();
      await both;
      expect(trace).to.deep.equal(['one at 2', 'two at 4']);
    });

    it('poll a port that is pending while another part of the guest waits, which goes on waiting', async () => {
      await make();
      const [a, sender] = [await guest('a'), await guest('sender')];
      const [toOne, one] = await channel(sender, a);
      const [toTwo, two] = await channel(sender, a);
      one.subscribe(note('upcall'));
      await machine.idle();
      trace.length = 0;
      void a.get(Sched).block().then(note('resumed'));
      toTwo.notify();
      await machine.idle();
      await a.get(Sched).poll([two.port], 50 * MS);
      toOne.notify();
      await sleep(1);
      expect(trace.filter((what) => what.startsWith('resumed'))).to.have.length(1);
    });

    it('poll until an absolute time, the first of two', async () => {
      await make();
      const a = await guest('a');
      const sched = a.get(Sched);
      await Promise.all([sched.poll([]).then(note('ever')), sched.poll([], 7 * MS), sched.poll([], 9 * MS)]);
      expect(trace).to.deep.equal(['ever at 7']);
    });

    it('poll until an absolute time', async () => {
      await make();
      const a = await guest('a');
      const port = a.get(EventChannels).allocUnbound(machine.dom0.domid);
      await a.get(Sched).poll([port.port], 7 * MS);
      expect(now()).to.equal(7);
      await a.get(Sched).poll([], 3 * MS);
      expect(now()).to.equal(7);
    });

    it('refuse a poll of a free port, and name it: EINVAL', async () => {
      await make();
      const a = await guest('a');
      const port = a.get(EventChannels).allocUnbound(machine.dom0.domid);
      port[Symbol.dispose]();
      const refused = await outcome(a.get(Sched).poll([port.port]));
      expect(refused).to.be.instanceOf(XenError).with.property('code', 'EINVAL');
      expect(String(refused)).to.include(`SCHEDOP_poll of ports ${port.port}`);
      expect(await outcome(a.get(Sched).poll([], 0.5))).to.be.instanceOf(RangeError);
    });

    it('yield, and go on in the same moment', async () => {
      await make();
      const a = await guest('a');
      await a.get(Sched).yield();
      expect(now()).to.equal(0);
    });
  });

  describe('that are paused', () => {
    it('are not entered, hear of no timer, and get everything when they go on', async () => {
      await make();
      const [a, sender] = [await guest('a'), await guest('sender')];
      const [toA, atA] = await channel(sender, a);
      atA.subscribe(note('upcall'));
      a.get(Clock).timer$(5).subscribe(note('clock'));
      vcpu(a)
        .singleshot$(6 * MS)
        .subscribe(note('VIRQ_TIMER'));
      await machine.idle();
      trace.length = 0;
      await machine.dom0.get(Domctl).pause(a.domid);
      toA.notify();
      toA.notify();
      await sleep(50);
      expect(trace).to.deep.equal([]);
      await machine.toolstack.unpause(a.domid);
      await machine.idle();
      expect(trace.sort()).to.deep.equal(['VIRQ_TIMER at 50', 'clock at 50', 'upcall at 50']);
    });

    it('count their pauses, and say so when there is none to take back: EINVAL', async () => {
      await make();
      const a = await guest('a');
      const domctl = machine.dom0.get(Domctl);
      await domctl.pause(a.domid);
      await domctl.pause(a.domid);
      const ran = vcpu(a).run(note('ran'));
      await domctl.unpause(a.domid);
      await machine.idle();
      expect(trace).to.deep.equal([]);
      await domctl.unpause(a.domid);
      await ran;
      expect(await outcome(domctl.unpause(a.domid)))
        .to.be.instanceOf(XenError)
        .with.property('code', 'EINVAL');
      expect(await outcome(domctl.pause(machine.dom0.domid)))
        .to.be.instanceOf(XenError)
        .with.property('code', 'EINVAL');
    });
  });

  describe('whose domain shuts down', () => {
    for (const reason of shutdownReasons.filter((one) => one !== 'suspend')) {
      it(`tells ${reason}, and is not entered any more`, async () => {
        const { a, toA } = await listening();
        const told: ShutdownReason[] = [];
        machine.shutdowns$.subscribe((shutdown) => told.push(shutdown.reason));
        void a.get(Sched).shutdown(reason as Exclude<ShutdownReason, 'suspend'>);
        toA.notify();
        await machine.idle();
        expect([told, trace]).to.deep.equal([[reason], []]);
        const last = machine.lastShutdown(a.domid);
        expect(last?.reason).to.equal(reason);
        expect(last?.error === undefined).to.equal(reason !== 'crash');
      });
    }

    it('from afar, with the code that it has set itself', async () => {
      await make();
      const a = await guest('a');
      a.get(Sched).shutdownCode('soft_reset');
      await machine.dom0.get(Domctl).shutdown(a.domid, 'poweroff');
      expect((await machine.shutdownOf(a.domid)).reason).to.equal('soft_reset');
    });

    it('by its watchdog, which it has not set anew in time', async () => {
      await make();
      const a = await guest('a');
      const id = a.get(Sched).watchdog(0, 10);
      await sleep(9000);
      expect(a.get(Sched).watchdog(id, 10)).to.equal(0);
      await sleep(9000);
      expect(machine.lastShutdown(a.domid)).to.equal(undefined);
      const { reason } = await machine.shutdownOf(a.domid);
      expect([reason, now()]).to.deep.equal(['watchdog', 19_000]);
    });

    it('to be suspended: its suspension is cancelled, and its ports and grants are as they were', async () => {
      await make();
      const [a, sender] = [await guest('a'), await guest('sender')];
      const [toA, atA] = await channel(sender, a);
      const grants = a.get(GrantTable);
      const page = grants.share(sender.domid);
      atA.subscribe(note('upcall'));
      await machine.idle();
      trace.length = 0;
      const before = machine.hypervisor.ledger(a.domid);
      const suspended = a
        .get(Sched)
        .suspend()
        .then((how) => note(how)());
      expect((await machine.shutdownOf(a.domid)).reason).to.equal('suspend');
      toA.notify();
      await sleep(30);
      expect(trace).to.deep.equal([]);
      await machine.dom0.get(Domctl).resume(a.domid);
      await suspended;
      expect(trace).to.deep.equal(['upcall at 30', 'cancelled at 30']);
      expect(machine.lastShutdown(a.domid)).to.equal(undefined);
      expect(machine.hypervisor.ledger(a.domid)).to.deep.equal(before);
      toA.notify();
      await machine.idle();
      expect(trace).to.have.length(3);
      page[Symbol.dispose]();
    });
  });

  describe('with a seed', () => {
    const run = async (seed: number): Promise<string> => {
      await make({ seed, slice: 3, cpus: 2 });
      trace = [];
      const picks: string[] = [];
      machine.onPick((name) => picks.push(name));
      const all = await Promise.all(['a', 'b', 'c'].map((name) => guest(name, 2)));
      const busy = all.flatMap((each) => {
        vcpu(each, 1).up();
        return [0, 1].map((id) =>
          vcpu(each, id)
            .spend(10 + id)
            .then(note(`${each.name}${id}`)),
        );
      });
      for (const each of all)
        vcpu(each)
          .virtualTimer$(7)
          .subscribe(note(`virtual ${each.name}`));
      await Promise.all(busy);
      await machine[Symbol.asyncDispose]();
      return JSON.stringify([trace, picks]);
    };

    it('repeat who runs when, and when each has spent its time', async () => {
      for (const seed of [1, 2, 3]) expect(await run(seed)).to.equal(await run(seed));
    });

    it('run in another order with another', async () => {
      expect(await run(1)).not.to.equal(await run(2));
    });
  });

  it('have the wall clock and system time from their pages', async () => {
    await make();
    const vcpus = (await guest('one')).get(Vcpus);
    await sleep(1500);
    expect([vcpus.current.systemTime(), vcpus.wallclock()]).to.deep.equal([1500 * MS, 1500]);
  });

  describe('whose code does not yield', () => {
    const spin = (ms: number): void => {
      for (const end = performance.now() + ms; performance.now() < end; );
    };

    it('are named in the log with the duration, when their callback has returned', async () => {
      await make({ runaway: 100 });
      const log: string[] = [];
      machine.log$.subscribe(({ domain, source, text }) => log.push(`${domain} ${source} ${text}`));
      const [a, smp] = [await guest('a'), await guest('smp', 2)];
      vcpu(smp, 1).up();
      await vcpu(a).run(() => spin(120));
      await vcpu(smp, 1).run(() => spin(120));
      a.get(Clock)
        .timer$(1)
        .subscribe(() => spin(120));
      await sleep(5);
      await machine.idle();
      const named = (pattern: RegExp): number => log.filter((line) => pattern.test(line)).length;
      expect(
        named(/^a scheduler a did not yield for 1[2-9]\d ms$|^a scheduler a did not yield for [2-9]\d\d ms$/),
      ).to.be.least(2);
      expect(named(/^smp scheduler smp v1 did not yield for \d+ ms$/)).to.be.least(1);
    });
  });
});
