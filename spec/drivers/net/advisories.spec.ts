// What Xen’s advisories say of rings, pages and states, where the specs of packets and handshakes do not come to it; long, as they are many.
import { expect } from 'chai';
import { connection, type Domain, type Domid, GrantTable, type SharedPage, XenStore } from '../../../core/index.js';
import { NetFrontend } from '../../../drivers/net/frontend.js';
import { vifKeys } from '../../../drivers/net/vif-keys.js';
import { frameOf } from './frames.js';
import { onLans, type Station } from './lan.js';
import { packetOf } from './packets.js';
import { RawBack } from './raw-back.js';
import { RawVif } from './raw-vif.js';

const okay = 0;
const flag = { csumBlank: 1, dataValidated: 2, more: 4, extra: 8 };
const source = Uint8Array.of(0, 0x16, 0x3e, 0x66, 0x66, 0x66);
const me = Uint8Array.of(0, 0x16, 0x3e, 0, 0, 1);
const takerMac = Uint8Array.of(0, 0x16, 0x3e, 0, 0x77, 0x77);

onLans('a backend of class vif', ({ backend, station, raw, rig, log }) => {
  /** Nobody may be kept from the bridge. */
  const expectLive = async (bridge: Domid, seen: Station): Promise<void> => {
    const other = await station(bridge);
    const hello = frameOf({ to: seen.mac, from: other.mac, length: 60, fill: 4 });
    const before = seen.received.length;
    other.nic.send(hello);
    await seen.came(before + 1);
    expect(seen.received.at(-1)).to.deep.equal(hello);
    await other.nic.close();
  };

  it('sends on what a packet held when it was taken, whatever its page holds since (XSA-155)', async () => {
    const bridge = await backend();
    const slow = await raw(bridge, { mac: '00:16:3e:00:77:77' });
    const slowMac = Uint8Array.of(0, 0x16, 0x3e, 0, 0x77, 0x77);
    const vif = await raw(bridge);
    const buffers = slow.share1(8);
    const page = vif.share1();
    const packet = packetOf({ to: slowMac, from: source, payload: 500, blank: true });
    page.bytes.set(packet);
    vif.put({ gref: page.ref, flags: flag.csumBlank, size: packet.length });
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([okay]);
    // It waits for a buffer, and its sender may use the page for something else.
    page.bytes.fill(0xee);
    for (let i = 0; i < 8; i++) slow.post(buffers.refs[i] as number);
    await slow.turn();
    expect(slow.arrivals().map(({ status }) => status)).to.deep.equal([packet.length]);
    expect(buffers.bytes.slice(0, packet.length)).to.deep.equal(packet);
    await vif.close();
    await slow.close();
  });

  it('is led astray by nothing that changes while it looks: slots, lengths, headers (XSA-155)', async function () {
    this.timeout(60_000);
    const bridge = await backend();
    const plain = { sg: false, gso4: false, gso6: false, checksum4: false, checksum6: false };
    const seen = await station(bridge, { features: plain });
    const { machine, guest, platform } = rig();
    const rounds = platform === 'local' ? 3 : 24;
    for (let round = 0; round < rounds; round++) {
      const vif = await RawVif.connect(machine, guest, { backend: bridge, devid: round });
      const page = vif.share1(4);
      const packet = packetOf({ to: seen.mac, from: source, payload: 2000, blank: true });
      for (let i = 0; i < 4; i++) page.bytes.set(packet, i * 4096);
      const { words } = vif.tx;
      for (let i = 0; i < 80; i++) {
        vif.put({ gref: page.refs[i & 3] as number, flags: flag.csumBlank | flag.extra, size: packet.length });
        vif.putExtra([1, 0, 0xe8, 3, 1, 0, 0, 0]);
        vif.put({ gref: page.refs[i & 3] as number, flags: flag.csumBlank, size: packet.length });
      }
      vif.push();
      // While the backend, on a thread of its own, is at it.
      for (let i = 0; i < 20_000; i++) {
        const slot = 16 + (i % 240) * 3;
        // Versions, lengths, protocols and flags of the headers.
        const at = (i & 3) * 4096 + 12 + (i % 42);
        page.bytes[at] = (page.bytes[at] as number) ^ i;
        // Sizes and ids; offsets and flags; references.
        if (round % 4 === 1) words[slot + 2] = (words[slot + 2] as number) ^ 0x0fff0000;
        if (round % 4 === 2) words[slot + 1] = (words[slot + 1] as number) ^ 0x000c0fff;
        if (round % 4 === 3) words[slot] = (words[slot] as number) ^ 3;
      }
      await machine.idle();
      const state = await vif.state();
      expect(state).to.be.oneOf(['4', '5', '6']);
      if (state !== '4') expect(await vif.why()).to.match(/^22 PeerFault/);
      await vif.close();
    }
    for (const frame of seen.received) expect(frame.length).to.be.within(14, 1518);
    await expectLive(bridge, seen);
    await seen.nic.close();
  });

  it('forwards large frames between guests that revoke their pages, grant others and write to them meanwhile (XSA-155, XSA-500)', async function () {
    this.timeout(60_000);
    const bridge = await backend();
    const seen = await station(bridge);
    const { machine, guest, platform } = rig();
    const rounds = platform === 'local' ? 2 : 12;
    for (let round = 0; round < rounds; round++) {
      const taker = await raw(bridge, { mac: '00:16:3e:00:77:77', mtu: 9000 });
      const vif = await RawVif.connect(machine, guest, { backend: bridge, devid: round, mtu: 9000 });
      const takers = taker.share1();
      takers.bytes.set(frameOf({ to: seen.mac, from: takerMac, length: 60, fill: 1 }));
      taker.put({ gref: takers.ref, size: 60 });
      const buffers = Array.from({ length: 250 }, () => taker.share1());
      for (const { ref } of buffers) taker.post(ref);
      await taker.turn();
      const pages = Array.from({ length: 8 }, () => vif.share1());
      const head = frameOf({ to: takerMac, from: source, length: 4096, fill: round });
      for (const page of pages) page.bytes.set(head);
      for (let i = 0; i < 80; i++) {
        const first = pages[i & 7] as SharedPage;
        vif.put({ gref: first.ref, flags: flag.more, size: 9000 });
        vif.put({ gref: (pages[(i + 1) & 7] as SharedPage).ref, flags: flag.more, size: 4096 });
        vif.put({ gref: (pages[(i + 3) & 7] as SharedPage).ref, size: 808 });
      }
      vif.push();
      // While the backend, on a thread of its own, is at it: each page is another's after a while, or its reference another page's.
      const most = platform === 'local' ? 500 : 100_000;
      const gone: { readonly of: RawVif; readonly among: SharedPage[]; readonly at: number }[] = [];
      for (let i = 0; i < most && Atomics.load(vif.tx.words, 2) !== 240; i++) {
        head.fill(i, 200);
        for (const page of pages) if (!gone.some(({ among, at }) => among[at] === page)) page.bytes.set(head);
        if (gone.length > 3) for (const { of, among, at } of gone.splice(0)) among[at] = of.share1();
        if (round % 3 !== 1) gone.push({ of: vif, among: pages, at: i & 7 });
        if (round % 3 !== 0) gone.push({ of: taker, among: buffers, at: i % buffers.length });
        for (const { among, at } of gone) among[at]?.[Symbol.dispose]();
      }
      for (const { of, among, at } of gone) among[at] = of.share1();
      await machine.idle();
      expect(await vif.state(), 'the state of the sender’s vif').to.equal('4');
      expect(await taker.state(), 'the state of the receiver’s').to.equal('4');
      expect(vif.statuses()).to.have.length(240);
      expect([...pages, ...buffers].filter(({ inUse }) => inUse)).to.deep.equal([]);
      await Promise.all([vif.close(), taker.close()]);
      await expectLive(bridge, seen);
    }
    expect(log.filter((line) => !/^(drops a frame: |waiting for the frontend)/.test(line))).to.deep.equal([]);
    await seen.nic.close();
  });

  it('does bounded work for 10^4 changes of a frontend’s state, and does the last (XSA-349)', async function () {
    this.timeout(60_000);
    const bridge = await backend();
    const seen = await station(bridge);
    const vif = await raw(bridge);
    const pending: Promise<void>[] = [];
    for (let i = 0; i < 10_000; i++) {
      pending.push(vif.store.write(`${vif.path}/state`, i % 2 === 0 ? '7' : '4'));
      if (pending.length >= 16) await pending.shift();
    }
    await Promise.all(pending);
    await rig().machine.idle();
    const page = vif.share1();
    const hello = frameOf({ to: seen.mac, from: source, length: 60, fill: 1 });
    page.bytes.set(hello);
    vif.put({ gref: page.ref, size: 60 });
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([okay]);
    await seen.came(1);
    await vif.close();
    await seen.nic.close();
  });

  it('keeps no page of a frontend after any failure, however often, so that its domain can go (XSA-371)', async function () {
    this.timeout(60_000);
    const bridge = await backend();
    const { machine } = rig();
    const seen = await station(bridge);
    const none = 0x00ffffff;
    const ways: readonly (readonly [what: string, fails: (vif: RawVif, page: SharedPage) => Promise<void>])[] = [
      [
        'a packet whose page is not there, after others',
        async (vif, page) => {
          for (const gref of [page.ref, none, page.ref]) vif.put({ gref, flags: flag.more, size: 60 });
          vif.put({ gref: page.ref, size: 60 });
          await vif.turn();
        },
      ],
      [
        'a buffer that is not there',
        async (vif) => {
          for (let i = 0; i < 4; i++) vif.post(none);
          await vif.turn();
          seen.nic.send(frameOf({ to: source, from: seen.mac, length: 60, fill: 1 }));
          await machine.idle();
        },
      ],
      [
        'packets taken, and then one that ends the vif',
        async (vif, page) => {
          for (let i = 0; i < 100; i++) vif.put({ gref: page.ref, size: 60 });
          vif.put({ gref: page.ref, offset: 4090, size: 60 });
          await vif.turn();
          await vif.backendIs('5', '6');
        },
      ],
      [
        'an index that cannot be',
        async (vif) => {
          vif.push(0, 1000);
          seen.nic.send(frameOf({ to: source, from: seen.mac, length: 60, fill: 1 }));
          await machine.idle();
        },
      ],
      ['nothing, and closes at once', async () => {}],
    ];
    const before = (await machine.ledger()).find(({ name }) => name === 'bridge');
    for (const [what, fails] of ways) {
      for (let round = 0; round < 3; round++) {
        const vif = await raw(bridge);
        const page = vif.share1();
        page.bytes.set(frameOf({ to: seen.mac, from: source, length: 60, fill: 1 }));
        await fails(vif, page);
        await vif.store.write(`${vif.path}/state`, '6');
        await vif.backendIs('6');
        expect(
          [vif.tx, vif.rx, page].map(({ inUse }) => inUse),
          what,
        ).to.deep.equal([false, false, false]);
        vif.free();
        const { toolstack } = machine;
        for (const { domid, name } of await toolstack.domains())
          if (name.startsWith('raw')) expect(await toolstack.destroy(domid), what).not.to.equal(false);
      }
    }
    await machine.idle();
    const after = (await machine.ledger()).find(({ name }) => name === 'bridge');
    for (const count of ['ports', 'mappings', 'mapped'] as const)
      expect(after?.[count], count).to.equal(before?.[count]);
    await seen.nic.close();
  });

  it('keeps nothing of a frontend whose ring, or channel, cannot be had, whichever it is (XSA-362, XSA-371)', async () => {
    const bridge = await backend();
    const { machine, guest } = rig();
    for (const [i, key] of ['tx-ring-ref', 'rx-ring-ref', 'event-channel'].entries()) {
      const vif = await RawVif.attach(machine, guest, { backend: bridge, devid: i, said: { [key]: '99999999' } });
      await vif.share();
      await vif.backendIs('5', '6');
      expect(await vif.why()).to.match(new RegExp(key));
      await vif.store.write(`${vif.path}/state`, '6');
      await vif.backendIs('6');
      expect([vif.tx.inUse, vif.rx.inUse]).to.deep.equal([false, false]);
      vif.free();
    }
  });

  it('takes one page in the packets of several interfaces at once (XSA-406)', async () => {
    const bridge = await backend();
    const { machine, guest } = rig();
    const seen = await station(bridge);
    const vifs: RawVif[] = [];
    for (const devid of [0, 1, 2]) vifs.push(await RawVif.connect(machine, guest, { backend: bridge, devid }));
    const page = (vifs[0] as RawVif).share1();
    page.bytes.set(frameOf({ to: seen.mac, from: source, length: 60, fill: 1 }));
    for (const vif of vifs) {
      for (let i = 0; i < 80; i++) vif.put({ gref: page.ref, size: 60 });
      vif.push();
    }
    await machine.idle();
    for (const vif of vifs) expect(vif.statuses()).to.deep.equal(Array.from({ length: 80 }, () => okay));
    await seen.came(240);
    for (const vif of vifs) await vif.close();
    await seen.nic.close();
  });

  it('serves a frontend that notifies without cause, and others (XSA-332, XSA-391)', async () => {
    const bridge = await backend();
    const seen = await station(bridge);
    const vif = await raw(bridge);
    for (let i = 0; i < 1000; i++) vif.channel.notify();
    await rig().machine.idle();
    await expectLive(bridge, seen);
    const page = vif.share1();
    page.bytes.set(frameOf({ to: seen.mac, from: source, length: 60, fill: 1 }));
    const before = seen.received.length;
    vif.put({ gref: page.ref, size: 60 });
    vif.push();
    await seen.came(before + 1);
    await vif.close();
    await seen.nic.close();
  });

  it('tells at once of the frames that it has put into buffers, though their sender’s next packet ends its link', async () => {
    const bridge = await backend();
    const vif = await raw(bridge, { mac: '00:16:3e:00:77:77' });
    const mac = Uint8Array.of(0, 0x16, 0x3e, 0, 0x77, 0x77);
    const buffers = vif.share1(100);
    for (const ref of buffers.refs) vif.post(ref);
    const page = vif.share1();
    page.bytes.set(frameOf({ to: source, from: mac, length: 60, fill: 1 }));
    vif.put({ gref: page.ref, size: 60 });
    await vif.turn();
    const liar = await raw(bridge);
    const sent = liar.share1();
    sent.bytes.set(frameOf({ to: mac, from: source, length: 60, fill: 2 }));
    for (let i = 0; i < 70; i++) liar.put({ gref: sent.ref, size: 60 });
    liar.put({ gref: sent.ref, offset: 4095, size: 60 });
    await liar.turn();
    await liar.backendIs('5', '6');
    expect(vif.arrivals().map(({ status }) => status)).to.deep.equal(new Array(64).fill(60));
    await liar.close();
    await vif.close();
  });

  it('gives nothing of other frames to a guest: what lies behind a short one in its buffer is the guest’s own (XSA-216, XSA-403)', async () => {
    const bridge = await backend();
    const sender = await station(bridge, { mtu: 4000 });
    const vif = await raw(bridge, { mtu: 4000 });
    const pages = vif.share1(2);
    pages.bytes.fill(0x5a);
    for (let i = 0; i < 2; i++) vif.post(pages.refs[i] as number);
    await vif.turn();
    const long = frameOf({ to: source, from: sender.mac, length: 4000, fill: 1 });
    const short = frameOf({ to: source, from: sender.mac, length: 60, fill: 2 });
    sender.nic.send(long, short);
    await rig().machine.idle();
    expect(vif.arrivals().map(({ status }) => status)).to.deep.equal([4000, 60]);
    expect(pages.bytes.slice(0, 4000)).to.deep.equal(long);
    expect(pages.bytes.slice(4096, 4156)).to.deep.equal(short);
    expect(pages.bytes.slice(4156).every((byte) => byte === 0x5a)).to.equal(true);
    await vif.close();
    await sender.nic.close();
  });
});

