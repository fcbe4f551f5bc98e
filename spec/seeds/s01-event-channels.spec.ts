import { expect } from 'chai';
import { map, merge, take } from 'rxjs';
import { Domctl } from 'splitring';
import { connect, onEachPlatform, upcallsOf } from './on-each-platform.js';

onEachPlatform('S1, event channels', (scene) => {
  it('are asynchronous: the sender goes on, and the receiver finds out when it runs', async () => {
    const { near, far } = await connect(scene());
    const upcalls = upcallsOf(far);
    near.notify();
    expect(upcalls.count).to.equal(0);
    await scene().machine.idle();
    expect(upcalls.count).to.equal(1);
  });

  it('keep an event for a guest that does not run, until it does', async () => {
    const { machine, front, back } = scene();
    const { near, far } = await connect(scene());
    const [here, there] = [upcallsOf(near), upcallsOf(far)];
    const domctl = machine.dom0.get(Domctl);
    await domctl.pause(back.domid);
    near.notify();
    near.notify();
    await machine.idle();
    expect(there.count).to.equal(0);
    expect(here.count, 'and nobody who runs gets it instead').to.equal(0);
    expect(await machine.debugKey('e')).to.match(
      new RegExp(` {4} *${far.port} \\[1/0/1\\]: s=3 n=0 x=0 d=${front.domid} p=${near.port} {2}back -> front`),
    );
    await domctl.unpause(back.domid);
    await machine.idle();
    expect(there.count, 'as one, however many there were').to.equal(1);
  });

  it('keep it for a guest that does not want to hear of it now, and bring it when it does', async () => {
    const { machine } = scene();
    const { near, far } = await connect(scene());
    near.notify();
    await machine.idle();
    // Nobody listens, so the port is masked; listening unmasks it.
    const upcalls = upcallsOf(far);
    await machine.idle();
    expect(upcalls.count).to.equal(1);
  });

  it('can be composed as Observables', async () => {
    const { machine } = scene();
    const [first, second] = [await connect(scene()), await connect(scene())];
    const came: string[] = [];
    const listening = merge(
      first.far.pipe(map(() => 'first')),
      second.far.pipe(
        take(1),
        map(() => 'second, once'),
      ),
    ).subscribe((what) => came.push(what));
    second.near.notify();
    await machine.idle();
    first.near.notify();
    second.near.notify();
    await machine.idle();
    expect(came).to.deep.equal(['second, once', 'first']);
    listening.unsubscribe();
    first.near.notify();
    await machine.idle();
    expect(came).to.have.length(2);
  });
});
