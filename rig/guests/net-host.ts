// What a guest runs: a host of ours on its interface, which answers dom0's pings and echoes datagrams. It pings dom0 and has datagrams echoed
// by it, then waits for SIGTERM, closes the interface and says what it saw.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Clock } from '../../core/index.js';
import type { NicStatistics } from '../../drivers/net/index.js';
import { Host, UDP_HEADERS } from '../../examples/net/host.js';
import { parseIpv4 } from '../../examples/net/ipv4.js';
import { openInterface, tell } from './interface.js';
import {
  DATAGRAM_SIZES,
  DOM0_ADDRESS,
  ECHO_PORT,
  FLOW_PORT,
  FLOWS,
  GUEST_ADDRESS,
  PING_SIZES,
  SINK_PORT,
} from './net-plan.js';

/** How long an echo is waited for, in ms. */
const PATIENCE = 5000;

/** What this program says at its end. */
export interface HostReport extends NicStatistics {
  readonly pinged: number;
  /** Datagrams that dom0 echoed, byte for byte. */
  readonly echoed: number;
  readonly offloads: Readonly<Record<string, boolean>>;
  readonly udp: { readonly unknown: number; readonly validated: number; readonly blank: number };
  /** By queue. */
  readonly queues: readonly { readonly sent: number; readonly received: number }[];
  readonly left: object;
}

const ended = once(process, 'SIGTERM');
const { xen, nic, tally, close } = await openInterface({ queues: 2 });
const host = new Host(nic, xen.domain.get(Clock), parseIpv4(GUEST_ADDRESS));
const dom0 = parseIpv4(DOM0_ADDRESS);
const send = async (port: number, source: number, data: Uint8Array): Promise<void> => {
  const frame = host.datagram(await host.resolve(dom0), dom0, port, source, data.length);
  frame.set(data, UDP_HEADERS);
  await host.send([frame]);
};
host.bind(ECHO_PORT, ({ port, data }) => void send(port, ECHO_PORT, data.slice()));
tell({ connected: nic.mtu });

let pinged = 0;
for (const size of PING_SIZES) {
  for (let i = 0; i < 5; i++) await host.ping(dom0, ++pinged, size);
}

let echoed = 0;
const isEchoed = (data: Uint8Array, source: number): Promise<boolean> =>
  new Promise((resolve) => {
    const late = setTimeout(() => resolve(false), PATIENCE);
    host.bind(source, (datagram) => {
      clearTimeout(late);
      resolve(Buffer.compare(datagram.data, data) === 0);
    });
    void send(ECHO_PORT, source, data);
  });
for (let flow = 0; flow < FLOWS; flow++) {
  for (const size of DATAGRAM_SIZES) if (await isEchoed(randomBytes(size), FLOW_PORT + flow)) echoed++;
}

// One datagram whose checksum is wrong, and nobody says that it is right: dom0's kernel is to find it out.
const wrong = host.datagram(await host.resolve(dom0), dom0, SINK_PORT, FLOW_PORT, 100);
wrong[UDP_HEADERS - 2] = 0x12;
wrong[UDP_HEADERS - 1] = 0x34;
await nic.sendAll([wrong]);

tell({ done: true });
await ended;
const { udp } = tally;
const { offloads, queueStatistics: queues, statistics } = nic;
host[Symbol.dispose]();
const left = await close();
const report: HostReport = { ...statistics, pinged, echoed, offloads: { ...offloads }, udp, queues, left };
tell(report);
process.exit(0);
