import { expect } from 'chai';
import { mergeMap } from 'rxjs';
import { Clock, type Domid, devices$, GrantTable, type Page, type Plain } from '../../../core/index.js';
import { Bridge, type BridgePort } from '../../../drivers/net/bridge.js';
import { verifyChecksum } from '../../../drivers/net/checksum.js';
import { checksum, Frame } from '../../../drivers/net/frame.js';
import { NetFrontend } from '../../../drivers/net/frontend.js';
import { Headers } from '../../../drivers/net/headers.js';
import type { Nic } from '../../../drivers/net/nic.js';
import { NicPort } from '../../../drivers/net/nic-port.js';
import { PortStatistics } from '../../../drivers/net/port-statistics.js';
import { noOffloads } from '../../../drivers/net/protocol.js';
import { vifKeys } from '../../../drivers/net/vif-keys.js';
import { gsoType } from '../../../drivers/net/wire.js';
import { frameOf } from './frames.js';
import { macOf, onLans } from './lan.js';
import { packetOf } from './packets.js';

const pageOf = (bytes: Uint8Array): Page => ({ bytes, words: new Int32Array(0), [Symbol.dispose]() {} });

/** A port that takes frames only when it is told that their memory will be others', as a vif does. */
class LatePort implements BridgePort {
  readonly name = 'late';
  readonly statistics = new PortStatistics();
  readonly offloads = noOffloads;
  readonly mtu = 1500;
  readonly got: Uint8Array[] = [];
  readonly #waiting: { readonly page: Page; readonly offset: number; readonly length: number }[] = [];

  deliver({ page, offset, length }: Frame): void {
    this.#waiting.push({ page, offset, length });
  }

