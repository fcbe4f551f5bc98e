import { expect } from 'chai';
import { BehaviorSubject, Subject } from 'rxjs';
import { Domctl, EventChannels, HostInterrupt, Physdev, type Pirq } from 'splitring';
import { connect, onEachPlatform, refusal, type Scene, upcallsOf } from './on-each-platform.js';

const DISK = 9;

/** Gives the domain with the back end the interrupt of the host's disk. */
const giveDisk = ({ machine, back }: Scene): Pirq =>
  machine.dom0.get(Physdev).mapPirq(back.domid, { type: 'gsi', index: DISK });

onEachPlatform('S6, physical IRQs', (scene) => {
  it('brings a device’s interrupt to the domain with the back end, whichever domain runs when it comes', async () => {
    const { machine, front, back } = scene();
    const disk = new Subject<void>();
    machine.attach([HostInterrupt.edge(DISK, disk)]);
    const upcalls = upcallsOf(back.get(EventChannels).bindPirq(giveDisk(scene())));
    const { near, far } = await connect(scene());
    far.subscribe(() => {});
    // The interrupt comes while the front end runs: in a handler of its.
    const own = front.get(EventChannels).bindIpi(0);
    own.subscribe(() => {
      disk.next();
      expect(upcalls.count, 'nothing is taken from who runs').to.equal(0);
      near.notify();
    });
    own.notify();
    await machine.idle();
    expect(upcalls.count).to.equal(1);
  });

  it('queues it, as one pending bit, for a domain that does not run, and delivers it when that runs', async () => {
    const { machine, back } = scene();
    const disk = new Subject<void>();
    machine.attach([HostInterrupt.edge(DISK, disk)]);
    const upcalls = upcallsOf(back.get(EventChannels).bindPirq(giveDisk(scene())));
    const domctl = machine.dom0.get(Domctl);
    await domctl.pause(back.domid);
    for (let i = 0; i < 3; i++) disk.next();
    await machine.idle();
    expect(upcalls.count).to.equal(0);
    await domctl.unpause(back.domid);
    await machine.idle();
    expect(upcalls.count).to.equal(1);
  });

  it('gives it to no domain that the interrupt was not given to', () => {
    const { front, third } = scene();
    const pirq = giveDisk(scene());
    for (const other of [front, third]) {
      expect(refusal(() => other.get(EventChannels).bindPirq(pirq))).to.equal('EPERM');
      const take = (): Pirq => other.get(Physdev).mapPirq(other.domid, { type: 'gsi', index: DISK });
      expect(refusal(take), 'nor can it take it').to.equal('EPERM');
    }
  });

  it('keeps nothing of an interrupt that no channel is bound to', async () => {
    const { machine, back } = scene();
    const disk = new Subject<void>();
    machine.attach([HostInterrupt.edge(DISK, disk)]);
    const pirq = giveDisk(scene());
    disk.next();
    const upcalls = upcallsOf(back.get(EventChannels).bindPirq(pirq));
    await machine.idle();
    expect(upcalls.count).to.equal(0);
  });

  it('holds a line that is triggered by its level until the domain says that it is done (EOI)', async () => {
    const { machine, back } = scene();
    const line = new BehaviorSubject(false);
    machine.attach([HostInterrupt.level(DISK, line)]);
    const pirq = giveDisk(scene());
    const physdev = back.get(Physdev);
    const upcalls = upcallsOf(back.get(EventChannels).bindPirq(pirq));
    line.next(true);
    await machine.idle();
    expect(upcalls.count).to.equal(1);
    line.next(false);
    line.next(true);
    await machine.idle();
    expect(upcalls.count, 'the line is up again, but held').to.equal(1);
    physdev.eoi(pirq);
    await machine.idle();
    expect(upcalls.count, 'the device still asks').to.equal(2);
    line.next(false);
    physdev.eoi(pirq);
    await machine.idle();
    expect(upcalls.count).to.equal(2);
  });
});
