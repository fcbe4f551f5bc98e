import { expect } from 'chai';
import { Clock, ContainerModule, connection, type Domain, serveDevices } from '../../core/index.js';
import { NetBackend } from '../../drivers/net/backend.js';
import { Bridges } from '../../drivers/net/bridge.js';
import { writeIpv4Checksum } from '../../drivers/net/checksum.js';
import { NetFrontend } from '../../drivers/net/frontend.js';
import { read16, write16 } from '../../drivers/net/headers.js';
import type { Nic, OutgoingFrame } from '../../drivers/net/nic.js';
import { vifKeys } from '../../drivers/net/vif-keys.js';
import { Host } from '../../examples/net/host.js';
import { internetChecksum, parseIpv4, showIpv4, write32 } from '../../examples/net/ipv4.js';
import { LocalMachine } from '../../platform/local/index.js';
import { packetOf } from '../drivers/net/packets.js';

const ADDRESS = '10.0.0.2'; // whom packetOf writes to
const PEER = '10.0.0.1';

describe('the small host of examples/net', () => {
  let machine: LocalMachine;
  let host: Host;
  let nic: Nic;
  let other: Nic;
  const heard: Uint8Array[] = [];

  const interfaceOf = async (bridge: Domain, name: string, mac: string): Promise<{ guest: Domain; nic: Nic }> => {
    const guest = await machine.guest(name);
    const keys = vifKeys({ mac });
    await machine.toolstack.attach({ device: 'vif', id: 0, frontend: guest.domid, backend: bridge.domid, keys });
    return { guest, nic: await connection(guest, NetFrontend) };
  };

  beforeEach(async () => {
    heard.length = 0;
    machine = await LocalMachine.create({ seed: 1, clock: 'simulated' });
    const bridge = await machine.guest('bridge');
    bridge.container.load(new ContainerModule(({ bind }) => void bind(Bridges).toSelf().inSingletonScope()));
    serveDevices(bridge, NetBackend);
    const one = await interfaceOf(bridge, 'host', '00:16:3e:00:00:02');
    nic = one.nic;
    host = new Host(nic, one.guest.get(Clock), parseIpv4(ADDRESS));
    other = (await interfaceOf(bridge, 'other', '00:16:3e:00:00:01')).nic;
    other.frames$.subscribe((batch) => {
      for (const frame of batch) heard.push(frame.copy());
    });
  });
  afterEach(async () => {
    host[Symbol.dispose]();
    await machine[Symbol.asyncDispose]();
  });

  /** Sends frames to the host; what it answers. */
  const say = async (...frames: readonly OutgoingFrame[]): Promise<readonly Uint8Array[]> => {
    heard.length = 0;
    other.send(...frames);
    await machine.idle();
    return heard;
  };
  const arp = (operation: number, sender: string, target: string): Uint8Array => {
    const bytes = new Uint8Array(60);
    bytes.set(new Uint8Array(6).fill(0xff), 0);
    bytes.set(other.mac, 6);
    for (const [at, value] of [
      [12, 0x0806],
      [14, 1],
      [16, 0x0800],
      [18, 0x0604],
      [20, operation],
    ] as const)
      write16(bytes, at, value);
    bytes.set(other.mac, 22);
    write32(bytes, 28, parseIpv4(sender));
    write32(bytes, 38, parseIpv4(target));
    return bytes;
  };
  /** An echo request of 20 bytes' data. */
  const echo = (change: (bytes: Uint8Array) => unknown = () => {}): Uint8Array => {
    const bytes = packetOf({ to: nic.mac, from: other.mac, payload: 8 });
    bytes[23] = 1;
    bytes.fill(0, 34);
    bytes[34] = 8;
    write16(bytes, 38, 0x1234);
    write16(bytes, 40, 7);
    write16(bytes, 36, internetChecksum(bytes, 34, bytes.length));
    change(bytes);
    writeIpv4Checksum(bytes, 14);
    return bytes;
  };

  it('answers who asks for its address, and nobody else (RFC 826)', async () => {
    expect(await say(arp(1, PEER, '10.0.0.3'))).to.deep.equal([]);
    const [answer = new Uint8Array(), ...more] = await say(arp(1, PEER, ADDRESS));
    expect(more).to.deep.equal([]);
    expect(answer.subarray(0, 6)).to.deep.equal(other.mac);
    expect([12, 14, 16, 18, 20].map((at) => read16(answer, at))).to.deep.equal([0x0806, 1, 0x0800, 0x0604, 2]);
    expect(answer.slice(22, 28)).to.deep.equal(nic.mac);
    expect(showIpv4(new DataView(answer.buffer).getUint32(28))).to.equal(ADDRESS);
    expect(answer.slice(32, 38)).to.deep.equal(other.mac);
    expect(showIpv4(new DataView(answer.buffer).getUint32(38))).to.equal(PEER);
  });

  it('remembers stations that spoke to it, not all that it overhears (RFC 826)', async () => {
    await say(arp(1, '10.0.0.77', '10.0.0.78'));
    const asked = host.resolve(parseIpv4('10.0.0.77')).catch((error: unknown) => String(error));
    await machine.idle();
    expect(heard.map((bytes) => read16(bytes, 12))).to.deep.equal([0x0806]);
    expect(await asked).to.match(/nobody answers for 10\.0\.0\.77/);
    await say(arp(1, PEER, ADDRESS));
    expect(await host.resolve(parseIpv4(PEER))).to.deep.equal(other.mac);
  });

  it('answers pings with what they held, and none that are damaged (RFC 792, RFC 1122)', async () => {
    const request = echo();
    const [answer = new Uint8Array()] = await say(request);
    expect(answer.slice(0, 12)).to.deep.equal(Uint8Array.from([...other.mac, ...nic.mac]));
    expect(answer[34]).to.equal(0);
    expect(answer.slice(38)).to.deep.equal(request.slice(38));
    expect(internetChecksum(answer, 34, answer.length)).to.equal(0);
    expect(internetChecksum(answer, 14, 34)).to.equal(0);
    const damaged = echo();
    damaged[24] = (damaged[24] as number) ^ 1;
    for (const [what, bytes] of [
      ['its data', echo((one) => one.fill(9, 45, 46))],
      ['its header', damaged],
      ['a length beyond the frame', echo((one) => write16(one, 16, 2000))],
      ['a header of 16 bytes', echo((one) => one.fill(0x44, 14, 15))],
      ['another address', echo((one) => one.fill(3, 33, 34))],
      ['a fragment', echo((one) => one.fill(0x20, 20, 21))],
    ] as const)
      expect(await say(bytes), what).to.deep.equal([]);
  });

  it('hands datagrams to who is bound to their port, unless their checksum is wrong', async () => {
    const came: string[] = [];
    host.bind(2000, ({ from, port, data }) => came.push(`${showIpv4(from)}:${port} ${data.length} bytes, ${data[1]}`));
    const options = { to: nic.mac, from: other.mac, protocol: 'udp', payload: 20 } as const;
    const wrong = packetOf(options);
    wrong[60] = (wrong[60] as number) ^ 1;
    const none = packetOf(options);
    write16(none, 40, 0);
    const elsewhere = packetOf(options);
    elsewhere[37] = 1;
    await say(packetOf(options), wrong, none, elsewhere);
    expect(came).to.deep.equal([`${PEER}:1000 20 bytes, 7`, `${PEER}:1000 20 bytes, 7`]);
    // Somebody vouches for these.
    await say({ bytes: wrong, checksum: 1 }, { bytes: packetOf({ ...options, blank: true }), checksum: 2 });
    expect(came).to.have.length(4);
  });
});
