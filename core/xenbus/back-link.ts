import type { Subscription } from 'rxjs';
import type { DeviceInfo } from './device-info.js';
import type { BackGrants } from './peer-grants.js';
import type { AnyProtocol, BackendValues, FrontendValues, IdOf, PublishValues, ToolstackValues } from './protocol.js';
import type { Serve } from './responses.js';
import type { Drain, Slots } from './slots.js';

/** What a backend may decide by before a frontend connects. */
export interface BackOffer<P extends AnyProtocol> {
  /** What the toolstack wrote into this end's directory. */
  readonly toolstack: ToolstackValues<P, 'backend'>;
  readonly device: DeviceInfo;
  /** Ends with this life of the device: with the link when one comes about, else when the device goes. */
  readonly subscription: Subscription;
}

/** What a connected backend is handed. */
export interface BackLink<P extends AnyProtocol> extends BackOffer<P> {
  readonly protocol: P;
  /** Answers each request by one response; an error thrown becomes the protocol's refusal with its errno. */
  readonly serve: (handler: Serve<P['ring']['request'], P['ring']['response'], IdOf<P['ring']>>) => void;
  /** Takes whole batches of requests and answers them in its own time. */
  readonly drain: (
    handler: Drain<P['ring']['request'], P['ring']['response'], IdOf<P['ring']>>,
  ) => Slots<P['ring']['request'], P['ring']['response'], IdOf<P['ring']>>;
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
