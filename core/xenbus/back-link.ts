import type { Subscription } from 'rxjs';
import type { DeviceInfo } from './device-info.js';
import type { BackGrants } from './peer-grants.js';
import type { AnyProtocol, BackendValues, FrontendValues, IdOf, PublishValues, ToolstackValues } from './protocol.js';
import type { BackEnd, ServedRing } from './rings.js';

/** What a backend may decide by before a frontend connects. */
export interface BackOffer<P extends AnyProtocol> {
  /** What the toolstack wrote into this end's directory. */
  readonly toolstack: ToolstackValues<P, 'backend'>;
  readonly device: DeviceInfo;
  /** Ends with this life of the device: with the link when one comes about, else when the device goes. */
  readonly subscription: Subscription;
}

/** A backend's rings: its verbs where its class has one; else each ring by its name, in `queues` where there may be several of all. */
type BackRings<P extends AnyProtocol> = P extends { readonly rings: infer W }
  ? P extends { readonly queues: object }
    ? { readonly queues: readonly { readonly [N in keyof W]: BackEnd<W[N]> }[] }
    : { readonly [N in keyof W]: BackEnd<W[N]> }
  : ServedRing<P['ring']['request'], P['ring']['response'], IdOf<P['ring']>>;

/** What a connected backend is handed. */
export type BackLink<P extends AnyProtocol> = BackLinkBase<P> & BackRings<P>;

/** What a connected backend is handed besides its rings. */
export interface BackLinkBase<P extends AnyProtocol> extends BackOffer<P> {
  readonly protocol: P;
  readonly grants: BackGrants;
  /** What this end wrote, with what was published since. */
  readonly own: BackendValues<P>;
  /** What the frontend wrote. */
  readonly peer: FrontendValues<P>;
  /**
   * Sets keys of Connected. Before `connect` returns they go with the state, in one transaction; later they are written at once,
   * and Connected again, which tells the frontend to read them (blkif.h: a change of capacity).
   * @throws RangeError for a value that is none of its key's; TypeError for a key that Connected does not have
   */
  readonly publish: (values: Partial<PublishValues<P>>) => void;
}
