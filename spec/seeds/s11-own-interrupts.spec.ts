import { expect } from 'chai';
import { defer, firstValueFrom, map, merge, repeat, Subject, scan, take, takeWhile, toArray } from 'rxjs';
import { EventChannels, HostInterrupt, Physdev, Vcpus } from 'splitring';
import { connect, onEachPlatform } from './on-each-platform.js';

const MS = 1e6;
const NIC = 17;

onEachPlatform('S11, the guest’s own interrupts', (scene) => {
  it('are regular timer events, which a handler takes as it would those of a timer of its own', async () => {
    const vcpu = scene().front.get(Vcpus).current;
    const ticks$ = defer(() => vcpu.singleshot$(vcpu.systemTime() + 2 * MS)).pipe(
      repeat(),
      scan((count) => count + 1, 0),
      take(5),
    );
    expect(await firstValueFrom(ticks$.pipe(toArray()))).to.deep.equal([1, 2, 3, 4, 5]);
  });

  it('and device events, of a device that it was given', async () => {
    const { machine, front } = scene();
    const nic = new Subject<void>();
    machine.attach([HostInterrupt.edge(NIC, nic)]);
    const pirq = machine.dom0.get(Physdev).mapPirq(front.domid, { type: 'gsi', index: NIC });
    const received = firstValueFrom(
      front
        .get(EventChannels)
        .bindPirq(pirq)
        .pipe(map(() => 'a packet')),
    );
    nic.next();
    expect(await received).to.equal('a packet');
  });

  it('and of one whose back end is another domain’s: it cannot tell the difference', async () => {
    const { machine, front } = scene();
    const nic = new Subject<void>();
    machine.attach([HostInterrupt.edge(NIC, nic)]);
    const pirq = machine.dom0.get(Physdev).mapPirq(front.domid, { type: 'gsi', index: NIC });
    const { near, far } = await connect(scene());
    // One handler for both, as a kernel's for all of its interrupts.
    const handled: string[] = [];
    const handle = (what: string): void => void handled.push(what);
    front
      .get(EventChannels)
      .bindPirq(pirq)
      .subscribe(() => handle('physical'));
    near.subscribe(() => handle('virtual'));
    far.notify();
    nic.next();
    await machine.idle();
    expect(handled).to.have.members(['physical', 'virtual']);
  });

  it('come one after another on a vCPU, each handler to its end', async () => {
    const { machine, front } = scene();
    const channels = [0, 1, 2].map(() => front.get(EventChannels).bindIpi(0));
    let inside = 0;
    const most: number[] = [];
    for (const channel of channels) {
      channel.subscribe(() => {
        inside++;
        for (const other of channels) if (most.length < 12) other.notify();
        most.push(inside);
        inside--;
      });
    }
    for (const channel of channels) channel.notify();
    await machine.idle();
    expect(most.length).to.be.at.least(12);
    expect(Math.max(...most)).to.equal(1);
  });

  it('can be masked and unmasked in their handlers, as native ones: by who listens', async () => {
    const { machine } = scene();
    const { near, far } = await connect(scene());
    let count = 0;
    const done = firstValueFrom(
      merge(far).pipe(
        map(() => ++count),
        takeWhile((n) => n < 2),
        toArray(),
      ),
    );
    near.notify();
    await machine.idle();
    near.notify();
    expect(await done).to.deep.equal([1]);
    near.notify();
    await machine.idle();
    expect(count, 'nobody listens any more').to.equal(2);
  });
});