  flush(): void {
    for (const { page, offset, length } of this.#waiting.splice(0))
      this.got.push(page.bytes.slice(offset, offset + length));
  }

  publish(): void {
    expect(this.#waiting).to.deep.equal([]);
  }
}

/** A guest whose bridge has both of its interfaces as ports. */
interface Between {
  readonly bridge: Bridge;
  readonly nics: readonly [Nic, Nic];
  readonly ports: readonly [NicPort, NicPort];
}

onLans('the port that a nic is', ({ rig, backend, station }) => {
  /** Another backend's domain than the one. */
  const other = (offer?: Readonly<Record<string, Plain>>): Promise<Domid> =>
    rig().machine.boot({
      name: 'other',
      module: import.meta.resolve('./lan.module.js'),
      ...(offer !== undefined && { offer }),
    });

  const between = async (left: Domid, right: Domid): Promise<Between> => {
    const { machine } = rig();
    const guest = await machine.guest('between');
    const nics: Nic[] = [];
    const both = new Promise<void>((resolve) => {
      devices$(guest, NetFrontend)
        .pipe(mergeMap(({ connections$ }) => connections$))
        .subscribe((nic) => {
          if (nics.push(nic) === 2) resolve();
        });
    });
    for (const [id, domid] of [left, right].entries()) {
      const keys = vifKeys({ devid: id, mac: macOf(100 + id) });
      await machine.toolstack.attach({ device: 'vif', id, frontend: guest.domid, backend: domid, keys });
    }
    await both;
    nics.sort(({ mac: one }, { mac: two }) => (one[5] as number) - (two[5] as number));
    const bridge = new Bridge(guest.get(Clock), guest.get(GrantTable));
    const ports = nics.map((nic, i) => new NicPort(`eth${i}`, nic, bridge));
    return { bridge, nics: nics as [Nic, Nic], ports: ports as [NicPort, NicPort] };
  };

  it('sends on to others of the guest’s bridge what comes by its interface, and to its interface what comes from them', async () => {
    const [left, right] = [await backend(), await other()];
    const [a, b] = [await station(left), await station(right)];
    const { ports } = await between(left, right);
    const there = Array.from({ length: 20 }, (_, i) =>
      frameOf({ to: b.mac, from: a.mac, length: 60 + 70 * i, fill: i }),
    );
    await a.nic.sendAll(there);
    await b.came(there.length);
    expect(b.received).to.deep.equal(there);
    const back = frameOf({ to: a.mac, from: b.mac, length: 1514, fill: 9 });
    b.nic.send(back);
    await a.came(1);
    expect(a.received).to.deep.equal([back]);
    expect(ports[1].statistics).to.include({ received: 1, receivedBytes: 1514, sent: 20, flooded: 0 });
  });

  it('has the others take the frames before the next ones lie in their place', async () => {
    const [left, right] = [await backend(), await other()];
    const [a, b] = [await station(left), await station(right)];
    const { bridge } = await between(left, right);
    const late = new LatePort();
    using _side = bridge.join(late);
    // To a group, so that each comes to both.
    const to = Uint8Array.of(1, 0, 0x5e, 0, 0, 1);
    const frames = Array.from({ length: 300 }, (_, i) => frameOf({ to, from: a.mac, length: 1000, fill: i }));
    // No more at once than a ring has room for.
    for (let sent = 0; sent < frames.length; sent += 100) {
      await a.nic.sendAll(frames.slice(sent, sent + 100));
      await b.came(sent + 100);
    }
    expect(late.got).to.deep.equal(frames);
  });

  it('leaves large packets whole, and blank checksums blank, for a backend that takes them', async () => {
    const [left, right] = [await backend(), await other()];
    const [a, b] = [await station(left), await station(right)];
    const { nics } = await between(left, right);
    const bytes = packetOf({ to: b.mac, from: a.mac, payload: 30_000, blank: true });
    const seen: Pick<Frame, 'checksum' | 'gsoType' | 'gsoSize'>[] = [];
    b.nic.frames$.subscribe((batch) => {
      for (const { checksum: sum, gsoType: type, gsoSize: size } of batch)
        seen.push({ checksum: sum, gsoType: type, gsoSize: size });
    });
    a.nic.send({ bytes, gso: { type: gsoType.tcpv4, size: 1448 } });
    await b.came(1);
    expect(b.received).to.deep.equal([bytes]);
    expect(seen).to.deep.equal([{ checksum: checksum.blank, gsoType: gsoType.tcpv4, gsoSize: 1448 }]);
    expect(nics[0].statistics).to.include({ received: 1, receivedSlots: 8, receivedLarge: 1, sent: 0 });
    expect(nics[1].statistics).to.include({ sent: 1, sentBytes: 30_054, sentSlots: 8, sentLarge: 1, refused: 0 });
  });

  it('has them finished for a backend that does not', async () => {
    const left = await backend();
    const right = await other({ 'feature-gso-tcpv4': false, 'feature-no-csum-offload': true });
    const [a, b] = [await station(left), await station(right)];
    const { nics, ports } = await between(left, right);
    const bytes = packetOf({ to: b.mac, from: a.mac, payload: 30_000, blank: true });
    a.nic.send({ bytes, gso: { type: gsoType.tcpv4, size: 1448 } });
    await b.came(21);
    const headers = new Headers();
    for (const frame of b.received)
      expect(headers.parse(frame, 0, frame.length) && verifyChecksum(frame, headers)).to.equal(true);
    expect(ports[1].statistics).to.include({ segmented: 1, sent: 21 });
    expect(nics[1].statistics).to.include({ sent: 21, sentSlots: 21, sentLarge: 0 });
  });

  it('drops, and counts, what its ring has no room for', async () => {
    const [left, right] = [await backend(), await other()];
    const [a, b] = [await station(left), await station(right)];
    const { nics, ports } = await between(left, right);
    const hello = frameOf({ to: b.mac, from: a.mac, length: 60, fill: 1 });
    a.nic.send(hello);
    await b.came(1);
    let held = 0;
    const frame = new Frame(pageOf(frameOf({ to: b.mac, from: a.mac, length: 60, fill: 2 })));
    frame.set(0, 60, checksum.unknown, gsoType.none, 0);
    while (nics[1].put(frame)) held++;
    ports[1].deliver(frame);
    expect(ports[1].statistics.dropped['no-room']).to.equal(1);
    nics[1].push();
    await b.came(1 + held);
    ports[1].deliver(frame);
    ports[1].publish();
    await b.came(2 + held);
    expect(ports[1].statistics.sent).to.equal(2);
  });

  it('leaves the bridge when the interface’s link ends, and when it is disposed of', async () => {
    const [left, right] = [await backend(), await other()];
    const { bridge, nics, ports } = await between(left, right);
    expect(bridge.ports).to.deep.equal(ports);
    await nics[0].close();
    expect(bridge.ports).to.deep.equal([ports[1]]);
    ports[1][Symbol.dispose]();
    expect(bridge.ports).to.deep.equal([]);
  });
});
