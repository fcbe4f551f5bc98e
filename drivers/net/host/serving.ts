import { resolve } from 'node:path';
import type { BridgeCommandLine } from './bridge-command-line.js';
import { captureProblem } from './capture-folder.js';
import { tapProblem } from './tap.js';

/** What was given of {@link serving}'s options. */
interface Given {
  readonly pcap?: string | undefined;
  readonly tap?: string | undefined;
  readonly bridge?: string | undefined;
}

const named =
  (what: string) =>
  (text: string): string => {
    if (text === '') throw new RangeError(`it takes ${what}`);
    return text;
  };

/** What `splitring backend net` may be told: where captures go, and an uplink to the kernel. */
export const serving = {
  options: {
    pcap: {
      value: 'DIR',
      description: 'write what goes through the interfaces to a pcapng file in DIR, for Wireshark and tcpdump',
      parse: named('the path of a folder'),
    },
    tap: {
      value: 'NAME',
      description: 'make a Linux TAP device a port of a bridge of ours, so that this kernel is a station there',
      parse: named("a device's name"),
    },
    bridge: {
      value: 'NAME',
      description: 'the bridge that the TAP device is a port of (default: xenbr0)',
      parse: named("a bridge's name"),
    },
  },
  /** @throws Error that names the option and says what is wrong with it */
  check({ pcap, tap, bridge }: Given): void {
    if (bridge !== undefined && tap === undefined)
      throw new Error(`--bridge ${bridge} is for a TAP device: name one with --tap`);
    const problem = tap === undefined ? undefined : tapProblem({ name: tap });
    if (problem !== undefined) throw new Error(`--tap ${tap}: ${problem}`);
    const noCapture = pcap === undefined ? undefined : captureProblem(resolve(pcap));
    if (noCapture !== undefined) throw new Error(`--pcap ${pcap}: ${noCapture}`);
  },
  cmdline: ({ pcap, tap, bridge }: Given): BridgeCommandLine => ({
    pcap: pcap === undefined ? undefined : resolve(pcap),
    tap: tap === undefined ? undefined : { name: tap },
    name: bridge,
  }),
};
