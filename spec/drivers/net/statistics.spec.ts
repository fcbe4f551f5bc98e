import { expect } from 'chai';
import { firstValueFrom } from 'rxjs';
import { Clock, type Domain, type Domid, serveDevices } from '../../../core/index.js';
import { NetBackend } from '../../../drivers/net/backend.js';
import { type Bridge, Bridges } from '../../../drivers/net/bridge.js';
import { type DropReason, dropReasons, type PortStatistics } from '../../../drivers/net/port-statistics.js';
import { frameOf } from './frames.js';
import { onLans } from './lan.js';
import lan from './lan.module.js';
import { packetOf } from './packets.js';

const source = Uint8Array.of(0, 0x16, 0x3e, 0x66, 0x66, 0x66);
const flag = { csumBlank: 1, dataValidated: 2, more: 4, extra: 8 };
const none = 0x00ffffff;

onLans('the statistics of a vif', ({ station, raw, rig, log }) => {
  /** A backend in the test's own thread, whose bridge can be looked into. */
  const served = async (): Promise<{ readonly domid: Domid; readonly domain: Domain; readonly bridge: Bridge }> => {
    const domain = await rig().machine.guest('bridge');
    domain.container.load(lan);
    domain.subscription.add(serveDevices(domain, NetBackend));
    return { domid: domain.domid, domain, bridge: domain.get(Bridges).get('xenbr0') };
  };
  const of = (bridge: Bridge, i: number): PortStatistics => {
    const port = bridge.ports[i];
    if (port === undefined) throw new Error(`there is no port ${i}`);
    return port.statistics;
  };
  const drops = ({ dropped }: PortStatistics): Partial<Record<DropReason, number>> =>
    Object.fromEntries(dropReasons.filter((reason) => dropped[reason] > 0).map((reason) => [reason, dropped[reason]]));
  const named = (reason: DropReason): number => log.filter((line) => line.includes(`drops a frame: ${reason};`)).length;

  it('count what came from its side, and what went into its guest’s buffers, in frames and bytes', async () => {
    const { domid, bridge } = await served();
    const [a, b, c] = [await station(domid), await station(domid), await station(domid)];
    a.nic.send(frameOf({ to: b.mac, from: a.mac, length: 100, fill: 1 }));
    await b.came(1);
    b.nic.send(frameOf({ to: a.mac, from: b.mac, length: 200, fill: 1 }));
    await a.came(1);
    await rig().machine.idle();
    expect(of(bridge, 0)).to.include({ received: 1, receivedBytes: 100, sent: 1, sentBytes: 200, flooded: 1 });
    expect(of(bridge, 1)).to.include({ received: 1, receivedBytes: 200, sent: 1, sentBytes: 100, flooded: 0 });
    expect(of(bridge, 2)).to.include({ received: 0, sent: 1, sentBytes: 100 });
    await Promise.all([a, b, c].map(({ nic }) => nic.close()));
  });

  it('count each frame that is dropped by its reason, and the log names each reason once', async () => {
    const { domid, bridge } = await served();
    const seen = await station(domid, { features: { gso4: false } });
    const vif = await raw(domid, { mtu: 65000 });
    const pages = vif.share1(24);
    const page = pages.refs[0] as number;
    seen.nic.send(frameOf({ to: new Uint8Array(6).fill(255), from: seen.mac, length: 60, fill: 1 }));
    await rig().machine.idle();
    const each: readonly (readonly [DropReason, who: number, cause: () => void])[] = [
      ['too-short', 1, () => vif.put({ gref: page, size: 13 })],
      [
        'too-long',
        0,
        () => {
          pages.bytes.set(frameOf({ to: seen.mac, from: source, length: 1519, fill: 1 }));
          vif.put({ gref: page, size: 1519 });
        },
      ],
      [
        'too-many-slots',
        1,
        () => {
          for (let i = 0; i < 20; i++)
            vif.put({ gref: page, flags: i < 19 ? flag.more : 0, size: i === 0 ? 14 + 20 : 1 });
        },
      ],
      [
        'bad-size',
        1,
        () => {
          vif.put({ gref: page, flags: flag.more, size: 60 });
          vif.put({ gref: page, size: 61 });
        },
      ],
      ['bad-grant', 1, () => vif.put({ gref: none, size: 60 })],
      [
        'bad-checksum',
        1,
        () => {
          pages.bytes.set(frameOf({ to: seen.mac, from: source, length: 60, fill: 1 }));
          vif.put({ gref: page, flags: flag.csumBlank, size: 60 });
        },
      ],
      [
        'bad-gso',
        0,
        () => {
          pages.bytes.set(packetOf({ to: seen.mac, from: source, payload: 3000, blank: true }));
          vif.put({ gref: page, flags: flag.csumBlank | flag.extra, size: 3054 });
          vif.putExtra([1, 0, 47, 0, 1, 0, 0, 0]);
        },
      ],
      [
        'own-source',
        1,
        () => {
          pages.bytes.set(frameOf({ to: seen.mac, from: Uint8Array.of(1, 0, 0x5e, 0, 0, 1), length: 60, fill: 1 }));
          vif.put({ gref: page, size: 60 });
        },
      ],
    ];
    const sent = of(bridge, 0).sent;
    for (const [reason, who, cause] of each) {
      const before = of(bridge, who).dropped[reason];
      for (let i = 0; i < 3; i++) {
        cause();
        await vif.turn();
      }
      expect(of(bridge, who).dropped[reason] - before, reason).to.equal(3);
      expect(named(reason), reason).to.equal(1);
    }
    expect(of(bridge, 0).sent).to.equal(sent);
    expect(seen.received).to.deep.equal([]);
    const hello = frameOf({ to: seen.mac, from: source, length: 60, fill: 2 });
    pages.bytes.set(hello);
    vif.put({ gref: page, size: 60 });
    await vif.turn();
    await seen.came(1);
    expect(seen.received).to.deep.equal([hello]);
    await vif.close();
    await seen.nic.close();
  });

  it('count as sent only what went into buffers, and what waited too long, or found no room, as dropped (skipped on threads: its clock is the host’s)', async function () {
    if (rig().platform !== 'local') return this.skip();
    const { domid, bridge } = await served();
    const sender = await station(domid);
    const vif = await raw(domid);
    const pages = vif.share1(4);
    const frame = (length = 60): Uint8Array => frameOf({ to: source, from: sender.mac, length, fill: 1 });
    const pass = async (ms: number): Promise<void> => {
      await firstValueFrom(rig().machine.dom0.get(Clock).timer$(ms));
      await rig().machine.idle();
    };
    vif.put({ gref: none, size: 60 });
    await vif.turn();
    const { statistics } = bridge.ports[1] ?? expect.fail('there is no second port');
    sender.nic.send(frame(), frame());
    await rig().machine.idle();
    expect(statistics.sent).to.equal(0);
    await pass(10_001);
    expect(drops(statistics)).to.deep.equal({ 'bad-grant': 1, expired: 2 });
    for (let i = 0; i < 5; i++) {
      await sender.nic.sendAll(Array.from({ length: 100 }, () => frame(1514)));
      await rig().machine.idle();
    }
    const noRoom = statistics.dropped['no-room'];
    expect(noRoom).to.be.within(140, 200);
    expect(statistics.sent).to.equal(0);
    for (let i = 0; i < 3; i++) vif.post(pages.refs[i] as number);
    vif.post(none);
    await vif.turn();
    // The fourth went to a buffer that is not there.
    expect(statistics).to.include({ sent: 4, sentBytes: 4 * 1514 });
    expect(statistics.dropped['bad-grant']).to.equal(2);
    await pass(10_001);
    expect(statistics.dropped.expired).to.equal(2 + 500 - noRoom - 4);
    for (const reason of ['bad-grant', 'expired', 'no-room'] as const) expect(named(reason), reason).to.equal(1);
    await vif.close();
    await sender.nic.close();
  });

  it('count what a filter of groups keeps away, which nobody is warned of', async () => {
    const { domid, bridge } = await served();
    const a = await station(domid);
    const b = await station(domid, { features: { multicastControl: true } });
    a.nic.send(frameOf({ to: Uint8Array.of(1, 0, 0x5e, 0, 0, 1), from: a.mac, length: 60, fill: 1 }));
    await rig().machine.idle();
    expect(drops(of(bridge, 1))).to.deep.equal({ 'not-joined': 1 });
    expect(of(bridge, 1).sent).to.equal(0);
    expect(log).to.deep.equal([]);
    await Promise.all([a, b].map(({ nic }) => nic.close()));
  });
});
