// What a guest runs: a bridge of ours between its interface and a TAP device, so that the guest's own kernel is on the network; `whole`
// leaves the kernel no large packets and no checksums. At SIGUSR2 it says
// what has gone through, at SIGTERM it closes the interface and says so in full.
import { once } from 'node:events';
import { Clock, GrantTable } from '../../core/index.js';
import { Bridge, NicPort, type NicStatistics, TapPort } from '../../drivers/net/index.js';
import { openInterface, tell } from './interface.js';
import { TAP } from './net-plan.js';

/** What this program says at its end. */
export interface SwitchReport extends NicStatistics {
  /** Large packets that the bridge cut for the TAP device. */
  readonly segmented: number;
  /** Frames that either port did not take. */
  readonly dropped: Readonly<Record<string, number>>;
  /** By queue. */
  readonly queues: readonly { readonly sent: number; readonly received: number }[];
  readonly left: object;
}

const ended = once(process, 'SIGTERM');
const { xen, nic, close } = await openInterface({ queues: 2 });
const grants = xen.domain.get(GrantTable);
const bridge = new Bridge(xen.domain.get(Clock), grants);
const nicPort = new NicPort('eth0', nic, bridge);
const tapPort = await TapPort.open({ name: TAP, offload: process.argv[2] !== 'whole' }, bridge, grants);
process.on('SIGUSR2', () => tell(nic.statistics));
tell({ connected: nic.mtu, offloads: tapPort.offloads });

await ended;
const dropped = Object.fromEntries(
  [nicPort, tapPort].flatMap(({ name, statistics }) =>
    Object.entries(statistics.dropped)
      .filter(([, count]) => count > 0)
      .map(([reason, count]) => [`${name} ${reason}`, count]),
  ),
);
const { segmented } = tapPort.statistics;
const { statistics, queueStatistics: queues } = nic;
for (const port of [nicPort, tapPort]) port[Symbol.dispose]();
const report: SwitchReport = { ...statistics, segmented, dropped, queues, left: await close() };
tell(report);
process.exit(0);
