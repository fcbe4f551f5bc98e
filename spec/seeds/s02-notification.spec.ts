import { expect } from 'chai';
import { EventChannels, GrantTable } from 'splitring';
import { connect, onEachPlatform, upcallsOf } from './on-each-platform.js';

onEachPlatform('S2, notification of the other half', (scene) => {
  it('lets a frontend send an event where a native driver would write a control register', async () => {
    // The device: a page for its "registers", and a backend that squares what stands in the first when it is told to look.
    const { machine, front, back } = scene();
    using registers = front.get(GrantTable).share(back.domid);
    using mapped = back.get(GrantTable).map(front.domid, [registers.ref]);
    const { near, far } = await connect(scene());
    far.subscribe(() => {
      mapped.words[1] = (mapped.words[0] ?? 0) ** 2;
      far.notify();
    });
    const answers: (number | undefined)[] = [];
    near.subscribe(() => answers.push(registers.words[1]));

    registers.words[0] = 12;
    await machine.idle();
    expect(answers, 'what is written into memory tells nobody').to.deep.equal([]);
    near.notify();
    await machine.idle();
    expect(answers).to.deep.equal([144]);
  });

  it('says only that there is something to look at: many events before the look are one', async () => {
    const { near, far } = await connect(scene());
    const upcalls = upcallsOf(far);
    for (let i = 0; i < 10; i++) near.notify();
    await scene().machine.idle();
    expect(upcalls.count).to.equal(1);
  });

  it('returns before the other half has run', async () => {
    const { near, far } = await connect(scene());
    const upcalls = upcallsOf(far);
    near.notify();
    expect(upcalls.count).to.equal(0);
    await scene().machine.idle();
    expect(upcalls.count).to.equal(1);
  });

  it('reaches nobody while no other half is bound, and is lost', async () => {
    const { machine, front, back } = scene();
    const near = front.get(EventChannels).allocUnbound(back.domid);
    near.notify();
    const far = back.get(EventChannels).bindInterdomain(front.domid, near.port);
    const upcalls = upcallsOf(far);
    await machine.idle();
    expect(upcalls.count, 'the one event with which binding begins').to.equal(1);
  });
});
