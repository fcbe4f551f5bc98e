import { createHash, randomBytes } from 'node:crypto';
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { NicStatistics } from '../../drivers/net/index.js';
import { Guest } from '../dom0/guest.js';
import { GuestProgram } from '../dom0/guest-program.js';
import { nothingLeftOf } from '../dom0/leftovers.js';
import { NetbackVif, snmp } from '../dom0/netback.js';
import { check, run, same, until } from '../dom0/shell.js';
import type { HostReport } from '../guests/net-host.js';
import {
  BULK_BYTES,
  BULK_PORT,
  DATAGRAM_SIZES,
  DOM0_ADDRESS,
  DOM0_ADDRESS6,
  ECHO_PORT,
  FLOWS,
  GUEST_ADDRESS,
  GUEST_ADDRESS6,
  LARGE_MTU,
  PING_SIZES,
  SINK_PORT,
  TAP,
} from '../guests/net-plan.js';
import type { SwitchReport } from '../guests/net-switch.js';

const MAC = '00:16:3e:00:00:01';
/** Pings of each size. */
const PINGS = 10;
/** How long an echo is waited for, in ms. */
const PATIENCE = 5000;

const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A UDP socket of dom0's. */
const socketAt = async (port: number): Promise<DatagramSocket> => {
  const socket = createSocket('udp4');
  socket.bind(port, DOM0_ADDRESS);
  await once(socket, 'listening');
  return socket;
};

/** Sends a datagram to the guest; whether it comes back, byte for byte. */
const isEchoed = (socket: DatagramSocket, data: Uint8Array): Promise<boolean> =>
  new Promise((resolve) => {
    const late = setTimeout(() => resolve(false), PATIENCE);
    socket.once('message', (echo) => {
      clearTimeout(late);
      resolve(echo.equals(data));
    });
    socket.send(data, ECHO_PORT, GUEST_ADDRESS);
  });

const equal = (what: string, one: number, other: number): void => same(what, String(one), String(other));

/** What no interface may have to tell at its end. */
const nothingWrong = ({ refused, errors, left }: HostReport | SwitchReport): void => {
  equal('packets that netback refused', refused, 0);
  equal('packets that our frontend refused', errors, 0);
  check(Object.keys(left).length === 0, `the guest has left ${JSON.stringify(left)}`);
};

/** Has dom0's kernel ping the guest, and waits until it has counted each answer: the program does not wait for late ones. */
const ping = async (size: number): Promise<void> => {
  const { InEchoReps: before = Number.NaN } = snmp('Icmp');
  await run('ping', '-q', '-c', String(PINGS), '-i', '0.1', '-M', 'do', '-s', String(size), GUEST_ADDRESS);
  let answers = 0;
  const all = (): true | undefined => {
    answers = (snmp('Icmp').InEchoReps ?? Number.NaN) - before;
    return answers === PINGS ? true : undefined;
  };
  await until(`${PINGS} answers to pings of ${size} bytes`, all, 15).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${answers} came`);
  });
};

/** dom0's kernel and a host of ours in the guest: pings and datagrams both ways, each within a slot and of several. */
const withHost = async (guest: Guest, vif: NetbackVif): Promise<void> => {
  const before = snmp('Udp');
  const echo = await socketAt(ECHO_PORT);
  echo.on('message', (data, { port, address }) => echo.send(data, port, address));
  const sink = await socketAt(SINK_PORT);
  const program = await GuestProgram.start(guest, 'net-host');
  await program.says(/connected/);
  for (const size of PING_SIZES) await ping(size);
  let echoed = 0;
  for (let flow = 0; flow < FLOWS; flow++) {
    const socket = await socketAt(0);
    for (const size of DATAGRAM_SIZES) if (await isEchoed(socket, randomBytes(size))) echoed++;
    socket.close();
  }
  await program.says(/done/);
  const { interrupts } = vif;
  const seen = await program.end<HostReport>();
  for (const socket of [echo, sink]) socket.close();
  const after = snmp('Udp');
  const grown = (name: string): number => (after[name] ?? Number.NaN) - (before[name] ?? Number.NaN);
  const all = FLOWS * DATAGRAM_SIZES.length;
  equal('datagrams that the guest echoed to dom0', echoed, all);
  equal('datagrams that dom0 echoed to the guest', seen.echoed, all);
  equal('pings of the guest that dom0 answered', seen.pinged, 5 * PING_SIZES.length);
  // Each of them came with its checksum blank, from Linux; ours did, and dom0's kernel took them all but for the one whose sum was wrong.
  check(
    seen.udp.blank >= 2 * all && seen.udp.unknown === 0,
    `datagrams came with checksums in these states: ${JSON.stringify(seen.udp)}`,
  );
  equal('datagrams that dom0 took', grown('InDatagrams'), 2 * all);
  equal('datagrams whose checksum dom0 found wrong', grown('InCsumErrors'), 1);
  check(seen.receivedSlots > seen.received && seen.sentSlots > seen.sent, 'no frame had several slots');
  check(
    seen.queues.length === 2 && seen.queues.every(({ sent, received }) => sent > 0 && received > 0),
    `its queues are used like this: ${JSON.stringify(seen.queues)}`,
  );
  // Each ring has an event channel of its own; those of tx are raised for each packet.
  const names = [...interrupts.keys()].sort().join(' ');
  same('the event channels of the vif', names, 'q0-rx q0-tx q1-rx q1-tx');
  check((interrupts.get('q0-tx') ?? 0) > 0 && (interrupts.get('q1-tx') ?? 0) > 0, 'a queue of the vif had no event');
  nothingWrong(seen);
};

/** Sends bytes to the guest by TCP; they are a file there. */
const sendBulk = async (guest: Guest, address: string, bytes: Uint8Array): Promise<void> => {
  await guest.sh(`rm -f /tmp/got; (nc -l -p ${BULK_PORT} > /tmp/got) > /dev/null 2>&1 &`);
  const listening = async (): Promise<Socket | undefined> => {
    const socket = connect({ port: BULK_PORT, host: address });
    return once(socket, 'connect').then(
      () => socket,
      () => undefined,
    );
  };
  const socket = await until('a connection to the guest', listening, 30);
  socket.end(bytes);
  socket.resume();
  let came = 0;
  const all = async (): Promise<true | undefined> => {
    came = Number(await guest.sh('wc -c < /tmp/got'));
    return came === bytes.length ? true : undefined;
  };
  await until('the end of what was sent to the guest', all, 90).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${came} bytes of ${bytes.length} came`);
  });
  socket.destroy();
  same('the sum of what came to the guest', (await guest.sh('sha256sum /tmp/got')).split(' ')[0] ?? '', sumOf(bytes));
};

