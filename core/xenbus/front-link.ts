import type { Observable, Subscription } from 'rxjs';
import type { DeviceInfo } from './device-info.js';
import type { FrontGrants } from './peer-grants.js';
import type { AnyProtocol, BackendValues, FrontendValues, IdOf, OfferValues, ToolstackValues } from './protocol.js';
import type { RequestRing } from './requests.js';

/** What a connected frontend is handed. */
export interface FrontLink<P extends AnyProtocol> {
  readonly protocol: P;
  /** Sends requests; those outstanding when the link ends reject with Disconnected or PeerFault. */
  readonly ring: RequestRing<P['ring']['request'], P['ring']['response'], IdOf<P['ring']>>;
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
