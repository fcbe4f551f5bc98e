import { expect } from 'chai';
import { connection, XenStore } from '../../../core/index.js';
import { NetFrontend } from '../../../drivers/net/frontend.js';
import { parseMac } from '../../../drivers/net/mac.js';
import { vifKeys } from '../../../drivers/net/vif-keys.js';
import { frameOf } from './frames.js';
import { onLans } from './lan.js';
import { packetOf } from './packets.js';
import { RawVif } from './raw-vif.js';

onLans('an interface of class vif', ({ backend, station, raw, rig }) => {
  const keysOf = async (path: string): Promise<Readonly<Record<string, string>>> => {
    const store = rig().machine.dom0.get(XenStore);
    const found: Record<string, string> = {};
    for (const name of (await store.directory(path)) ?? []) found[name] = (await store.read(`${path}/${name}`)) ?? '';
    return found;
  };

  describe('is connected as netfront and netback do it:', () => {
    it('the frontend goes right from Initialising to Connected, with its keys', async () => {
      const moves: string[] = [];
      rig().machine.log$.subscribe(({ domain, text }) => / → /.test(text) && moves.push(`${domain}: ${text}`));
      const bridge = await backend();
      const { nic } = await station(bridge);
      await rig().machine.idle();
      // On threads one end may tell of its step after the other of the next.
      expect(moves).to.have.members([
        'bridge: Initialising → InitWait',
        'station-1: Initialising → Connected',
        'bridge: InitWait → Connected',
      ]);
      await nic.close();
    });

    it('the backend says what it can', async () => {
      const bridge = await backend();
      const { nic, guest } = await station(bridge);
      const keys = await keysOf(`/local/domain/${bridge}/backend/vif/${guest.domid}/0`);
      expect(keys).to.include({
        'feature-rx-copy': '1',
        'feature-rx-flip': '0',
        'feature-sg': '1',
        'feature-gso-tcpv4': '1',
        'feature-gso-tcpv6': '1',
        'feature-no-csum-offload': '0',
        'feature-ipv6-csum-offload': '1',
        'feature-multicast-control': '1',
        'feature-dynamic-multicast-control': '1',
        'feature-split-event-channels': '1',
        'multi-queue-max-queues': '8',
        carrier: '1',
      });
      await nic.close();
    });

    it('each ring has a channel of its own where both ends want that, else they share one, and no key of the other kind is left', async () => {
      for (const [offered, wanted] of [
        [true, true],
        [true, false],
        [false, true],
      ] as const) {
        const bridge = await rig().machine.boot({
          name: `bridge-${offered}-${wanted}`,
          module: import.meta.resolve('./lan.module.js'),
          offer: { 'feature-split-event-channels': offered },
        });
        const { nic, guest } = await station(bridge, { features: { splitChannels: wanted } });
        const keys = Object.keys(await keysOf(`/local/domain/${guest.domid}/device/vif/0`)).filter((key) =>
          /event-channel|ring-ref/.test(key),
        );
        const split = ['event-channel-rx', 'event-channel-tx', 'rx-ring-ref', 'tx-ring-ref'];
        expect(keys.sort()).to.deep.equal(offered && wanted ? split : ['event-channel', 'rx-ring-ref', 'tx-ring-ref']);
        await nic.close();
      }
    });

    it('of several queues the keys lie in queue-N, and nothing beside them; of one they lie right in the directory', async () => {
      const bridge = await backend();
      const { nic, guest } = await station(bridge, { features: { queues: 3 } });
      const path = `/local/domain/${guest.domid}/device/vif/0`;
      const keys = await keysOf(path);
      expect(nic.queues).to.equal(3);
      expect(keys['multi-queue-num-queues']).to.equal('3');
      expect(Object.keys(keys).filter((key) => /ring-ref|event-channel/.test(key))).to.deep.equal([]);
      for (const queue of [0, 1, 2])
        expect(Object.keys(await keysOf(`${path}/queue-${queue}`)).sort()).to.deep.equal([
          'event-channel-rx',
          'event-channel-tx',
          'rx-ring-ref',
          'tx-ring-ref',
        ]);
      await nic.close();
    });

    it('without what an earlier life of it has said of its rings: it may have had more queues', async () => {
      const bridge = await backend();
      const { machine, guest } = rig();
      const keys = vifKeys({ mac: '00:16:3e:00:00:01' });
      await machine.toolstack.attach({ device: 'vif', id: 0, frontend: guest.domid, backend: bridge, keys });
      const store = machine.dom0.get(XenStore);
      const path = `/local/domain/${guest.domid}/device/vif/0`;
      for (const key of ['queue-0/tx-ring-ref', 'queue-7/event-channel', 'event-channel', 'tx-ring-ref'])
        await store.write(`${path}/${key}`, '12345');
      const nic = await connection(guest, NetFrontend);
      const names = Object.keys(await keysOf(path)).filter((key) => /queue-|event-channel/.test(key));
      expect(names.sort()).to.deep.equal(['event-channel-rx', 'event-channel-tx', 'multi-queue-num-queues']);
      await nic.close();
    });

    it('never with more queues than the backend offers', async () => {
      const bridge = await backend({ 'multi-queue-max-queues': 2 });
      const { nic } = await station(bridge, { features: { queues: 16 } });
      expect(nic.queues).to.equal(2);
      await nic.close();
    });
  });

  for (const count of ['0', '-1', '', '1e9', '9', '4294967297', '1 ']) {
    it(`is refused by the backend with ${JSON.stringify(count)} queues (CVE-2026-45890)`, async () => {
      const bridge = await backend();
      const { machine, guest } = rig();
      const vif = await RawVif.attach(machine, guest, { backend: bridge, said: { 'multi-queue-num-queues': count } });
      await vif.share();
      await vif.backendIs('5', '6');
      expect(await vif.why()).to.match(/multi-queue-num-queues/);
      await vif.close();
    });
  }

  for (const [what, said] of [
    ['that wants its pages flipped', { 'request-rx-copy': '0' }],
    ['that does not ask for copies', { 'request-rx-copy': undefined }],
    ['without a tx ring', { 'tx-ring-ref': undefined }],
    ['without an event channel', { 'event-channel': undefined }],
    ['with an event channel for one ring alone', { 'event-channel': undefined, 'event-channel-tx': '5' }],
    ['whose ring is none', { 'rx-ring-ref': '99999999' }],
    ['whose feature is no number', { 'feature-sg': 'yes' }],
  ] as const) {
    it(`is refused by the backend to a frontend ${what}`, async () => {
      const bridge = await backend();
      const { machine, guest } = rig();
      const vif = await RawVif.attach(machine, guest, { backend: bridge, said });
      await vif.share();
      await vif.backendIs('5', '6');
      expect(await vif.why()).to.match(/^22 PeerFault/);
      await vif.close();
    });
  }

  it('carries several queues’ flows, each of them in its order', async () => {
    const bridge = await backend();
    const [a, b] = [
      await station(bridge, { features: { queues: 4 } }),
      await station(bridge, { features: { queues: 3 } }),
    ];
    const flows = Array.from({ length: 8 }, (_, flow) => {
      const packet = packetOf({ to: b.mac, from: a.mac, payload: 200 });
      packet[35] = flow; // the TCP source port
      return packet;
    });
    const frames = Array.from({ length: 20 }, (_, i) =>
      flows.map((packet) => {
        const copy = packet.slice();
        copy[60] = i;
        return copy;
      }),
    ).flat();
    await a.nic.sendAll(frames);
    await b.came(frames.length);
    for (const flow of flows.keys())
      expect(b.received.filter((frame) => frame[35] === flow).map((frame) => frame[60])).to.deep.equal(
        Array.from({ length: 20 }, (_, i) => i),
      );
    await Promise.all([a, b].map(({ nic }) => nic.close()));
  });

  it('comes back as often as its frontend begins anew, with other queues and channels, and leaves nothing (XSA-350, XSA-374)', async () => {
    const bridge = await backend();
    const { machine, guest } = rig();
    const keep = await station(bridge);
    const vif = await RawVif.attach(machine, guest, { backend: bridge });
    for (let round = 0; round < 25; round++) {
      await vif.share();
      await vif.backendIs('4');
      if (round % 3 === 0) vif.push(300); // ends the vif
      await vif.store.write(`${vif.path}/state`, round % 2 === 0 ? '6' : '5');
      await vif.backendIs('5', '6');
      await vif.store.write(`${vif.path}/state`, '6');
      await vif.backendIs('6');
      vif.tx.words.fill(0);
      vif.tx.words[1] = vif.tx.words[3] = 1;
      await vif.store.write(`${vif.path}/state`, '1');
    }
    await vif.backendIs('2');
    vif.free();
    await keep.nic.close();
  });

  it('may be taken away at any moment of its handshake, before its queues are there or after (XSA-465, CVE-2022-48914)', async () => {
    const bridge = await backend();
    const { machine, guest } = rig();
    const store = machine.dom0.get(XenStore);
    for (let wait = 0; wait < 24; wait++) {
      const keys = vifKeys({ mac: '00:16:3e:00:00:01' });
      const device = { device: 'vif', id: wait, frontend: guest.domid, backend: bridge, keys };
      await machine.toolstack.attach(device);
      // It may come about, fail, or never be seen.
      connection(guest, NetFrontend, wait).catch(() => {});
      // Each look at the store takes the two ends a little further.
      for (let i = 0; i < wait; i++) await store.read('/local');
      expect(await machine.toolstack.detach(device)).to.equal(true);
    }
    await machine.idle();
  });

  it('closes while a group is being joined, and nothing is left (XSA-527)', async () => {
    const bridge = await backend();
    const { nic } = await station(bridge, { features: { multicastControl: true } });
    const joined = nic.join(Uint8Array.of(1, 0, 0x5e, 0, 0, 1));
    await Promise.allSettled([nic.close(), joined]);
    await joined.catch((error) => expect(String(error)).to.match(/closed|ended/));
  });

  it('is sent only groups that it has joined, where it has asked for that; 64 of them, and all broadcasts', async () => {
    const bridge = await backend();
    const [a, b, c] = [
      await station(bridge),
      await station(bridge, { features: { multicastControl: true } }),
      await station(bridge),
    ];
    const group = (i: number): Uint8Array => Uint8Array.of(1, 0, 0x5e, 0, 0, i);
    const to = (address: Uint8Array): Uint8Array => frameOf({ to: address, from: a.mac, length: 60, fill: 1 });
    a.nic.send(to(group(1)));
    await c.came(1);
    expect(await b.nic.join(group(1))).to.equal(true);
    a.nic.send(to(group(1)), to(group(2)), to(parseMac('00:16:3e:00:00:02')));
    await b.came(2);
    expect(b.received).to.deep.equal([to(group(1)), to(b.mac)]);
    for (let i = 2; i <= 64; i++) expect(await b.nic.join(group(i))).to.equal(true);
    expect(await b.nic.join(group(65))).to.equal(false);
    expect(await b.nic.leave(group(1))).to.equal(true);
    a.nic.send(to(group(1)), to(new Uint8Array(6).fill(255)));
    await b.came(3);
    expect(b.received.at(-1)?.[0]).to.equal(255);
    await Promise.all([a, b, c].map(({ nic }) => nic.close()));
  });

  it('offers no ctrl ring, so no hash mapping can be set beyond its table (XSA-270)', async () => {
    const bridge = await backend();
    const { nic, guest } = await station(bridge);
    expect(await keysOf(`/local/domain/${bridge}/backend/vif/${guest.domid}/0`)).not.to.have.property(
      'feature-ctrl-ring',
    );
    await nic.close();
  });

  it('dies with its guest, whatever is on its way, and its bridge goes on', async () => {
    const bridge = await backend();
    const [a, b] = [await station(bridge), await station(bridge)];
    const mortal = await raw(bridge);
    const page = mortal.share1();
    for (let i = 0; i < 256; i++) mortal.put({ gref: page.ref, size: 60 });
    mortal.push();
    const guest = (await rig().machine.toolstack.domains()).find(({ name }) => name.startsWith('raw'));
    if (guest === undefined) throw new Error('the mortal guest has no name');
    await rig().machine.toolstack.destroy(guest.domid);
    const hello = frameOf({ to: b.mac, from: a.mac, length: 60, fill: 1 });
    const before = b.received.length;
    a.nic.send(hello);
    await b.came(before + 1);
    await Promise.all([a, b].map(({ nic }) => nic.close()));
  });
});
