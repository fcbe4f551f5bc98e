import { expect } from 'chai';
import { firstValueFrom } from 'rxjs';
import { Clock, XenStore } from '../../../core/index.js';
import { parseMac } from '../../../drivers/net/mac.js';
import { frameOf } from './frames.js';
import { onLans } from './lan.js';

const mac = '00:16:3e:66:66:66';

onLans('a connected interface of class vif', ({ backend, station, raw, rig, log }) => {
  const pass = async (ms: number): Promise<void> => {
    await firstValueFrom(rig().machine.dom0.get(Clock).timer$(ms));
    await rig().machine.idle();
  };
  const write = async (path: string, text: string): Promise<void> => {
    await rig().machine.dom0.get(XenStore).write(path, text);
    await rig().machine.idle();
  };
  const whereTimeIsSimulated = (title: string, body: () => Promise<void>): void => {
    it(`${title} (skipped on threads: its clock is the host's)`, async function () {
      if (rig().platform === 'local') await body();
      else this.skip();
    });
  };

  whereTimeIsSimulated('is held to its rate, in bytes every so many microseconds', async () => {
    const bridge = await backend();
    const seen = await station(bridge);
    const vif = await raw(bridge, { mac, rate: { bytes: 6000, usec: 50_000 } });
    const page = vif.share1();
    page.bytes.set(frameOf({ to: seen.mac, from: parseMac(mac), length: 1000, fill: 1 }));
    for (let i = 0; i < 20; i++) vif.put({ gref: page.ref, size: 1000 });
    await vif.turn();
    expect(vif.statuses()).to.have.length(6);
    await pass(49);
    expect(vif.statuses()).to.have.length(0);
    await pass(1);
    expect(vif.statuses()).to.have.length(6);
    await pass(101);
    expect(vif.statuses()).to.have.length(8);
    expect(seen.received).to.have.length(20);
    await vif.close();
    await seen.nic.close();
  });

  whereTimeIsSimulated(
    'follows another rate at once, though packets wait for the one before (netback: xen_net_rate_changed)',
    async () => {
      const bridge = await backend();
      const seen = await station(bridge);
      const vif = await raw(bridge, { mac, rate: { bytes: 1000, usec: 3_600_000_000 } });
      const page = vif.share1();
      page.bytes.set(frameOf({ to: seen.mac, from: parseMac(mac), length: 1000, fill: 1 }));
      for (let i = 0; i < 20; i++) vif.put({ gref: page.ref, size: 1000 });
      await vif.turn();
      expect(vif.statuses()).to.have.length(1);
      await write(`${vif.otherendPath}/rate`, '4000,50000');
      expect(vif.statuses()).to.have.length(4);
      await pass(50);
      expect(vif.statuses()).to.have.length(4);
      await write(`${vif.otherendPath}/rate`, '1,3600000000');
      expect(vif.statuses()).to.have.length(0);
      await rig().machine.dom0.get(XenStore).rm(`${vif.otherendPath}/rate`);
      await rig().machine.idle();
      expect(vif.statuses()).to.have.length(11);
      expect(seen.received).to.have.length(20);
      expect(log.filter((line) => /rate/.test(line))).to.deep.equal([]);
      await vif.close();
      await seen.nic.close();
    },
  );

  it('is not limited by a rate that is none, which its log names (netback: xen_net_read_rate, XSA-68)', async () => {
    const bridge = await backend();
    const seen = await station(bridge);
    const vif = await raw(bridge, { mac });
    const page = vif.share1();
    page.bytes.set(frameOf({ to: seen.mac, from: parseMac(mac), length: 1000, fill: 1 }));
    const wrong = ['much', '1', '1,', ',1', '0,50000', '1,2,3'];
    for (const [i, text] of wrong.entries()) {
      await write(`${vif.otherendPath}/rate`, text);
      for (let n = 0; n < 100; n++) vif.put({ gref: page.ref, size: 1000 });
      await vif.turn();
      await seen.came((i + 1) * 100);
    }
    expect(log.filter((line) => /the key rate holds/.test(line))).to.have.length(wrong.length);
    await vif.close();
    await seen.nic.close();
  });

  it('filters groups from when its frontend asks for that, and no longer when it does not (netif.h: feature-dynamic-multicast-control)', async () => {
    const bridge = await backend();
    const [sender, witness] = [await station(bridge), await station(bridge)];
    const vif = await raw(bridge, { mac });
    const pages = vif.share1(64);
    for (let i = 0; i < 64; i++) vif.post(pages.refs[i] as number);
    await vif.turn();
    let seen = 0;
    const heard = async (...groups: readonly number[]): Promise<number> => {
      for (const group of groups)
        sender.nic.send(frameOf({ to: Uint8Array.of(1, 0, 0x5e, 0, 0, group), from: sender.mac, length: 60, fill: 1 }));
      seen += groups.length;
      await witness.came(seen);
      await rig().machine.idle();
      return vif.arrivals().length;
    };
    const ask = async (text: string): Promise<void> => {
      await vif.store.write(`${vif.path}/request-multicast-control`, text);
      await rig().machine.idle();
    };
    expect(await heard(1, 2)).to.equal(2);
    // The list may be made before it is applied.
    vif.put({ gref: 0, flags: 8, size: 0 });
    vif.putExtra([2, 0, 1, 0, 0x5e, 0, 0, 1]);
    await vif.turn();
    expect(await heard(1, 2)).to.equal(2);
    await ask('1');
    expect(await heard(1, 2)).to.equal(1);
    await ask('0');
    expect(await heard(1, 2)).to.equal(2);
    for (const [text, count] of [
      ['2', 1],
      ['', 2],
      ['1', 1],
      ['yes', 2],
    ] as const) {
      await ask(text);
      expect(await heard(1, 2), JSON.stringify(text)).to.equal(count);
    }
    await ask('1');
    await vif.store.rm(`${vif.path}/request-multicast-control`);
    await rig().machine.idle();
    expect(await heard(1, 2)).to.equal(2);
    expect(log).to.deep.equal([]);
    await vif.close();
    await Promise.all([sender, witness].map(({ nic }) => nic.close()));
  });

  it('filters as it was asked when it connected where the backend follows no change', async () => {
    const bridge = await backend({ 'feature-dynamic-multicast-control': false });
    const [sender, witness] = [await station(bridge), await station(bridge)];
    const vif = await raw(bridge, { mac, said: { 'request-multicast-control': '1' } });
    vif.post(vif.share1().ref);
    await vif.turn();
    await vif.store.write(`${vif.path}/request-multicast-control`, '0');
    await rig().machine.idle();
    sender.nic.send(frameOf({ to: Uint8Array.of(1, 0, 0x5e, 0, 0, 1), from: sender.mac, length: 60, fill: 1 }));
    await witness.came(1);
    await rig().machine.idle();
    expect(vif.arrivals()).to.deep.equal([]);
    await vif.close();
    await Promise.all([sender, witness].map(({ nic }) => nic.close()));
  });

  it('goes on after 10^4 changes of what its frontend asks for, and does the last (XSA-349)', async function () {
    this.timeout(60_000);
    const bridge = await backend();
    const other = await station(bridge);
    const vif = await raw(bridge, { mac });
    const pending: Promise<void>[] = [];
    for (let i = 0; i < 10_000; i++) {
      pending.push(vif.store.write(`${vif.path}/request-multicast-control`, String(i & 1)));
      if (pending.length >= 16) await pending.shift();
    }
    await Promise.all(pending);
    await rig().machine.idle();
    // The last value holds, and the vif lives.
    const page = vif.share1();
    vif.post(page.ref);
    await vif.turn();
    other.nic.send(frameOf({ to: Uint8Array.of(1, 0, 0x5e, 0, 0, 1), from: other.mac, length: 60, fill: 1 }));
    await rig().machine.idle();
    expect(vif.arrivals()).to.deep.equal([]);
    other.nic.send(frameOf({ to: parseMac(mac), from: other.mac, length: 60, fill: 1 }));
    await rig().machine.idle();
    expect(vif.arrivals()).to.have.length(1);
    await vif.close();
    await other.nic.close();
  });
});
