// Long, since all is looked at from the same scene: a sender, a receiver, and ports that meddle in between.
import { expect } from 'chai';
import fc from 'fast-check';
import { Subscription } from 'rxjs';
import {
  type Domain,
  type Domid,
  type GrantRef,
  GrantTable,
  type Page,
  type SharedPage,
  serveDevices,
  XenError,
} from '../../../core/index.js';
import { NetBackend } from '../../../drivers/net/backend.js';
import { type Bridge, type BridgePort, Bridges } from '../../../drivers/net/bridge.js';
import { writeBlankChecksum } from '../../../drivers/net/checksum.js';
import { checksum, Frame } from '../../../drivers/net/frame.js';
import { Headers, write16 } from '../../../drivers/net/headers.js';
import { parseMac } from '../../../drivers/net/mac.js';
import { PortStatistics } from '../../../drivers/net/port-statistics.js';
import { noOffloads } from '../../../drivers/net/protocol.js';
import type { Vif } from '../../../drivers/net/vif.js';
import { gsoType } from '../../../drivers/net/wire.js';
import { frameOf } from './frames.js';
import { onLans } from './lan.js';
import lan from './lan.module.js';
import { RawVif, type RxResponse } from './raw-vif.js';

const [okay, error] = [0, -1];
const flag = { csumBlank: 1, more: 4 };
const PAGE = 4096;
const source = parseMac('00:16:3e:66:66:66');
const dest = parseMac('00:16:3e:77:77:77');
const elsewhere = parseMac('00:16:3e:88:88:88');
const everybody = new Uint8Array(6).fill(255);

/** Bytes that are no others' a page, or a header, away. */
const packetOf = (length: number, to: Uint8Array = dest): Uint8Array => {
  const bytes = Uint8Array.from({ length }, (_, i) => i * 31 + (i >> 8) * 7 + (i >> 12) * 13);
  bytes.set(to, 0);
  bytes.set(source, 6);
  bytes.set([0x88, 0xb5], 12);
  return bytes;
};

/** Where a slot's bytes lie in a page of its own. */
interface Part {
  readonly size: number;
  readonly offset: number;
}

/** Pages long enough for `length` bytes, each full. */
const fullParts = (length: number): readonly Part[] =>
  Array.from({ length: Math.ceil(length / PAGE) }, (_, i) => ({ size: Math.min(PAGE, length - i * PAGE), offset: 0 }));

