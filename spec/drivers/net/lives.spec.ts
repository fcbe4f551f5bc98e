import { expect } from 'chai';
import { firstValueFrom, lastValueFrom, mergeMap, ReplaySubject, take, toArray } from 'rxjs';
import { type Domid, devices$, XenStore } from '../../../core/index.js';
import { NetFrontend } from '../../../drivers/net/frontend.js';
import type { Nic } from '../../../drivers/net/nic.js';
import { vifKeys } from '../../../drivers/net/vif-keys.js';
import { frameOf } from './frames.js';
import { onLans, type Station } from './lan.js';

const mac = '00:16:3e:00:00:99';

onLans('the lives of a vif', ({ backend, station, rig }) => {
  const attach = (domid: Domid) => ({
    device: 'vif',
    id: 0,
    frontend: rig().guest.domid,
    backend: domid,
    keys: vifKeys({ mac }),
  });
  /** Each connection of the guest's interfaces, one after the other. */
  const connections = (): ReplaySubject<Nic> => {
    const nics$ = new ReplaySubject<Nic>();
    const { guest } = rig();
    const found$ = devices$(guest, NetFrontend).pipe(mergeMap((device) => device.connections$));
    guest.subscription.add(found$.subscribe(nics$));
    return nics$;
  };
  const nth = async (nics$: ReplaySubject<Nic>, n: number): Promise<Nic> =>
    (await firstValueFrom(nics$.pipe(take(n), toArray()))).at(-1) ?? expect.fail('there is no such connection');
  const expectTalk = async (nic: Nic, other: Station): Promise<void> => {
    const before = other.received.length;
    const hello = frameOf({ to: other.mac, from: nic.mac, length: 60, fill: before + 1 });
    nic.send(hello);
    await other.came(before + 1);
    expect(other.received.at(-1)).to.deep.equal(hello);
    const came = firstValueFrom(nic.frames$);
    other.nic.send(frameOf({ to: nic.mac, from: other.mac, length: 60, fill: 1 }));
    await came;
  };

  it('end with its backend’s domain: what its guest listens to completes; the next backend is another connection', async () => {
    const { machine, guest } = rig();
    const first = await machine.boot({ name: 'first', module: import.meta.resolve('./lan.module.js') });
    const nics$ = connections();
    await machine.toolstack.attach(attach(first));
    const nic = await nth(nics$, 1);
    const seen = await station(first);
    await expectTalk(nic, seen);
    const ends = [
      lastValueFrom(nic.frames$, { defaultValue: undefined }),
      lastValueFrom(nic.carrier$, { defaultValue: undefined }),
    ];
    await machine.toolstack.destroy(first);
    await machine.toolstack.detach({ device: 'vif', id: 0, frontend: guest.domid });
    await Promise.all(ends);
    expect(() => nic.send(frameOf({ to: seen.mac, from: nic.mac, length: 60, fill: 1 }))).to.throw(
      /its backend has gone/,
    );
    await machine.toolstack.destroy(seen.guest.domid);
    const second = await backend();
    await machine.toolstack.attach(attach(second));
    const again = await nth(nics$, 2);
    expect(again).not.to.equal(nic);
    const other = await station(second);
    await expectTalk(again, other);
    await again.close();
    await other.nic.close();
  });

  it('begin again as often as its frontend does without having closed, as one that was killed; frames go both ways each time', async () => {
    const { machine, guest } = rig();
    const bridge = await backend();
    const nics$ = connections();
    await machine.toolstack.attach(attach(bridge));
    const nic = await nth(nics$, 1);
    const other = await station(bridge);
    await expectTalk(nic, other);
    const store = machine.dom0.get(XenStore);
    for (let life = 2; life < 6; life++) {
      await store.write(`/local/domain/${guest.domid}/device/vif/0/state`, '1');
      const next = await nth(nics$, life);
      expect(next).not.to.equal(nic);
      await expectTalk(next, other);
    }
    await (await nth(nics$, 5)).close();
    await other.nic.close();
  });
});
