import { expect } from 'chai';
import { EventChannels } from 'splitring';
import { connect, onEachPlatform, upcallsOf } from './on-each-platform.js';

onEachPlatform('S3, connection', (scene) => {
  it('carries events both ways over one channel, unlike an interrupt', async () => {
    const { near, far } = await connect(scene());
    const rally: string[] = [];
    far.subscribe(() => {
      rally.push('far');
      far.notify();
    });
    near.subscribe(() => {
      rally.push('near');
      if (rally.length < 6) near.notify();
    });
    near.notify();
    await scene().machine.idle();
    expect(rally).to.deep.equal(['far', 'near', 'far', 'near', 'far', 'near']);
  });

  it('connects two ends, each with a port of its own domain’s', async () => {
    const { near, far } = await connect(scene());
    const { front, back } = scene();
    expect(front.get(EventChannels).status(near.port)).to.deep.include({
      status: 'interdomain',
      dom: back.domid,
      port: far.port,
    });
    expect(back.get(EventChannels).status(far.port)).to.deep.include({
      status: 'interdomain',
      dom: front.domid,
      port: near.port,
    });
  });

  it('raises the event at the other end, never at the sender’s', async () => {
    const { near, far } = await connect(scene());
    const [here, there] = [upcallsOf(near), upcallsOf(far)];
    near.notify();
    await scene().machine.idle();
    expect([here.count, there.count]).to.deep.equal([0, 1]);
  });

  it('falls back to waiting when one end closes, without a word, and can be made anew by the same domain', async () => {
    const { machine, front, back } = scene();
    const { near, far } = await connect(scene());
    const upcalls = upcallsOf(near);
    far[Symbol.dispose]();
    await machine.idle();
    expect(upcalls.count, 'closing tells the other end nothing').to.equal(0);
    near.notify();
    using again = back.get(EventChannels).bindInterdomain(front.domid, near.port);
    again.notify();
    await machine.idle();
    expect(upcalls.count).to.equal(1);
  });

  it('can lead from a domain to itself', async () => {
    const { machine, front } = scene();
    const channels = front.get(EventChannels);
    const near = channels.allocUnbound(front.domid);
    const far = channels.bindInterdomain(front.domid, near.port);
    const [here, there] = [upcallsOf(near), upcallsOf(far)];
    await machine.idle();
    near.notify();
    await machine.idle();
    far.notify();
    await machine.idle();
    expect([here.count, there.count]).to.deep.equal([1, 2]);
  });
});