onLans('a large frame, which goes from guest to guest', ({ station, raw, rig, log }) => {
  let domain: Domain;
  let bridge: Bridge;
  let vif: RawVif;
  let pages: SharedPage;
  /** Lists of copies from guest to guest that were made. */
  let lists: number;

  /** A port in the backend's own domain, which is given whole frames. */
  class Watcher implements BridgePort {
    readonly name = 'watcher';
    readonly statistics = new PortStatistics();
    readonly offloads = { ...noOffloads, sg: true };
    readonly mtu = 65000;
    readonly received: Uint8Array[] = [];
    readonly #hear: () => void;

    constructor(hear: () => void = () => {}) {
      this.#hear = hear;
    }

    deliver(frame: Frame): void {
      this.received.push(frame.copy());
      this.#hear();
    }

    flush(): void {}

    publish(): void {}
  }

  /** Joins a port, and has the bridge learn where it is. */
  const join = (port: BridgePort, mac: Uint8Array): void => {
    const side = bridge.join(port);
    const page = domain.get(GrantTable).alloc();
    page.bytes.set(frameOf({ to: mac, from: mac, length: 60, fill: 1 }));
    const frame = new Frame(page);
    frame.set(0, 60, checksum.unknown, gsoType.none, 0);
    side.receive(frame);
    side.flush();
    side.publish();
    page[Symbol.dispose]();
  };

  const setUp = async (): Promise<Domid> => {
    domain = await rig().machine.guest('bridge');
    domain.container.load(lan);
    lists = 0;
    const table = domain.get(GrantTable);
    const copiesBetween = table.copiesBetween.bind(table);
    table.copiesBetween = (from, to) => {
      lists++;
      return copiesBetween(from, to);
    };
    domain.subscription.add(serveDevices(domain, NetBackend));
    bridge = domain.get(Bridges).get('xenbr0');
    vif = await raw(domain.domid, { mtu: 65000 });
    pages = vif.share1(24);
    return domain.domid;
  };

  const vifOf = (i: number): Vif => bridge.ports[i] as Vif;

  const put = (bytes: Uint8Array, parts: readonly Part[], from = 0, flags = 0): void => {
    let at = 0;
    for (const [i, { size, offset }] of parts.entries()) {
      pages.bytes.set(bytes.subarray(at, at + size), (from + i) * PAGE + offset);
      const more = i < parts.length - 1 ? flag.more : 0;
      vif.put({
        gref: pages.refs[from + i] as GrantRef,
        offset,
        flags: more | (i === 0 ? flags : 0),
        size: i === 0 ? bytes.length : size,
      });
      at += size;
    }
  };

  /** A receiver made by hand, that the bridge knows, with buffers of which some may be none. */
  const receiver = async (domid: Domid, buffers: number, bad?: number, made?: RawVif) => {
    const other = made ?? (await raw(domid, { mac: '00:16:3e:77:77:77', mtu: 65000 }));
    const into = other.share1(buffers);
    const post = (): void => {
      into.refs.forEach((ref, i) => {
        other.post(i === bad ? 0x00ffffff : ref);
      });
    };
    const page = other.share1();
    page.bytes.set(frameOf({ to: dest, from: dest, length: 60, fill: 1 }));
    other.put({ gref: page.ref, size: 60 });
    await other.turn();
    expect(other.statuses()).to.deep.equal([okay]);
    const bytesOf = (responses: readonly RxResponse[], first = 0): readonly number[] =>
      responses.flatMap(({ offset, status }, i) => {
        const at = (first + i) * PAGE + offset;
        return status < 0 ? [] : [...into.bytes.slice(at, at + status)];
      });
    return { other, into, post, bytesOf };
  };

  /** All pages that the backend's domain can still have. */
  const hoardPages = (): readonly Page[] => {
    const hoard: Page[] = [];
    for (let run = 1024; run >= 1; ) {
      try {
        hoard.push(domain.get(GrantTable).alloc(run));
      } catch (error) {
        if (!(error instanceof XenError)) throw error;
        run >>= 1;
      }
    }
    return hoard;
  };

  it('arrives byte for byte, in the slots that one copied in whole would fill, whatever its size and its own slots are', async () => {
    const domid = await setUp();
    const { other, into, post, bytesOf } = await receiver(domid, 16);
    const part = fc.record({
      size: fc.oneof(fc.integer({ min: 0, max: 4096 }), fc.constantFrom(0, 1, 127, 128, 129, 4095, 4096)),
      offset: fc.nat(4096),
    });
    const parts = fc
      .tuple(fc.integer({ min: 14, max: 4096 }), fc.nat(4096), fc.array(part, { maxLength: 17, size: 'max' }))
      .map(([size, offset, rest]) =>
        [{ size, offset }, ...rest].map((one) => ({ ...one, offset: Math.min(one.offset, PAGE - one.size) })),
      )
      .filter((all) => all.reduce((sum, { size }) => sum + size, 0) <= 65014);
    await fc.assert(
      fc.asyncProperty(parts, async (all) => {
        const bytes = packetOf(all.reduce((sum, { size }) => sum + size, 0));
        const seen: unknown[] = [];
        for (const watched of [false, true]) {
          const looking = watched ? vifOf(0).passing$.subscribe() : undefined;
          into.bytes.fill(0);
          post();
          other.push();
          put(bytes, all);
          await vif.turn();
          looking?.unsubscribe();
          expect(vif.statuses()).to.deep.equal(all.map(() => okay));
          const came = other.arrivals();
          expect(Buffer.compare(Uint8Array.from(bytesOf(came)), bytes)).to.equal(0);
          // The other buffers, and what lies behind the frame, are as they were.
          const end = (came.length - 1) * PAGE + (came.at(-1)?.status ?? 0);
          expect(into.bytes.subarray(end).every((byte) => byte === 0)).to.equal(true);
          seen.push(came.map(({ flags, offset, status }) => ({ flags, offset, status })));
          other.rxProd -= 16 - came.length;
        }
        expect(seen[0]).to.deep.equal(seen[1]);
      }),
      { numRuns: 40 },
    );
    expect(lists).to.be.above(0);
    await Promise.all([vif.close(), other.close()]);
  });

  it('has its payload read once, and only what its receiver is handed depends on that: where it goes does not (XSA-155)', async () => {
    const domid = await setUp();
    const { other, post, bytesOf } = await receiver(domid, 16);
    const liar = new Watcher(() => {
      // The head of the frame behind this one has been copied in by now.
      pages.bytes.set(elsewhere, PAGE);
      pages.bytes.fill(0xee, PAGE + 14, PAGE + 1000);
    });
    join(liar, Uint8Array.of(2, 1, 2, 3, 4, 5));
    const third = new Watcher();
    join(third, elsewhere);
    const bytes = packetOf(2 * PAGE);
    post();
    other.push();
    put(packetOf(60, Uint8Array.of(2, 1, 2, 3, 4, 5)), fullParts(60));
    put(bytes, fullParts(2 * PAGE), 1);
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([okay, okay, okay]);
    expect(liar.received).to.have.length(1);
    expect(third.received).to.deep.equal([]);
    const expected = Uint8Array.from(bytes);
    expected.fill(0xee, 128, 1000);
    expect(Buffer.compare(Uint8Array.from(bytesOf(other.arrivals())), expected)).to.equal(0);
    expect(lists).to.equal(1);
    await Promise.all([vif.close(), other.close()]);
  });

  it('is its sender’s fault when a page of it is revoked in between: its packet is refused, and no other', async () => {
    const domid = await setUp();
    const { other, post, bytesOf } = await receiver(domid, 16);
    const revoked = vif.share1();
    const meddler = new Watcher(() => revoked[Symbol.dispose]());
    join(meddler, Uint8Array.of(2, 1, 2, 3, 4, 5));
    const bytes = packetOf(2 * PAGE);
    post();
    other.push();
    put(packetOf(60, Uint8Array.of(2, 1, 2, 3, 4, 5)), fullParts(60));
    pages.bytes.set(bytes.subarray(0, PAGE), PAGE);
    vif.put({ gref: pages.refs[1] as GrantRef, flags: flag.more, size: 2 * PAGE });
    vif.put({ gref: revoked.ref, size: PAGE });
    put(bytes, fullParts(2 * PAGE), 2);
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([okay, error, error, okay, okay]);
    expect(vifOf(0).statistics.dropped['bad-grant']).to.equal(1);
    expect(vifOf(1).statistics.dropped['bad-grant']).to.equal(0);
    const came = other.arrivals();
    expect(came.map(({ status }) => status)).to.deep.equal([PAGE, error, PAGE, PAGE]);
    expect(Buffer.compare(Uint8Array.from(bytesOf(came.slice(2), 2)), bytes)).to.equal(0);
    await Promise.all([vif.close(), other.close()]);
  });

  it('is its receiver’s fault when a buffer of it is none: its sender is answered as ever', async () => {
    const domid = await setUp();
    const { other, post, bytesOf } = await receiver(domid, 16, 1);
    const bytes = packetOf(3 * PAGE);
    post();
    other.push();
    put(bytes, fullParts(3 * PAGE));
    put(bytes, fullParts(3 * PAGE), 4);
    await vif.turn();
    expect(vif.statuses()).to.deep.equal(new Array(6).fill(okay));
    expect(vifOf(0).statistics.dropped['bad-grant']).to.equal(0);
    expect(vifOf(1).statistics.dropped['bad-grant']).to.equal(1);
    const came = other.arrivals();
    expect(came.map(({ status }) => status)).to.deep.equal([PAGE, error, PAGE, PAGE, PAGE, PAGE]);
    expect(Buffer.compare(Uint8Array.from(bytesOf(came.slice(3), 3)), bytes)).to.equal(0);
    await Promise.all([vif.close(), other.close()]);
  });

  for (const ends of ['two guests', 'one guest at both ends']) {
    it(`is answered slot for slot by what each page allows, whatever becomes of it in between, with ${ends}`, async () => {
      const domid = await setUp();
      const { machine } = rig();
      let sender = vif;
      let made: RawVif | undefined;
      if (ends !== 'two guests') {
        const guest = await machine.guest('both');
        const options = { backend: domid, mtu: 65000 };
        sender = await RawVif.connect(machine, guest, options);
        made = await RawVif.connect(machine, guest, { ...options, devid: 1, mac: '00:16:3e:77:77:77' });
      }
      const { other, into } = await receiver(domid, 24, undefined, made);
      const toRevoke: SharedPage[] = [];
      const meddler = new Watcher(() => {
        for (const page of toRevoke) page[Symbol.dispose]();
      });
      join(meddler, elsewhere);
      const kind = fc.oneof({ weight: 8, arbitrary: fc.constant('good') }, fc.constantFrom('none', 'revoked'));
      const plan = fc.record({
        packets: fc.array(fc.array(kind, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 5 }),
        revokedAt: fc.nat(4),
        noBuffers: fc.uniqueArray(fc.nat(23), { maxLength: 4 }),
      });
      const run = async ({ packets, revokedAt, noBuffers }: typeof plan extends fc.Arbitrary<infer T> ? T : never) => {
        for (const [i, ref] of into.refs.entries()) other.post(noBuffers.includes(i) ? 0x00ffffff : ref);
        other.push();
        const kept: SharedPage[] = [];
        const share = (bytes: Uint8Array, among = kept): number => {
          const page = sender.share1();
          page.bytes.set(bytes);
          among.push(page);
          return page.ref;
        };
        const statuses: number[] = [];
        const slots: { readonly status: number; readonly bytes: Uint8Array }[] = [];
        for (const [i, kinds] of packets.entries()) {
          if (i === Math.min(revokedAt, packets.length - 1)) {
            sender.put({ gref: share(packetOf(60, elsewhere)), size: 60 });
            statuses.push(okay);
          }
          const bytes = packetOf(kinds.length * PAGE);
          for (const [j, how] of kinds.entries()) {
            const part = bytes.subarray(j * PAGE, (j + 1) * PAGE);
            const gref = how === 'none' ? 0x00fffff0 : share(part, how === 'revoked' ? toRevoke : kept);
            const flags = j < kinds.length - 1 ? flag.more : 0;
            sender.put({ gref, flags, size: j === 0 ? bytes.length : PAGE });
            statuses.push(kinds.every((one) => one === 'good') ? okay : error);
            // Without its head it goes nowhere.
            if (kinds[0] === 'none') continue;
            slots.push({ status: how === 'good' && !noBuffers.includes(slots.length) ? PAGE : error, bytes: part });
          }
        }
        await sender.turn();
        expect(sender.statuses()).to.deep.equal(statuses);
        const came = other.arrivals();
        expect(came.map(({ status }) => status)).to.deep.equal(slots.map(({ status }) => status));
        for (const [i, { status, bytes }] of slots.entries()) {
          const buffer = into.bytes.subarray(i * PAGE, (i + 1) * PAGE);
          if (status > 0) expect(Buffer.compare(buffer, bytes), `slot ${i}`).to.equal(0);
        }
        toRevoke.length = meddler.received.length = 0;
        expect([into, ...kept].map(({ inUse }) => inUse)).not.to.include(true);
        for (const page of kept) page[Symbol.dispose]();
        other.rxProd -= 24 - came.length;
      };
      await fc.assert(fc.asyncProperty(plan, run), { numRuns: 50 });
      expect(log).to.deep.equal(log.filter((line) => line.startsWith('drops a frame: bad-grant')));
      expect(lists).to.be.above(0);
      await Promise.all([...new Set([vif, sender, other])].map((one) => one.close()));
    });
  }

  it('takes no page to find out whose fault it was: a backend that has none left answers both of them', async () => {
    const domid = await setUp();
    const { other, post, bytesOf } = await receiver(domid, 16, 1);
    const bytes = packetOf(3 * PAGE);
    post();
    other.push();
    put(bytes, fullParts(3 * PAGE));
    pages.bytes.set(bytes, 4 * PAGE);
    vif.put({ gref: pages.refs[4] as GrantRef, flags: flag.more, size: 2 * PAGE });
    const revoked = vif.share1();
    vif.put({ gref: revoked.ref, size: PAGE });
    const meddler = new Watcher(() => revoked[Symbol.dispose]());
    join(meddler, elsewhere);
    put(packetOf(60, elsewhere), fullParts(60), 8);
    const hoard = hoardPages();
    await vif.turn();
    for (const page of hoard) page[Symbol.dispose]();
    expect(vif.statuses()).to.deep.equal([okay, okay, okay, error, error, okay]);
    expect(vifOf(0).statistics.dropped['bad-grant']).to.equal(1);
    expect(vifOf(1).statistics.dropped['bad-grant']).to.equal(1);
    const came = other.arrivals();
    expect(came.map(({ status }) => status)).to.deep.equal([PAGE, error, PAGE, PAGE, error]);
    expect(Buffer.compare(Uint8Array.from(bytesOf(came.slice(2, 3), 2)), bytes.subarray(2 * PAGE))).to.equal(0);
    await Promise.all([vif.close(), other.close()]);
  });

  it('is copied in whole for a port that is no guest’s, for who looks on at its receiver, and for several receivers', async () => {
    const domid = await setUp();
    const { other, post, bytesOf } = await receiver(domid, 16);
    const watcher = new Watcher();
    join(watcher, elsewhere);
    const first = packetOf(8999, everybody);
    post();
    other.push();
    put(first, fullParts(first.length));
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([okay, okay, okay]);
    expect(watcher.received.splice(0)).to.deep.equal([first]);
    expect(Buffer.compare(Uint8Array.from(bytesOf(other.arrivals())), first)).to.equal(0);
    const seen: Uint8Array[] = [];
    const looking = vifOf(1).passing$.subscribe(({ frame }) => seen.push(frame.copy()));
    const toWatcher = packetOf(9000, elsewhere);
    const toAll = packetOf(9001, everybody);
    const toGuest = packetOf(9002);
    for (const [i, bytes] of [toGuest, toAll, toWatcher].entries()) put(bytes, fullParts(bytes.length), 4 * i);
    await vif.turn();
    expect(vif.statuses()).to.deep.equal(new Array(9).fill(okay));
    expect(watcher.received).to.deep.equal([toAll, toWatcher]);
    expect(seen).to.deep.equal([toGuest, toAll]);
    const came = other.arrivals();
    expect(Buffer.compare(Uint8Array.from(bytesOf(came, 3)), Buffer.concat([toGuest, toAll]))).to.equal(0);
    expect(lists).to.equal(0);
    looking.unsubscribe();
    await Promise.all([vif.close(), other.close()]);
  });

  it('is whole for who begins to look on at its sender while it is on its way', async () => {
    const domid = await setUp();
    const { other, post, bytesOf } = await receiver(domid, 16);
    post();
    other.push();
    const seen: Uint8Array[] = [];
    const looking = new Subscription();
    join(
      new Watcher(() => looking.add(vifOf(0).passing$.subscribe(({ frame }) => seen.push(frame.copy())))),
      elsewhere,
    );
    const bytes = packetOf(2 * PAGE);
    put(packetOf(60, elsewhere), fullParts(60));
    put(bytes, fullParts(bytes.length), 1);
    await vif.turn();
    looking.unsubscribe();
    expect(vif.statuses()).to.deep.equal([okay, okay, okay]);
    expect(seen).to.deep.equal([bytes]);
    expect(Buffer.compare(Uint8Array.from(bytesOf(other.arrivals())), bytes)).to.equal(0);
    await Promise.all([vif.close(), other.close()]);
  });

  it('that has to wait for buffers is as it was when it was taken, whatever becomes of its sender’s pages', async () => {
    const domid = await setUp();
    const { other, post, bytesOf } = await receiver(domid, 16);
    const bytes = packetOf(5 * PAGE);
    put(bytes, fullParts(bytes.length));
    await vif.turn();
    expect(vif.statuses()).to.deep.equal(new Array(5).fill(okay));
    pages.bytes.fill(0);
    post();
    await other.turn();
    expect(Buffer.compare(Uint8Array.from(bytesOf(other.arrivals())), bytes)).to.equal(0);
    await Promise.all([vif.close(), other.close()]);
  });

  it('whose page cannot be copied when it is fetched goes nowhere, and its sender is told', async () => {
    await setUp();
    const watcher = new Watcher();
    join(watcher, elsewhere);
    const bytes = packetOf(2 * PAGE, elsewhere);
    pages.bytes.set(bytes);
    vif.put({ gref: pages.refs[0] as GrantRef, flags: flag.more, size: 2 * PAGE });
    vif.put({ gref: 0x00ffffff, size: PAGE });
    put(packetOf(60, elsewhere), fullParts(60), 4);
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([error, error, okay]);
    expect(watcher.received).to.deep.equal([packetOf(60, elsewhere)]);
    expect(vifOf(0).statistics.dropped['bad-grant']).to.equal(1);
    await vif.close();
  });

  it('may have headers longer than what is copied in of it: its checksum is looked for in all of it', async () => {
    const domid = await setUp();
    const seen = await station(domid, { mtu: 65000 });
    seen.nic.send(frameOf({ to: seen.mac, from: seen.mac, length: 60, fill: 1 }));
    const bytes = packetOf(6000, seen.mac);
    write16(bytes, 12, 0x86dd);
    bytes[14] = 0x60;
    write16(bytes, 18, 6000 - 54);
    bytes.set([60, 64], 20); // destination options, 16 times 8 bytes of them
    bytes.set([17, 15], 54);
    const headers = new Headers();
    expect(headers.parse(bytes, 0, bytes.length)).to.equal(true);
    expect(headers.transport).to.be.above(128);
    expect(headers.parse(bytes, 0, bytes.length, 128)).to.equal(false);
    expect(headers.short).to.equal(true);
    expect(headers.parse(bytes, 0, bytes.length)).to.equal(true);
    writeBlankChecksum(bytes, headers);
    put(bytes, fullParts(bytes.length), 0, flag.csumBlank);
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([okay, okay]);
    await seen.came(1);
    expect(seen.received).to.deep.equal([bytes]);
    await Promise.all([vif.close(), seen.nic.close()]);
  });
});
