import type { Observable, Subscription } from 'rxjs';
import type { DeviceInfo } from './device-info.js';
import type { FrontGrants } from './peer-grants.js';
import type { AnyProtocol, BackendValues, FrontendValues, IdOf, OfferValues, ToolstackValues } from './protocol.js';
import type { FrontEnd, RequestingRing } from './rings.js';

/** A frontend's rings: `ring` where its class has one; else each by its name, in `queues` where there may be several of all. */
type FrontRings<P extends AnyProtocol> = P extends { readonly rings: infer W }
  ? P extends { readonly queues: object }
    ? { readonly queues: readonly { readonly [N in keyof W]: FrontEnd<W[N]> }[] }
    : { readonly [N in keyof W]: FrontEnd<W[N]> }
  : RequestingRing<P['ring']['request'], P['ring']['response'], IdOf<P['ring']>>;

/** What a connected frontend is handed. */
export type FrontLink<P extends AnyProtocol> = FrontLinkBase<P> & FrontRings<P>;

/** What a connected frontend is handed besides its rings. */
export interface FrontLinkBase<P extends AnyProtocol> {
  readonly protocol: P;
  readonly grants: FrontGrants;
  /** What the backend wrote, always as it is now. */
  readonly peer: BackendValues<P>;
  /** The same at each moment: now, and whenever the backend announces a change by writing Connected again; completes with the link. */
  readonly peer$: Observable<BackendValues<P>>;
  /** What this end wrote. */
  readonly own: FrontendValues<P>;
  /** What the toolstack wrote into this end's directory. */
  readonly toolstack: ToolstackValues<P, 'frontend'>;
  readonly device: DeviceInfo;
  /** Ends with the link, before its ring and grants do. */
  readonly subscription: Subscription;
  /** Closes the device for good: resolves when the backend has let go and all is given back. */
  readonly close: () => Promise<void>;
}

/** What a frontend may decide by before its rings exist. */
export interface FrontNegotiation<P extends AnyProtocol> {
  /** What the backend offers. */
  readonly offered: OfferValues<P>;
  readonly toolstack: ToolstackValues<P, 'frontend'>;
  readonly device: DeviceInfo;
}
