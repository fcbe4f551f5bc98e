import type { PacketShape, RingFormat } from '../abi/ring.js';
import type { Struct, View } from '../abi/struct.js';
import type { CreditSender } from './credit.js';
import type { PacketReceiver } from './packet-responses.js';
import type { PacketSender } from './packet-sender.js';
import type { PacketPosts } from './posted.js';
import type { RequestRing } from './request-ring.js';
import type { Serve } from './responses.js';
import type { Drain, Slots } from './slots.js';

/** A ring on which the frontend sends packets of several slots, each of which is answered (netif tx). */
export interface PacketRing<
  Q extends Struct = Struct,
  R extends Struct = Struct,
  Id extends string = string,
  X extends Struct = Struct,
> extends RingFormat<Q, R, Id> {
  readonly kind: 'packets';
  readonly packet: PacketShape<X>;
  /** Whether a response answers an extra, and names no request. */
  readonly isExtra: (response: View<R, Id>) => boolean;
  /** Responses that the frontend lets come before it is notified, 1 without it. */
  readonly holdOff?: number;
}

/** A ring on which the frontend posts buffers, and the backend answers with packets of several slots, in the buffers' order (netif rx). */
export interface CreditRing<Q extends Struct = Struct, R extends Struct = Struct, X extends Struct = Struct>
  extends RingFormat<Q, R, never> {
  readonly kind: 'credit';
  readonly packet: PacketShape<X>;
}

type MemberOf<S extends Struct> = keyof S['fields'] & string;

/** Declares a ring on which the frontend sends packets. */
export const packetRing = <
  Q extends Struct,
  R extends Struct,
  X extends Struct,
  const Id extends MemberOf<Q> & MemberOf<R>,
>(
  format: Omit<PacketRing<Q, R, Id, X>, 'kind' | 'id'> & { readonly id: Id },
): PacketRing<Q, R, Id, X> => ({ ...format, kind: 'packets' });

/** Declares a ring on which the frontend posts buffers for packets. */
export const creditRing = <Q extends Struct, R extends Struct, X extends Struct>(
  format: Omit<CreditRing<Q, R, X>, 'kind' | 'id'>,
): CreditRing<Q, R, X> => ({ ...format, kind: 'credit' });

/** The rings of a device class that has several, by their names in the keys: `tx` is named by `tx-ring-ref`. */
// biome-ignore lint/suspicious/noExplicitAny: a packet ring's isExtra takes its own response, so no one parameter type fits all
export type RingSet = { readonly [name: string]: PacketRing<any, any, any, any> | CreditRing<any, any, any> };

/** What a frontend has of one ring of several. */
export type FrontEnd<S> =
  S extends PacketRing<infer Q, infer R, infer Id, infer _X>
    ? PacketSender<Q, R, Id>
    : S extends CreditRing<infer Q, infer R, infer X>
      ? PacketPosts<Q, R, X>
      : never;

/** What a backend has of one ring of several. */
export type BackEnd<S> =
  S extends PacketRing<infer Q, infer R, infer Id, infer X>
    ? PacketReceiver<Q, R, Id, X>
    : S extends CreditRing<infer Q, infer R, infer _X>
      ? CreditSender<Q, R>
      : never;

/** A backend's verbs on the one ring of a device class that has one. */
export interface ServedRing<Q extends Struct, R extends Struct, Id> {
  /** Answers each request by one response; an error thrown becomes the protocol's refusal with its errno. */
  readonly serve: (handler: Serve<Q, R, Id>) => void;
  /** Takes whole batches of requests and answers them in its own time. */
  readonly drain: (handler: Drain<Q, R, Id>) => Slots<Q, R, Id>;
}

/** A frontend's verbs on the one ring of a device class that has one. */
export interface RequestingRing<Q extends Struct, R extends Struct, Id> {
  /** Sends requests; those outstanding when the link ends reject with Disconnected or PeerFault. */
  readonly ring: RequestRing<Q, R, Id>;
}
