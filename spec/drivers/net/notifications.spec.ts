import { expect } from 'chai';
import { parseMac } from '../../../drivers/net/mac.js';
import { frameOf } from './frames.js';
import { onLans } from './lan.js';

const address = '00:16:3e:66:66:66';
const mac = parseMac(address);
const RSP_EVENT = 3;

onLans('the event channel of a vif', ({ backend, station, raw, rig }) => {
  it('is raised when what is published crosses rsp_event, on either ring, and not otherwise: to Linux, which delays a channel whose events find nothing, each is work (RING_PUSH_RESPONSES_AND_CHECK_NOTIFY, XSA-391)', async () => {
    const bridge = await backend();
    const sender = await station(bridge);
    const vif = await raw(bridge, { mac: address });
    let events = 0;
    const subscription = vif.channel.subscribe(() => {
      events++;
    });
    const during = async (work: () => void): Promise<number> => {
      const before = events;
      work();
      await vif.turn();
      return events - before;
    };
    const page = vif.share1();
    page.bytes.set(frameOf({ to: sender.mac, from: mac, length: 60, fill: 1 }));
    const put = (count: number) => (): void => {
      for (let i = 0; i < count; i++) vif.put({ gref: page.ref, size: 60 });
    };
    expect(await during(put(3)), 'the first of three responses is waited for').to.equal(1);
    expect(await during(put(3)), 'none is waited for').to.equal(0);
    vif.tx.words[RSP_EVENT] = 6 + 3;
    expect(await during(put(2)), 'the third is waited for').to.equal(0);
    expect(await during(put(1)), 'the third has come').to.equal(1);

    const buffers = vif.share1(8);
    const post = (): void => {
      for (const ref of buffers.refs) vif.post(ref);
    };
    expect(await during(post), 'posted buffers are answered by nothing').to.equal(0);
    const send = (count: number) => (): void => {
      sender.nic.send(
        ...Array.from({ length: count }, () => ({
          bytes: frameOf({ to: mac, from: sender.mac, length: 60, fill: 2 }),
        })),
      );
    };
    expect(await during(send(2)), 'the first of two frames is waited for').to.equal(1);
    expect(await during(send(2)), 'none is waited for').to.equal(0);
    vif.rx.words[RSP_EVENT] = 4 + 2;
    expect(await during(send(1)), 'the second is waited for').to.equal(0);
    expect(await during(send(1)), 'the second has come').to.equal(1);
    expect(await during(() => {}), 'a frontend that notifies for nothing is told nothing').to.equal(0);

    subscription.unsubscribe();
    await vif.close();
    await sender.nic.close();
    await rig().machine.idle();
  });
});
