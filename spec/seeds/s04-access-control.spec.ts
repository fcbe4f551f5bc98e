import { expect } from 'chai';
import { asDomid, asPort, EventChannels } from 'splitring';
import { connect, onEachPlatform, refusal, upcallsOf } from './on-each-platform.js';

onEachPlatform('S4, access control', (scene) => {
  it('lets only the domain that the allocation names bind the other end', async () => {
    const { front, back, third } = scene();
    const near = front.get(EventChannels).allocUnbound(back.domid);
    const bindAs =
      (domain: typeof back): (() => unknown) =>
      () =>
        domain.get(EventChannels).bindInterdomain(front.domid, near.port);
    expect(refusal(bindAs(third))).to.equal('EINVAL');
    expect(refusal(bindAs(front)), 'not even who allocated it').to.equal('EINVAL');
    expect(refusal(bindAs(back))).to.equal(undefined);
    expect(refusal(bindAs(back)), 'nor twice').to.equal('EINVAL');
  });

  it('tells a stranger no more of a port than of one that is not there', async () => {
    const { front, back, third } = scene();
    const near = front.get(EventChannels).allocUnbound(back.domid);
    const channels = third.get(EventChannels);
    const errorOf = (port: number): string | undefined =>
      refusal(() => channels.bindInterdomain(front.domid, asPort(port)));
    expect([near.port, near.port + 1, 4000].map(errorOf)).to.deep.equal(['EINVAL', 'EINVAL', 'EINVAL']);
    expect(refusal(() => channels.bindInterdomain(asDomid(1234), near.port))).to.equal('ESRCH');
  });

  it('connects only who binds explicitly: before, neither end can raise anything', async () => {
    const { machine, front, back } = scene();
    const near = front.get(EventChannels).allocUnbound(back.domid);
    const here = upcallsOf(near);
    near.notify();
    await machine.idle();
    expect(here.count).to.equal(0);
    expect(back.get(EventChannels).status(asPort(2)).status, 'the peer has nothing yet that it could send on').to.equal(
      'closed',
    );
  });

  it('lets nobody but its two ends raise an event on a channel', async () => {
    const { machine, third } = scene();
    const { near, far } = await connect(scene());
    const counts = [upcallsOf(near), upcallsOf(far)];
    // Ports are a domain's own: the same number is another port there, or none.
    const channels = third.get(EventChannels);
    using own = channels.allocUnbound(third.domid);
    own.notify();
    await machine.idle();
    expect(counts.map(({ count }) => count)).to.deep.equal([0, 0]);
    near.notify();
    far.notify();
    await machine.idle();
    expect(counts.map(({ count }) => count)).to.deep.equal([1, 1]);
  });

  it('changes nothing when it refuses', async () => {
    const { front, back, third } = scene();
    const near = front.get(EventChannels).allocUnbound(back.domid);
    const before = await scene().machine.debugKey('e');
    refusal(() => third.get(EventChannels).bindInterdomain(front.domid, near.port));
    expect(await scene().machine.debugKey('e')).to.equal(before);
  });
});