/** Has the guest send that file back; resolves to the sum of what came. */
const bulkFrom = async (guest: Guest, address: string): Promise<string> => {
  const hash = createHash('sha256');
  const server = createServer((socket) => socket.on('data', (data) => hash.update(data))).listen(BULK_PORT, address);
  await once(server, 'listening');
  await guest.sh(`timeout 100 nc ${address} ${BULK_PORT} < /tmp/got`);
  server.close();
  await once(server, 'close');
  return hash.digest('hex');
};

/** Segments that a kernel's TCP hands on together, at least, though the emulated machine is slow: they take several slots. */
const SEGMENTS = 12;
const segmentsOf = `echo ${SEGMENTS} > /proc/sys/net/ipv4/tcp_min_tso_segs`;

/** dom0's TCP and that of the guest's kernel, which is on a bridge of ours by a TAP device. @param beforeEnd of the program */
const withKernel = async (
  guest: Guest,
  mode: keyof typeof BULK_BYTES,
  beforeEnd: () => Promise<void> = async () => {},
): Promise<SwitchReport> => {
  const program = await GuestProgram.start(guest, 'net-switch', mode);
  await program.says(/connected/);
  const add = (address: string): string => `ip addr add ${address} dev ${TAP}`;
  await guest.sh(`${segmentsOf}; ${add(`${GUEST_ADDRESS}/24`)}; ${add(`${GUEST_ADDRESS6}/64`)}`);
  const bytes = randomBytes(BULK_BYTES[mode]);
  let before = await program.ask<NicStatistics>();
  for (const [guests, dom0s] of [
    [GUEST_ADDRESS, DOM0_ADDRESS],
    [GUEST_ADDRESS6, DOM0_ADDRESS6],
  ] as const) {
    await sendBulk(guest, guests, bytes);
    same('the sum of what the guest sent back', await bulkFrom(guest, dom0s), sumOf(bytes));
    const after = await program.ask<NicStatistics>();
    const grown = (name: keyof NicStatistics): number => after[name] - before[name];
    const how = `packets between ${dom0s} and ${guests} went like this: ${JSON.stringify({ before, after })}`;
    check(grown('receivedLarge') > 0 && grown('receivedSlots') > grown('received'), how);
    if (mode === 'large') check(grown('sentLarge') > 0 && grown('sentSlots') > grown('sent'), how);
    else check(grown('sentLarge') === 0, how);
    before = after;
  }
  for (const [whose, text] of [
    ['dom0', undefined],
    ['the guest', await guest.sh('cat /proc/net/snmp')],
  ] as const)
    equal(`TCP segments whose checksum ${whose} found wrong`, snmp('Tcp', text).InCsumErrors ?? -1, 0);
  await beforeEnd();
  const seen = await program.end<SwitchReport>();
  nothingWrong(seen);
  return seen;
};

/** (e) Our frontend in a guest against Linux' own netback in dom0. */
export const netback = async (step: (text: string) => void): Promise<string> => {
  await NetbackVif.load(2);
  const guest = await Guest.create('netback', { node: true });
  const vif = await NetbackVif.attach(guest, {
    mac: MAC,
    addresses: [`${DOM0_ADDRESS}/24`, `${DOM0_ADDRESS6}/64`],
    mtu: LARGE_MTU,
  });
  await guest.start();
  // The pages of two queues are more than gntalloc shares by default.
  await guest.sh('echo 4096 > /sys/module/xen_gntalloc/parameters/limit');
  step(`guest ${guest.domid} is up, ${vif.name} is xen-netback's`);
  await withHost(guest, vif);
  step('pings and datagrams are done');
  await run('sh', '-c', segmentsOf);
  const large = await withKernel(guest, 'large');
  equal('large packets that our bridge cut where it need not', large.segmented, 0);
  step('TCP with large packets both ways is done');
  // Taken away while it is in use: our frontend follows netback.
  const whole = await withKernel(guest, 'whole', () => vif.detach());
  equal('large packets that our bridge cut', whole.segmented, whole.receivedLarge);
  await guest.destroy();
  await nothingLeftOf(guest);
  return [
    `our frontend at Linux' netback, two queues: ${PINGS * PING_SIZES.length} pings of dom0's and ${5 * PING_SIZES.length} of the guest's`,
    `${2 * FLOWS * DATAGRAM_SIZES.length} datagrams echoed, none lost`,
    `TCP over IPv4 and IPv6 between the kernels: ${large.receivedLarge} large packets from dom0, ${large.sentLarge} to it, ${whole.segmented} cut by our bridge`,
    'nothing is left',
  ].join('; ');
};
