import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { captureProblem, parseMac, readCapture, sameMac, tapProblem, vifKeys } from 'splitring/drivers/net';
import { defineMachine, expectNothingLeft, type Output, size, toldKeys, wholeNumber } from 'splitring/machine';
import type { GuestCommandLine } from './guest.js';
import { NetReports } from './reports.js';

const bridgeModule = new URL('../../drivers/net/module.js', import.meta.url);
const guestModule = new URL('guest.js', import.meta.url);

/** A guest on the bridge. */
interface Station {
  readonly name: string;
  readonly address: string;
  readonly mac: string;
}

const alice: Station = { name: 'alice', address: '10.0.0.1', mac: '00:16:3e:00:00:01' };
const bob: Station = { name: 'bob', address: '10.0.0.2', mac: '00:16:3e:00:00:02' };
const MIB = 1024 * 1024;
const PINGS = 3;

export const machine = defineMachine(
  {
    summary: 'two guests on one bridge talk through the network driver: ARP, ping, a bulk transfer',
    options: {
      mac: {
        value: 'ADDRESS',
        description: "the first guest's Ethernet address",
        parse: (text) => {
          parseMac(text);
          return text;
        },
        default: alice.mac,
      },
      mtu: {
        value: 'BYTES',
        description: 'payload of the longest frame, 576 to 65000',
        parse: wholeNumber({ min: 576, max: 65000 }),
        default: 1500,
      },
      pcap: {
        value: 'DIR',
        description: 'write what goes through the interfaces to DIR/bridge.pcapng, for Wireshark and tcpdump',
        parse: (text) => {
          if (text === '') throw new RangeError('it takes the path of a folder');
          return text;
        },
      },
      tap: {
        value: 'NAME',
        description: 'make a Linux TAP device a port of the bridge too, and stay until SIGINT (needs root)',
        parse: (text) => text,
      },
      bridge: {
        value: 'NAME',
        description: 'the Linux bridge that the TAP device becomes a port of',
        parse: (text) => text,
      },
      replay: {
        value: 'FILE',
        description: 'play the packets of a pcap or pcapng file to the bridge',
        parse: (text) => text,
      },
      bulk: {
        value: 'MIB',
        description: 'how much the first guest sends to the second',
        parse: wholeNumber({ min: 1, max: 1_000_000 }),
        default: 64,
      },
    },
  },
  {
    check({ mac, tap, bridge, replay, pcap }) {
      if (sameMac(parseMac(mac), parseMac(bob.mac)))
        throw new Error(`--mac ${mac} is the other guest's: two stations with one address hear nothing of each other`);
      if (bridge !== undefined && tap === undefined)
        throw new Error(`--bridge ${bridge} is for a TAP device: name one with --tap`);
      const problem = tap === undefined ? undefined : tapProblem({ name: tap, bridge });
      if (problem !== undefined) throw new Error(`--tap ${tap}: ${problem}`);
      if (replay !== undefined) checkReplay(replay);
      const noCapture = pcap === undefined ? undefined : captureProblem(resolve(pcap));
      if (noCapture !== undefined) throw new Error(`--pcap ${pcap}: ${noCapture}`);
    },
    async run({ machine, options, out }) {
      const { mac, mtu, bulk, pcap, replay } = options;
      const reports = new NetReports(machine);
      const tap = options.tap === undefined ? undefined : { name: options.tap, bridge: options.bridge, mtu };
      const bridge = await machine.boot({
        name: 'bridge',
        module: bridgeModule,
        cmdline: { pcap: pcap && resolve(pcap), tap, replay },
      });
      if (tap !== undefined) out.row('tap', `${(await reports.next('tap')).name} is a port of the bridge`);
      const guests = await Promise.all(
        [
          { ...bob, peer: undefined },
          { ...alice, mac, peer: bob.address },
        ].map(async ({ name, address, mac, peer }) => {
          const cmdline: GuestCommandLine = { name, address, peer, pings: PINGS, bytes: bulk * MIB };
          const guest = await machine.boot({ name, module: guestModule, cmdline });
          const keys = vifKeys({ mac, mtu });
          return { guest, device: { device: 'vif', id: 0, frontend: guest, backend: bridge, keys } };
        }),
      );
      for (const { device } of guests) {
        await machine.toolstack.attach(device);
        const { guest, mac, features } = await reports.next('connected');
        out.row(guest, `${mac}, its bridge takes ${features}`);
      }
      for (const { device } of guests.slice(-1)) {
        const told = await toldKeys(machine, device);
        out.row('guest', told.frontend);
        out.row('bridge', told.backend);
      }
      await follow(reports, out, bulk * MIB);
      if (replay !== undefined) out.row('replay', `${(await reports.next('replayed')).packets} packets of ${replay}`);
      if (tap !== undefined) {
        out.row(
          'guests',
          `${alice.address} and ${bob.address} answer on ${tap.name}: give it an address, 10.0.0.9/24, and ping them; Ctrl-C ends this`,
        );
        await new Promise(() => {});
      }
      for (const { device, guest } of guests) {
        const ended = machine.shutdownOf(guest);
        if (!(await machine.toolstack.detach(device)))
          throw new Error('the bridge did not close an interface in time: its last state is in the lines above');
        await ended;
      }
      await expectNothingLeft(machine, out);
      if (pcap !== undefined)
        out.row('pcap', `${join(pcap, 'bridge.pcapng')}, ${size(statSync(join(pcap, 'bridge.pcapng')).size)}`);
      return true;
    },
  },
);

/** @throws Error that names a file which cannot be played */
const checkReplay = (path: string): void => {
  try {
    readCapture(readFileSync(path));
  } catch (error) {
    throw new Error(`--replay ${path}: ${reasonOf(error)}`);
  }
};

const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error ? error.code : undefined;
  const known: Readonly<Record<string, string>> = {
    ENOENT: 'there is no such file',
    EISDIR: 'it is a folder',
    ENOTDIR: 'it lies in no folder',
    EACCES: 'it may not be used',
  };
  return known[String(code)] ?? error.message;
};

/** Prints what the first guest does, as it does it. @throws when anything was lost, or wrong */
const follow = async (reports: NetReports, out: Output, bytes: number): Promise<void> => {
  const { address, mac, ms } = await reports.next('resolved');
  out.row('arp', `${address} is at ${mac}, ${ms.toFixed(1)} ms`);
  for (let i = 0; i < PINGS; i++) {
    const ping = await reports.next('ping');
    out.row('ping', `${ping.bytes} bytes, sequence ${ping.sequence}: ${ping.ms.toFixed(1)} ms`);
  }
  const sending = out.progress('bulk', bytes);
  const sent = await reports.next('sent', (report) => {
    if (report.event === 'sending') sending.update(report.bytes);
  });
  if (sent.lost > 0 || sent.wrong > 0)
    throw new Error(`of ${sent.datagrams} datagrams ${sent.lost} were lost and ${sent.wrong} came wrong`);
  sending.end(sent.ms);
  const rate = (sent.bytes * 8) / Math.max(sent.ms, 1e-3) / 1e6;
  out.row('bulk', `${sent.datagrams} datagrams, ${size(sent.bytes)}, none lost, ${rate.toFixed(1)} Gbit/s`);
};
