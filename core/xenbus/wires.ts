import { type Abi, abis } from '../abi/layout.js';
import type { RingFormat } from '../abi/ring.js';
import type { GrantRef, Port } from '../abi/units.js';
import { type Keys, oneOf, uint } from './keys.js';
import type { AnyProtocol } from './protocol.js';
import type { CreditRing, PacketRing } from './rings.js';

/** One ring of a device class, by what its keys are called. */
export interface Wire {
  /** Its name; undefined for the only ring of its class, whose keys have no name in them. */
  readonly name: string | undefined;
  readonly format: RingFormat | PacketRing | CreditRing;
  /** `ring-ref`, `tx-ring-ref`. */
  readonly ref: string;
  /** The key of a channel of its own: `event-channel-tx`. */
  readonly channel: string;
}

/** The key of the channel that all rings of a queue share, or the only ring's. */
export const CHANNEL = 'event-channel';

/** The rings of a device class, or of each of its queues. */
export const wiresOf = ({ ring, rings }: AnyProtocol): readonly Wire[] =>
  rings === undefined
    ? [{ name: undefined, format: ring as RingFormat, ref: 'ring-ref', channel: CHANNEL }]
    : Object.entries(rings).map(([name, format]) => ({
        name,
        format,
        ref: `${name}-ring-ref`,
        channel: `${CHANNEL}-${name}`,
      }));

/** Where the keys of a queue's rings lie, below the frontend's directory: right there where there is one queue, else in `queue-N/`. */
export const prefixOf = (queue: number, queues: number): string => (queues === 1 ? '' : `queue-${queue}/`);

const ref = uint<GrantRef>({ max: 0xffffffff });
const port = uint<Port>({ min: 1, max: 0xffffffff });
/** Absent, 0. */
const portIfAny = uint<Port>({ default: 0, min: 1, max: 0xffffffff });

/** The keys by which a frontend names its rings. */
export const wireKeys = (protocol: AnyProtocol, queues: number): Keys => {
  const keys: Record<string, Keys[string]> = { protocol: oneOf(abis, { default: 'x86_64-abi' }) };
  const wires = wiresOf(protocol);
  for (let queue = 0; queue < queues; queue++) {
    const prefix = prefixOf(queue, queues);
    keys[`${prefix}${CHANNEL}`] = protocol.rings === undefined ? port : portIfAny;
    for (const wire of wires) {
      keys[`${prefix}${wire.ref}`] = ref;
      if (protocol.rings !== undefined) keys[`${prefix}${wire.channel}`] = portIfAny;
    }
  }
  return keys;
};

/** The ABI that a frontend's keys name. */
export const abiOf = (keys: Readonly<Record<string, unknown>>): Abi =>
  abis.find((known) => known === keys.protocol) ?? 'x86_64-abi';
