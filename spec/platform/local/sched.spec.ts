import { expect } from 'chai';
import {
  Clock,
  Domctl,
  EventChannels,
  GrantTable,
  type Port,
  Sched,
  type ShutdownReason,
  shutdownReasons,
  XenError,
} from '../../../core/index.js';
import { vcpuScene } from './vcpu-scene.js';

const MS = 1_000_000;
const outcome = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);

describe('the vCPUs of a local machine', () => {
  const scene = vcpuScene();
  const { make, guest, vcpu, now, note, sleep, channel, listening } = scene;

  describe('with the scheduling operations', () => {
    it('block until an event has come, and resume after its upcall', async () => {
      const { a, toA } = await listening();
      vcpu(a).upcallMask = true;
      const done = a.get(Sched).block().then(note('resumed'));
      expect(vcpu(a).upcallMask).to.equal(false);
      await sleep(5);
      expect(scene.trace).to.deep.equal([]);
      toA.notify();
      await done;
      expect(scene.trace).to.deep.equal(['upcall at 5', 'resumed at 5']);
    });

    it('do not sleep over an event that came before they block', async () => {
      const { a, toA } = await listening();
      vcpu(a).upcallMask = true;
      toA.notify();
      await scene.machine.idle();
      expect(scene.trace).to.deep.equal([]);
      await a.get(Sched).block().then(note('resumed'));
      expect(scene.trace).to.deep.equal(['upcall at 0', 'resumed at 0']);
    });

    it('keep events while upcalls are masked, and get them all when they are not', async () => {
      const { a, toA } = await listening();
      vcpu(a).upcallMask = true;
      toA.notify();
      toA.notify();
      await sleep(5);
      expect(scene.trace).to.deep.equal([]);
      vcpu(a).upcallMask = false;
      await scene.machine.idle();
      expect(scene.trace).to.deep.equal(['upcall at 5']);
    });

    it('poll a masked port: the event ends it, and is pending still', async () => {
      await make();
      const [a, sender] = [await guest('a'), await guest('sender')];
      const [toA, atA] = await channel(sender, a);
      // The binder's unconditional first event was at the sender's end.
      const polled = a.get(Sched).poll([atA.port]).then(note('polled'));
      await sleep(4);
      expect(scene.trace).to.deep.equal([]);
      toA.notify();
      await polled;
      await a.get(Sched).poll([atA.port]);
      expect(scene.trace).to.deep.equal(['polled at 4']);
      atA.subscribe(note('upcall'));
      await scene.machine.idle();
      expect(scene.trace).to.deep.equal(['polled at 4', 'upcall at 4']);
    });

    it('poll for two parts of the guest at a time: each event, masked, ends what waits, and no part is forgotten', async () => {
      await make();
      const [a, sender] = [await guest('a'), await guest('sender')];
      const [toOne, one] = await channel(sender, a);
      const [toTwo, two] = await channel(sender, a);
      const { sharedInfo, memory } = scene.machine.hypervisor;
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
      expect(scene.trace).to.deep.equal(['one at 2', 'two at 4']);
    });

    it('poll a port that is pending while another part of the guest waits, which goes on waiting', async () => {
      await make();
      const [a, sender] = [await guest('a'), await guest('sender')];
      const [toOne, one] = await channel(sender, a);
      const [toTwo, two] = await channel(sender, a);
      one.subscribe(note('upcall'));
      await scene.machine.idle();
      scene.trace.length = 0;
      void a.get(Sched).block().then(note('resumed'));
      toTwo.notify();
      await scene.machine.idle();
      await a.get(Sched).poll([two.port], 50 * MS);
      toOne.notify();
      await sleep(1);
      expect(scene.trace.filter((what) => what.startsWith('resumed'))).to.have.length(1);
    });

    it('poll until an absolute time, the first of two', async () => {
      await make();
      const a = await guest('a');
      const sched = a.get(Sched);
      await Promise.all([sched.poll([]).then(note('ever')), sched.poll([], 7 * MS), sched.poll([], 9 * MS)]);
      expect(scene.trace).to.deep.equal(['ever at 7']);
    });

    it('poll until an absolute time', async () => {
      await make();
      const a = await guest('a');
      const port = a.get(EventChannels).allocUnbound(scene.machine.dom0.domid);
      await a.get(Sched).poll([port.port], 7 * MS);
      expect(now()).to.equal(7);
      await a.get(Sched).poll([], 3 * MS);
      expect(now()).to.equal(7);
    });

    it('refuse a poll of a free port, and name it: EINVAL', async () => {
      await make();
      const a = await guest('a');
      const port = a.get(EventChannels).allocUnbound(scene.machine.dom0.domid);
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
      await scene.machine.idle();
      scene.trace.length = 0;
      await scene.machine.dom0.get(Domctl).pause(a.domid);
      toA.notify();
      toA.notify();
      await sleep(50);
      expect(scene.trace).to.deep.equal([]);
      await scene.machine.toolstack.unpause(a.domid);
      await scene.machine.idle();
      expect(scene.trace.sort()).to.deep.equal(['VIRQ_TIMER at 50', 'clock at 50', 'upcall at 50']);
    });

    it('count their pauses, and say so when there is none to take back: EINVAL', async () => {
      await make();
      const a = await guest('a');
      const domctl = scene.machine.dom0.get(Domctl);
      await domctl.pause(a.domid);
      await domctl.pause(a.domid);
      const ran = vcpu(a).run(note('ran'));
      await domctl.unpause(a.domid);
      await scene.machine.idle();
      expect(scene.trace).to.deep.equal([]);
      await domctl.unpause(a.domid);
      await ran;
      expect(await outcome(domctl.unpause(a.domid)))
        .to.be.instanceOf(XenError)
        .with.property('code', 'EINVAL');
      expect(await outcome(domctl.pause(scene.machine.dom0.domid)))
        .to.be.instanceOf(XenError)
        .with.property('code', 'EINVAL');
    });
  });

  describe('whose domain shuts down', () => {
    for (const reason of shutdownReasons.filter((one) => one !== 'suspend')) {
      it(`tells ${reason}, and is not entered any more`, async () => {
        const { a, toA } = await listening();
        const told: ShutdownReason[] = [];
        scene.machine.shutdowns$.subscribe((shutdown) => told.push(shutdown.reason));
        void a.get(Sched).shutdown(reason as Exclude<ShutdownReason, 'suspend'>);
        toA.notify();
        await scene.machine.idle();
        expect([told, scene.trace]).to.deep.equal([[reason], []]);
        const last = scene.machine.lastShutdown(a.domid);
        expect(last?.reason).to.equal(reason);
        expect(last?.error === undefined).to.equal(reason !== 'crash');
      });
    }

    it('from afar, with the code that it has set itself', async () => {
      await make();
      const a = await guest('a');
      a.get(Sched).shutdownCode('soft_reset');
      await scene.machine.dom0.get(Domctl).shutdown(a.domid, 'poweroff');
      expect((await scene.machine.shutdownOf(a.domid)).reason).to.equal('soft_reset');
    });

    it('by its watchdog, which it has not set anew in time', async () => {
      await make();
      const a = await guest('a');
      const id = a.get(Sched).watchdog(0, 10);
      await sleep(9000);
      expect(a.get(Sched).watchdog(id, 10)).to.equal(0);
      await sleep(9000);
      expect(scene.machine.lastShutdown(a.domid)).to.equal(undefined);
      const { reason } = await scene.machine.shutdownOf(a.domid);
      expect([reason, now()]).to.deep.equal(['watchdog', 19_000]);
    });

    it('to be suspended: its suspension is cancelled, and its ports and grants are as they were', async () => {
      await make();
      const [a, sender] = [await guest('a'), await guest('sender')];
      const [toA, atA] = await channel(sender, a);
      const grants = a.get(GrantTable);
      const page = grants.share(sender.domid);
      atA.subscribe(note('upcall'));
      await scene.machine.idle();
      scene.trace.length = 0;
      const before = scene.machine.hypervisor.ledger(a.domid);
      const suspended = a
        .get(Sched)
        .suspend()
        .then((how) => note(how)());
      expect((await scene.machine.shutdownOf(a.domid)).reason).to.equal('suspend');
      toA.notify();
      await sleep(30);
      expect(scene.trace).to.deep.equal([]);
      await scene.machine.dom0.get(Domctl).resume(a.domid);
      await suspended;
      expect(scene.trace).to.deep.equal(['upcall at 30', 'cancelled at 30']);
      expect(scene.machine.lastShutdown(a.domid)).to.equal(undefined);
      expect(scene.machine.hypervisor.ledger(a.domid)).to.deep.equal(before);
      toA.notify();
      await scene.machine.idle();
      expect(scene.trace).to.have.length(3);
      page[Symbol.dispose]();
    });
  });
});
