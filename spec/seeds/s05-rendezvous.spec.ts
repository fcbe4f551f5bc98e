import { expect } from 'chai';
import { filter, firstValueFrom, map, switchMap } from 'rxjs';
import { asPort, connection, EventChannels, XenStore } from 'splitring';
import { RngFrontend } from '../../examples/rng/frontend.js';
import { onEachPlatform, refusal } from './on-each-platform.js';

const rngBackend = import.meta.resolve('../../examples/rng/backend.js');

onEachPlatform('S5, rendezvous', (scene) => {
  it('brings a channel’s number to the other domain through the store, and only then can it bind', async () => {
    const { machine, front, back } = scene();
    const path = `/local/domain/${front.domid}/data/event-channel`;
    const there = back.get(XenStore);
    const bound = firstValueFrom(
      there.watch$(path).pipe(
        switchMap(() => there.read(path).catch(() => undefined)),
        filter((text) => text !== undefined),
        map((text) => back.get(EventChannels).bindInterdomain(front.domid, asPort(Number(text)))),
      ),
    );
    await machine.idle();

    const near = front.get(EventChannels).allocUnbound(back.domid);
    const store = front.get(XenStore);
    await store.write('data/event-channel', String(near.port));
    await store.setPermissions('data/event-channel', [
      { domid: front.domid, access: 'n' },
      { domid: back.domid, access: 'r' },
    ]);

    const far = await bound;
    const event = firstValueFrom(near.pipe(map(() => 'came')));
    far.notify();
    expect(await event).to.equal('came');
  });

  it('is what both halves of a driver do: the frontend writes event-channel, the backend binds what it reads there', async () => {
    const { machine, front } = scene();
    const backend = await machine.boot({ name: 'rng', module: rngBackend });
    await machine.toolstack.attach({ device: 'vrng', id: 0, frontend: front.domid, backend });
    const rng = await connection(front, RngFrontend);
    const port = Number(await front.get(XenStore).read('device/vrng/0/event-channel'));
    expect(front.get(EventChannels).status(asPort(port))).to.deep.include({ status: 'interdomain', dom: backend });
    expect(await rng.read(16)).to.have.length(16);
  });

  it('is no secret that lets in: who reads the number binds nothing unless the allocation named it', async () => {
    const { front, back, third } = scene();
    const near = front.get(EventChannels).allocUnbound(back.domid);
    expect(refusal(() => third.get(EventChannels).bindInterdomain(front.domid, near.port))).to.equal('EINVAL');
  });
});