onLans('a frontend of class vif', ({ backend, rig }) => {
  const finish = async (back: RawBack, close: () => Promise<void>): Promise<void> => {
    const closed = close();
    await back.closes();
    await closed;
  };

  it('does bounded work for 10^4 changes of its backend’s state, and does the last (XSA-349)', async function () {
    this.timeout(60_000);
    const { machine, guest } = rig();
    const { back, nic } = await RawBack.connect(machine, guest);
    const seen: boolean[] = [];
    nic.carrier$.subscribe((up) => seen.push(up));
    const pending: Promise<void>[] = [];
    for (let i = 0; i < 10_000; i++) {
      pending.push(back.store.write(`${back.path}/${i % 2 === 0 ? 'state' : 'carrier'}`, i % 4 === 1 ? '0' : '4'));
      if (pending.length >= 16) await pending.shift();
    }
    await Promise.all(pending);
    await back.store.write(`${back.path}/carrier`, '0');
    await machine.idle();
    expect(seen.at(-1)).to.equal(false);
    await finish(back, () => nic.close());
  });

  it('closes and connects as often as its backend does, and leaves nothing of any life (XSA-350, XSA-371, XSA-374)', async function () {
    this.timeout(60_000);
    const bridge = await backend();
    const { machine, guest } = rig();
    const keys = vifKeys({ mac: '00:16:3e:00:00:01' });
    const held = async (): Promise<unknown> => {
      const mine = (await machine.ledger()).find(({ name }) => name === 'guest');
      return { ports: mine?.ports, grants: mine?.grants, mapped: mine?.mapped };
    };
    const before = await held();
    for (let round = 0; round < 20; round++) {
      const device = { device: 'vif', id: round, frontend: guest.domid, backend: bridge, keys };
      await machine.toolstack.attach(device);
      const nic = await connection(guest, NetFrontend, round);
      // Sent, and never seen to be answered.
      nic.send(...Array.from({ length: 10 }, () => frameOf({ to: source, from: me, length: 60, fill: round })));
      if (round % 3 === 0) void nic.close();
      expect(await machine.toolstack.detach(device)).to.equal(true);
      await machine.idle();
      expect(await held(), `round ${round}`).to.deep.equal(before);
    }
  });

  it('gives back what a backend kept mapped when it lets go, however much of it (XSA-396, CVE-2023-54081)', async () => {
    const { machine, guest } = rig();
    const keep: { readonly domain: Domain; readonly pages: Disposable[] }[] = [];
    const mine = async () => (await machine.ledger()).find(({ name }) => name === 'guest');
    const before = await mine();
    for (let round = 0; round < 3; round++) {
      const { back, nic } = await RawBack.connect(machine, guest, {}, `keeper-${round}`);
      const grants = back.domain.get(GrantTable);
      const pages = Array.from({ length: 200 }, (_, i) => grants.map(guest.domid, [back.buffer(i)]));
      keep.push({ domain: back.domain, pages });
      await finish(back, () => nic.close());
      await machine.toolstack.detach({ device: 'vif', id: 0, frontend: guest.domid });
    }
    expect((await mine())?.mapped).to.equal(600);
    for (const { pages } of keep) for (const page of pages) page[Symbol.dispose]();
    await machine.idle();
    const after = await mine();
    expect(after?.mapped).to.equal(0);
    // Their pages are taken again.
    const grants = guest.get(GrantTable);
    const pages = Array.from({ length: 600 }, () => grants.alloc());
    for (const page of pages) page[Symbol.dispose]();
    expect(after?.ports).to.equal(before?.ports);
  });

  for (const [key, text] of [
    ['multi-queue-max-queues', '0'],
    ['multi-queue-max-queues', '-1'],
    ['multi-queue-max-queues', 'many'],
    ['feature-sg', 'yes'],
    ['feature-split-event-channels', ''],
  ] as const) {
    it(`refuses a backend whose ${key} is ${JSON.stringify(text)} (XSA-376)`, async () => {
      const { machine, guest } = rig();
      const { back, nic } = await RawBack.offer(machine, guest, { [key]: text });
      await back.frontendIs('5', '6');
      expect(String(await nic.catch((error: unknown) => error))).to.match(new RegExp(key));
      await back.closes();
    });
  }

  it('believes no backend, whether its toolstack says to trust it or not: it is sent copies alone (XSA-403)', async () => {
    const { machine, guest } = rig();
    const { back, nic } = await RawBack.connect(machine, guest);
    await machine.dom0.get(XenStore).write(`/local/domain/${guest.domid}/device/vif/0/trusted`, '0');
    const long = frameOf({ to: source, from: me, length: 1500, fill: 7 });
    nic.send(long);
    await machine.idle();
    const grants = back.domain.get(GrantTable);
    const page = grants.alloc();
    const { gref } = back.request(0);
    grants.copyFrom(guest.domid, [{ ref: gref as SharedPage['ref'], offset: 0, page, pageOffset: 0, length: 4096 }]);
    expect(page.bytes.slice(0, 1500)).to.deep.equal(long);
    // Nothing else of the guest's lies in the page that it was granted.
    expect(page.bytes.slice(1500, 4096).every((byte) => byte === 0)).to.equal(true);
    page[Symbol.dispose]();
    await finish(back, () => nic.close());
  });
});
