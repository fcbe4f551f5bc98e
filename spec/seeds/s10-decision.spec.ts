import { expect } from 'chai';
import { type Domain, Domctl, EventChannels, Vcpus } from 'splitring';
import { LocalMachine } from 'splitring/platform/local';
import { connect, onEachPlatform, upcallsOf } from './on-each-platform.js';

onEachPlatform('S10, decision', (scene) => {
  it('is the hypervisor’s whether a handler is called: not while the guest has masked upcalls', async () => {
    const { machine, back } = scene();
    const { near, far } = await connect(scene());
    const upcalls = upcallsOf(far);
    const vcpu = back.get(Vcpus).current;
    vcpu.upcallMask = true;
    near.notify();
    await machine.idle();
    expect(upcalls.count).to.equal(0);
    vcpu.upcallMask = false;
    await machine.idle();
    expect(upcalls.count).to.equal(1);
  });

  it('nor that of a channel that nobody listens to, while others of the domain’s are called', async () => {
    const { machine } = scene();
    const [quiet, loud] = [await connect(scene()), await connect(scene())];
    const counts = [upcallsOf(quiet.far), upcallsOf(loud.far)];
    quiet.far[Symbol.dispose]();
    quiet.near.notify();
    loud.near.notify();
    await machine.idle();
    expect(counts.map(({ count }) => count)).to.deep.equal([0, 1]);
  });

  it('which: that of the vCPU’s pending ports, each in its turn, not the one whose sender is quickest', async () => {
    const { machine, back } = scene();
    const channels = [await connect(scene()), await connect(scene()), await connect(scene())];
    const called: number[] = [];
    for (const { far } of channels) far.subscribe(() => called.push(far.port));
    const domctl = machine.dom0.get(Domctl);
    await domctl.pause(back.domid);
    for (const { near } of [...channels].reverse()) for (let i = 0; i < 3; i++) near.notify();
    await domctl.unpause(back.domid);
    await machine.idle();
    expect(called).to.have.members(channels.map(({ far }) => far.port));
  });

  it('when: never before the scheduler lets the domain run, whoever else runs meanwhile', async () => {
    const { machine, front, back } = scene();
    const { near, far } = await connect(scene());
    const order: string[] = [];
    far.subscribe(() => order.push('back'));
    const own = front.get(EventChannels).bindIpi(0);
    own.subscribe(() => order.push('front'));
    const domctl = machine.dom0.get(Domctl);
    await domctl.pause(back.domid);
    near.notify();
    own.notify();
    await machine.idle();
    order.push('unpause');
    await domctl.unpause(back.domid);
    await machine.idle();
    expect(order).to.deep.equal(['front', 'unpause', 'back']);
  });
});

describe('S10, decision, where a seed makes it', () => {
  /** In what order four domains are called that have all got an event at once. */
  const orderOf = async (seed: number): Promise<string> => {
    await using machine = await LocalMachine.create({ seed, clock: 'simulated', memory: 16 << 20 });
    const order: string[] = [];
    const domains: Domain[] = [];
    for (const name of ['a', 'b', 'c', 'd']) domains.push(await machine.guest(name));
    await machine.idle();
    for (const domain of domains) {
      const channel = domain.get(EventChannels).bindIpi(0);
      channel.subscribe(() => order.push(domain.name));
      channel.notify();
    }
    await machine.idle();
    return order.join('');
  };

  it('is the scheduler’s alone: the same seed decides the same, and not every seed does', async () => {
    const orders = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(orderOf));
    expect(await orderOf(1)).to.equal(orders[0]);
    expect(new Set(orders).size).to.be.greaterThan(1);
    for (const order of orders) expect([...order].sort().join('')).to.equal('abcd');
  });
});
