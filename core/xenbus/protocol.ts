import { abis } from '../abi/layout.js';
import { NOTED_WORDS } from '../abi/response-journal.js';
import type { RingFormat } from '../abi/ring.js';
import { type Draft, layoutOf, type Struct, type View } from '../abi/struct.js';
import type { Keys, KeyValues } from './keys.js';
import type { RingSet } from './rings.js';

type MemberOf<S extends Struct> = keyof S['fields'] & string;

/** Declares a shared ring: the two messages, and the field of both that pairs a response with its request. */
export const ring = <Q extends Struct, R extends Struct, const Id extends MemberOf<Q> & MemberOf<R> = never>(
  format: RingFormat<Q, R, Id>,
): RingFormat<Q, R, Id> => format;

/** The keys of a device class: by writer, then by the state in which they appear. */
export interface KeyTable {
  readonly backend?: { readonly InitWait?: Keys; readonly Connected?: Keys };
  readonly frontend?: { readonly Initialised?: Keys };
  /** Written by the toolstack when it creates the device, into the directory of the end named here. */
  readonly toolstack?: { readonly frontend?: Keys; readonly backend?: Keys };
}

/** What the two ends of a device class agree on. */
export interface Protocol<D extends string, S extends RingFormat, K extends KeyTable> {
  /** The class of device, as XenStore's directories are named: `vbd`, `vif`. */
  readonly device: D;
  readonly ring: S;
  readonly keys: K;
  /** Drafts the response to a request that the backend cannot carry out; the id is already there. */
  readonly refuse: (rsp: ResponseDraft<S>, errno: number, req: RequestView<S>) => void;
  /**
   * Whether a request may be carried out twice. A backend that is started anew then takes up the ring that the one before it left, and
   * carries out again what that had not answered; a frontend that is connected notices nothing (blkback `xen_blkif_map`). Only for a class
   * with one ring, whose responses are 16 bytes or less: the backend notes them in the ring's pad. A driver has to answer in the order of the
   * requests: a response that comes out of turn goes over a request that is not answered yet, and the next backend cannot know it.
   */
  readonly repeatable?: boolean;
}

/** How the two ends of a device class with several rings come by the number of its queues, each of which has all of the rings. */
export interface QueueKeys {
  /** The backend's key of InitWait that says how many it can: `multi-queue-max-queues`. */
  readonly offered: string;
  /** The frontend's key that says how many there are; of more than one the names are below `queue-N/`: `multi-queue-num-queues`. */
  readonly chosen: string;
}

/** What the two ends of a device class with several rings agree on. */
export interface RingsProtocol<
  D extends string,
  W extends RingSet,
  K extends KeyTable,
  M extends QueueKeys | undefined = undefined,
> {
  readonly device: D;
  readonly ring?: never;
  readonly repeatable?: never;
  readonly rings: W;
  readonly keys: K;
  readonly queues: M;
  /** The backend's key of InitWait by which it offers an event channel of its own for each ring: `feature-split-event-channels`. */
  readonly split: string | undefined;
  /** The state that the frontend goes to as it shares its rings: netfront goes right to Connected, and netback waits for that. */
  readonly shared: 'Initialised' | 'Connected';
}

/** Any device class. */
export interface AnyProtocol {
  readonly device: string;
  readonly keys: KeyTable;
  // biome-ignore lint/suspicious/noExplicitAny: refuse takes its own ring's response, so no one parameter type fits all classes
  readonly ring?: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly refuse?: any;
  readonly repeatable?: boolean;
  readonly rings?: RingSet;
  readonly queues?: QueueKeys | undefined;
  readonly split?: string | undefined;
  readonly shared?: 'Initialised' | 'Connected';
}

/**
 * Declares a device class with one ring.
 * @throws TypeError for a packet ring or one of credit, which belong under `rings`; where it is repeatable, and its responses are too long
 */
export function protocol<
  const D extends string,
  S extends RingFormat,
  const K extends KeyTable = Record<never, never>,
