import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { Guest } from '../dom0/guest.js';
import { GuestProgram } from '../dom0/guest-program.js';
import { nothingLeftOf } from '../dom0/leftovers.js';
import { NetbackVif, snmp } from '../dom0/netback.js';
import { check, run, same } from '../dom0/shell.js';
import type { HostReport } from '../guests/net-host.js';
import {
  DATAGRAM_SIZES,
  DOM0_ADDRESS,
  ECHO_PORT,
  FLOWS,
  GUEST_ADDRESS,
  LARGE_MTU,
  PING_SIZES,
  SINK_PORT,
} from '../guests/net-plan.js';

const MAC = '00:16:3e:00:00:01';
/** How long an echo is waited for, in ms. */
const PATIENCE = 5000;

/** A UDP socket of dom0's. */
const socketAt = async (port: number): Promise<Socket> => {
  const socket = createSocket('udp4');
  socket.bind(port, DOM0_ADDRESS);
  await once(socket, 'listening');
  return socket;
};

/** Sends a datagram to the guest; whether it comes back, byte for byte. */
const isEchoed = (socket: Socket, data: Uint8Array): Promise<boolean> =>
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
const nothingWrong = ({ refused, errors, left }: Pick<HostReport, 'refused' | 'errors' | 'left'>): void => {
  equal('packets that netback refused', refused, 0);
  equal('packets that our frontend refused', errors, 0);
  check(Object.keys(left).length === 0, `the guest has left ${JSON.stringify(left)}`);
};

/** dom0's kernel and a host of ours in the guest: pings and datagrams both ways, each within a slot and of several. */
const withHost = async (guest: Guest, vif: NetbackVif): Promise<void> => {
  const before = snmp('Udp');
  const echo = await socketAt(ECHO_PORT);
  echo.on('message', (data, { port, address }) => echo.send(data, port, address));
  const sink = await socketAt(SINK_PORT);
  const program = await GuestProgram.start(guest, 'net-host');
  await program.says(/connected/);
  for (const size of PING_SIZES) {
    const said = await run('ping', '-q', '-c', '10', '-i', '0.1', '-M', 'do', '-s', String(size), GUEST_ADDRESS);
    check(/10 received, 0% packet loss/.test(said), `ping of ${size} bytes: ${said.replaceAll('\n', '; ')}`);
  }
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
  check(seen.severalSlots >= 2 * FLOWS, `${seen.severalSlots} frames came in several slots`);
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

/** (e) Our frontend in a guest against Linux' own netback in dom0. */
export const netback = async (step: (text: string) => void): Promise<string> => {
  await NetbackVif.load(2);
  const guest = await Guest.create('netback', { node: true });
  const vif = await NetbackVif.attach(guest, { mac: MAC, address: DOM0_ADDRESS, mtu: LARGE_MTU });
  await guest.start();
  // The pages of two queues are more than gntalloc shares by default.
  await guest.sh('echo 4096 > /sys/module/xen_gntalloc/parameters/limit');
  step(`guest ${guest.domid} is up, ${vif.name} is xen-netback's`);
  await withHost(guest, vif);
  await vif.detach();
  await guest.destroy();
  await nothingLeftOf(guest);
  return `our frontend at Linux' netback, two queues: ${10 * PING_SIZES.length} pings of dom0's and ${5 * PING_SIZES.length} of the guest's, ${2 * FLOWS * DATAGRAM_SIZES.length} datagrams echoed, none lost; nothing is left`;
};
