import { existsSync, readFileSync } from 'node:fs';
import { Backend, splitring } from '../dom0/backend.js';
import { type Captured, readCaptured } from '../dom0/capture.js';
import { Guest } from '../dom0/guest.js';
import { nothingLeftOf } from '../dom0/leftovers.js';
import { loadModule } from '../dom0/modules.js';
import { snmp } from '../dom0/netback.js';
import { check, run, same } from '../dom0/shell.js';
import { bulk, datagrams, dom0At, pinged, type Station } from '../dom0/stations.js';

const FOLDER = '/tmp/capture';
const CAPTURE = `${FOLDER}/Domain-0.pcapng`;
const UPLINK = 'uplink0';
const QUEUES = 2;
const DATAGRAMS = [18, 500, 1000, 1472, 1473, 8000];
/** Pings of each size. */
const PINGS = 3;

/** A guest that is a host on the bridge. */
class LinuxStation implements Station {
  readonly address: string;

  constructor(
    readonly guest: Guest,
    readonly number: number,
  ) {
    this.address = `10.0.0.${number}`;
  }

  /** Makes a guest that does not run yet, with so many vCPUs. */
  static async create(number: number, vcpus: number): Promise<LinuxStation> {
    return new LinuxStation(await Guest.create(`station${number}`, { vcpus, tools: true }), number);
  }

  get name(): string {
    return this.guest.name;
  }

  /** Of the capture, which way this guest's interface saw a packet. */
  port(direction: 'tx' | 'rx'): string {
    return `vif${this.guest.domid}.0-${direction}`;
  }

  sh(line: string): Promise<string> {
    return this.guest.sh(line);
  }

  /** Gives it its interface, before it runs or later. */
  async attach(): Promise<void> {
    await splitring('attach', this.name, 'net', '--mac', `00:16:3e:00:00:0${this.number}`);
  }

  async hasInterface(): Promise<void> {
    const eth0 = 'i=0; while [ ! -e /sys/class/net/eth0 ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done';
    await this.sh(`${eth0}; ip link set eth0 up; ip addr add ${this.address}/24 dev eth0`);
  }

  /** What Linux has on by itself is on. */
  async hasOffloads(): Promise<void> {
    const said = await this.sh('ethtool -k eth0');
    for (const feature of ['tx-checksumming', 'scatter-gather', 'tcp-segmentation-offload'])
      check(new RegExp(`^${feature}: on$`, 'm').test(said), `${this.name} has ${feature} off: ${said}`);
  }

  /** Events of each ring's channel, by netfront's name for it. */
  async events(): Promise<ReadonlyMap<string, number>> {
    const lines = (await this.sh('grep vif0- /proc/interrupts')).split('\n').map((line) => line.trim().split(/\s+/));
    const sum = (words: readonly string[]): number =>
      words.filter((word) => /^\d+$/.test(word)).reduce((total, word) => total + Number(word), 0);
    return new Map(lines.map((words) => [(words.at(-1) ?? '').replace('vif0-', ''), sum(words)]));
  }

  /** Each queue has sent and received. */
  async usesQueues(): Promise<void> {
    const events = await this.events();
    same(`the channels of ${this.name}`, [...events.keys()].sort().join(' '), 'q0-rx q0-tx q1-rx q1-tx');
    for (const [name, count] of events) check(count > 1, `${this.name}: ${name} had ${count} events`);
  }
}

/** What a capture shows of a transfer between two guests. */
interface Shown {
  readonly blank: number;
  readonly gso: number;
  readonly severalSlots: number;
}

/**
 * Large packets that one guest sent come to the other whole, byte for byte, with the size of their segments and their checksums blank: neither
 * cut nor summed on the way.
 */
const forwardedWhole = (packets: readonly Captured[], from: LinuxStation, to: LinuxStation): Shown => {
  const sent = packets.filter((packet) => packet.interface === from.port('tx'));
  const isLarge = ({ comment }: Captured): boolean => /extra gso tcpv4, segments of 1448/.test(comment);
  const isTo = ({ bytes }: Captured): boolean => bytes[5] === to.number && bytes[11] === from.number;
  const large = sent.filter((packet) => isLarge(packet) && isTo(packet));
  const came = packets.filter((packet) => packet.interface === to.port('rx') && isLarge(packet) && isTo(packet));
  same('the large packets that came', String(came.length), String(large.length));
  for (const [i, { bytes, comment }] of large.entries()) {
    const other = came[i] as Captured;
    check(bytes.length > 1514, `a large packet has ${bytes.length} bytes`);
    check(Buffer.compare(bytes, other.bytes) === 0, `large packet ${i} came as other bytes`);
    for (const said of [comment, other.comment])
      check(/csum_blank.*extra_info.*checksum blank/.test(said), `large packet ${i}: ${said}`);
  }
  const blank = sent.filter(({ comment }) => /csum_blank/.test(comment)).length;
  const severalSlots = sent.filter(({ comment }) => Number(/slots (\d+)/.exec(comment)?.[1]) > 1).length;
  check(large.length > 10 && blank > large.length && severalSlots > 10, `${large.length}, ${blank}, ${severalSlots}`);
  return { blank, gso: large.length, severalSlots };
};

