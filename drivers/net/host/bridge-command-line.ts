import type { Plain } from '../../../core/index.js';

/** What a domain of bridges can be started with. */
export type BridgeCommandLine = {
  /** The folder that captures of its vifs go to. */
  readonly pcap?: string | undefined;
  /** A TAP device on the bridge `name`, `xenbr0` without it; with `offload` false it takes and gives whole frames alone. */
  readonly tap?:
    | {
        readonly name: string;
        readonly bridge?: string | undefined;
        readonly mtu?: number;
        readonly offload?: boolean;
      }
    | undefined;
  /** A capture whose packets are played to that bridge. */
  readonly replay?: string | undefined;
  /** Which bridge TAP device and capture are ports of. */
  readonly name?: string | undefined;
};

type Kind = 'string' | 'number' | 'boolean';

const tapKinds: Readonly<Record<string, Kind>> = {
  name: 'string',
  bridge: 'string',
  mtu: 'number',
  offload: 'boolean',
};
const kinds: Readonly<Record<string, Kind | typeof tapKinds>> = {
  pcap: 'string',
  tap: tapKinds,
  replay: 'string',
  name: 'string',
};

const check = (value: unknown, expected: Readonly<Record<string, Kind | typeof tapKinds>>, where: string): void => {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TypeError(`${where} is an object of ${Object.keys(expected).join(', ')}, not ${JSON.stringify(value)}`);
  for (const [key, one] of Object.entries(value)) {
    if (one === undefined) continue;
    const kind = Object.hasOwn(expected, key) ? expected[key] : undefined;
    if (kind === undefined)
      throw new TypeError(`${where} has no ${JSON.stringify(key)}; there are ${Object.keys(expected).join(', ')}`);
    if (typeof kind === 'object') check(one, kind, `${where}'s ${key}`);
    else if (typeof one !== kind) throw new TypeError(`${where}'s ${key} is a ${kind}, not ${JSON.stringify(one)}`);
  }
};

/** What the text of a domain's command line says; nothing where there is none. @throws TypeError that names what is wrong */
export const bridgeCommandLine = (value: Plain | undefined): BridgeCommandLine => {
  if (value === undefined || value === null) return {};
  check(value, kinds, "the bridges' command line");
  const options = value as BridgeCommandLine;
  if (options.tap !== undefined && options.tap.name === undefined)
    throw new TypeError("the bridges' command line's tap has no name");
  return options;
};