>(spec: {
  readonly device: D;
  readonly ring: S & { readonly kind?: never };
  readonly keys?: K;
  readonly refuse: (rsp: ResponseDraft<S>, errno: number, req: RequestView<S>) => void;
  readonly repeatable?: boolean;
}): Protocol<D, S, K>;
/** Declares a device class with several rings. @throws TypeError when it names keys that it does not declare, or would be repeatable */
export function protocol<
  const D extends string,
  const W extends RingSet,
  const K extends KeyTable,
  const M extends QueueKeys | undefined = undefined,
>(spec: {
  readonly device: D;
  readonly rings: W;
  readonly keys: K;
  readonly queues?: M;
  readonly split?: string;
  readonly shared?: 'Initialised' | 'Connected';
  readonly repeatable?: never;
}): RingsProtocol<D, W, K, M>;
export function protocol(spec: Partial<AnyProtocol> & { readonly device: string }): AnyProtocol {
  const keys = spec.keys ?? {};
  const { queues, split, device, repeatable = false } = spec;
  if (spec.rings === undefined) {
    checkOnlyRing(device, spec.ring, repeatable);
    return { ...spec, keys };
  }
  if (repeatable) throw new TypeError(`the protocol of ${device} has several rings, so it cannot be repeatable`);
  const { backend, frontend } = keys;
  for (const key of [queues?.offered, split]) {
    if (key !== undefined && backend?.InitWait?.[key] === undefined)
      throw new TypeError(`the protocol of ${device} declares no key ${key} of the backend's InitWait`);
  }
  if (queues !== undefined && frontend?.Initialised?.[queues.chosen] === undefined)
    throw new TypeError(`the protocol of ${device} declares no key ${queues.chosen} of the frontend`);
  return { ...spec, keys, queues, split, shared: spec.shared ?? 'Initialised' };
}

const checkOnlyRing = (device: string, format: RingFormat, repeatable: boolean): void => {
  if ('kind' in format)
    throw new TypeError(
      `the protocol of ${device} has a ring of ${format.kind}, which belongs under rings, by its name`,
    );
  if (!repeatable) return;
  const bytes = Math.max(...abis.map((abi) => layoutOf(format.response, abi).size));
  if (bytes <= 4 * NOTED_WORDS) return;
  const most = `a backend has room to note ${4 * NOTED_WORDS} bytes`;
  throw new TypeError(`${format.response.name} has ${bytes} bytes, and ${most}: ${device} cannot be repeatable`);
};

/** The name of a ring's pairing field, never for a ring without one. */
export type IdOf<S> = S extends RingFormat<Struct, Struct, infer Id> ? Id : never;

/** A ring's request as its receiver reads it: its id is the framework's. */
export type RequestView<S extends RingFormat> = View<S['request'], IdOf<S>>;
/** A ring's response as its sender writes it. */
export type ResponseDraft<S extends RingFormat> = Draft<S['response'], IdOf<S>>;

type Table<K, W extends 'backend' | 'frontend', P extends string> = K extends {
  readonly [X in W]: { readonly [Y in P]: infer T };
}
  ? T extends Keys
    ? T
    : Record<never, never>
  : Record<never, never>;
type ToolstackTable<K, E extends 'backend' | 'frontend'> = K extends {
  readonly toolstack: { readonly [X in E]: infer T };
}
  ? T extends Keys
    ? T
    : Record<never, never>
  : Record<never, never>;

/** The values that a backend offers before the rings exist. */
export type OfferValues<P extends AnyProtocol> = KeyValues<Table<P['keys'], 'backend', 'InitWait'>>;
/** The values that a backend publishes as it connects, and again when they change. */
export type PublishValues<P extends AnyProtocol> = KeyValues<Table<P['keys'], 'backend', 'Connected'>>;
/** All values that a backend writes. */
export type BackendValues<P extends AnyProtocol> = KeyValues<
  Table<P['keys'], 'backend', 'InitWait'> & Table<P['keys'], 'backend', 'Connected'>
>;
/** All values that a frontend writes. */
export type FrontendValues<P extends AnyProtocol> = KeyValues<Table<P['keys'], 'frontend', 'Initialised'>>;
/** The values that the toolstack wrote into the directory of one end. */
export type ToolstackValues<P extends AnyProtocol, E extends 'backend' | 'frontend'> = KeyValues<
  ToolstackTable<P['keys'], E>
>;