/** What a guest leaves unfinished is finished on its way to the uplink: cut into segments, whose sums dom0's kernel finds right. */
const finishedFor = async (dom0: Station, guest: LinuxStation): Promise<void> => {
  const frames = (): number => Number(readFileSync(`/sys/class/net/${UPLINK}/statistics/rx_packets`, 'utf8'));
  const [before, wrong] = [frames(), snmp('Tcp').InCsumErrors];
  const kib = await bulk(guest, dom0, 256);
  const came = frames() - before;
  check(came >= (kib * 1024) / 1448, `${kib} KiB came in ${came} frames, of more than a segment`);
  same('segments whose sum dom0 found wrong', String(snmp('Tcp').InCsumErrors), String(wrong));
};

/** A guest that takes nothing any more costs the others nothing, and goes on when it runs again. */
const whilePaused = async (one: LinuxStation, two: LinuxStation, dom0: Station): Promise<void> => {
  await run('xl', 'pause', two.name);
  // More than its ring and what waits for it hold.
  await one.sh(`head -c 900000 /dev/zero | nc.traditional -u -q 0 ${two.address} 7000`);
  await pinged(dom0, one, PINGS, 56);
  await bulk(one, dom0, 64);
  await run('xl', 'unpause', two.name);
  await one.sh(`ping -c 1 -w 20 ${two.address} > /dev/null`);
  await pinged(one, two, PINGS, 1400);
  await pinged(dom0, two, PINGS, 56);
};

/**
 * Two guests with Linux' netfront, of two queues each, and dom0's kernel on a bridge of ours: first while a capture is made, which shows how
 * frames go through, then without, when the bridge has Xen copy from one guest's pages into the other's.
 */
export const net = async (step: (text: string) => void): Promise<string> => {
  await loadModule('tun');
  const dom0 = dom0At('10.0.0.9');
  // The uplink takes nothing that is unfinished, so the bridge finishes it; scenario netback has one that does.
  const config = { cmdline: { tap: { name: UPLINK, offload: false } } };
  const serve = async (...options: readonly string[]): Promise<Backend> => {
    const backend = await Backend.start('net', config, ...options);
    await backend.says(new RegExp(`${UPLINK}.*port of the bridge`));
    await dom0.sh(`ip addr add ${dom0.address}/24 dev ${UPLINK}`);
    return backend;
  };
  let backend = await serve('--pcap', FOLDER);
  // netfront makes a queue for each vCPU, or as many as it is told.
  const one = await LinuxStation.create(1, QUEUES);
  await one.attach();
  const two = await LinuxStation.create(2, 1);
  await Promise.all([one.guest.start(), two.guest.start()]);
  await two.sh(`rmmod xen_netfront && insmod /modules/xen-netfront.ko max_queues=${QUEUES}`);
  await two.attach();
  for (const guest of [one, two]) {
    await guest.hasInterface();
    await guest.hasOffloads();
  }
  step('both guests are on the bridge');

  let pings = 0;
  await one.sh(`ping -c 1 -w 20 ${two.address} > /dev/null`);
  for (const size of [56, 1400, 8000]) pings += await pinged(one, two, PINGS, size);
  for (const size of [56, 8000]) pings += await pinged(two, one, PINGS, size);
  let sent = await datagrams(one, two, DATAGRAMS);
  sent += await datagrams(two, one, DATAGRAMS);
  step(`${pings} pings and ${sent} datagrams between the guests`);
  await bulk(one, two, 1024);
  await bulk(two, one, 256);
  const shown = forwardedWhole(readCaptured(CAPTURE), one, two);
  forwardedWhole(readCaptured(CAPTURE), two, one);
  for (const guest of [one, two]) await guest.usesQueues();
  step(
    `the capture has ${shown.gso} large packets, forwarded whole; ${shown.severalSlots} of several slots, ${shown.blank} with blank checksums`,
  );

  for (const size of [56, 1472, 8000]) {
    pings += await pinged(dom0, one, PINGS, size);
    pings += await pinged(two, dom0, PINGS, size);
  }
  sent += await datagrams(dom0, one, DATAGRAMS);
  sent += await datagrams(one, dom0, DATAGRAMS);
  await finishedFor(dom0, one);
  await bulk(dom0, one, 256);
  step("dom0's kernel is on the bridge, too");

  for (const { name } of [one, two]) await splitring('detach', name, 'net');
  await backend.end();
  backend = await serve();
  const idle = await backend.holdings();
  for (const guest of [one, two]) {
    await guest.attach();
    await guest.hasInterface();
  }
  await one.sh(`ping -c 1 -w 20 ${two.address} > /dev/null`);
  const start = performance.now();
  await bulk(one, two, 2048);
  step(`2 MiB by TCP without a capture, with its sums in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  sent += await datagrams(two, one, DATAGRAMS);
  await whilePaused(one, two, dom0);
  step('a guest that was paused goes on, the others went on meanwhile');

  for (const { guest } of [one, two]) {
    await guest.destroy();
    await nothingLeftOf(guest);
  }
  // What cuts packets for the uplink keeps its pages, one run of them, while the bridge has a port.
  await backend.holdsNothing(idle, 'pages');
  const { pages = 0 } = await backend.holdings();
  check(pages <= (idle.pages ?? 0) + 1, `the backend holds ${pages} pages instead of ${idle.pages}`);
  await backend.end();
  check(!existsSync(`/sys/class/net/${UPLINK}`), `${UPLINK} is left`);
  return `two guests with Linux' netfront, two queues each, and dom0's kernel on our bridge: ${pings} pings and ${sent} datagrams, none lost; ${shown.gso} packets of several segments forwarded whole; 2 MiB by TCP; one went on after a pause`;
};
