import type { Observable } from 'rxjs';
import type { Domid } from '../abi/units.js';

/** What a domain may do with a node: read, write, both or none (xs_lib.h). */
export type Access = 'r' | 'w' | 'b' | 'n';

/** One entry of a node's permissions; the first names the owner, and what everyone else may do. */
export interface Permission {
  readonly domid: Domid;
  readonly access: Access;
}

/**
 * Reads and writes on the store. Values are text (UTF-8). A path is absolute, or relative to this domain's own
 * `/local/domain/<domid>`.
 */
export interface StoreOperations {
  /** A node's value; undefined where there is no node. @throws XenError EACCES, EINVAL */
  read(path: string): Promise<string | undefined>;
  /** The names of a node's children, in the store's order; undefined where there is no node. @throws XenError EACCES, EINVAL */
  directory(path: string): Promise<readonly string[] | undefined>;
  /** Sets a node's value, creating it and its parents. @throws XenError EACCES, EINVAL, ENOSPC */
  write(path: string, value: string): Promise<void>;
  /** Creates a node with an empty value; an existing one stays as it is. @throws XenError EACCES, EINVAL, ENOSPC */
  mkdir(path: string): Promise<void>;
  /** Removes a node and all below it; none there is no error. @throws XenError EACCES, EINVAL */
  rm(path: string): Promise<void>;
  /** A node's permissions; undefined where there is no node. @throws XenError EACCES, EINVAL */
  getPermissions(path: string): Promise<readonly Permission[] | undefined>;
  /** Replaces a node's permissions. @throws XenError ENOENT, EACCES, EPERM, EINVAL */
  setPermissions(path: string, permissions: readonly Permission[]): Promise<void>;
}

/** The store as one domain sees it. */
export abstract class XenStore implements StoreOperations {
  abstract read(path: string): Promise<string | undefined>;
  abstract directory(path: string): Promise<readonly string[] | undefined>;
  abstract write(path: string, value: string): Promise<void>;
  abstract mkdir(path: string): Promise<void>;
  abstract rm(path: string): Promise<void>;
  abstract getPermissions(path: string): Promise<readonly Permission[] | undefined>;
  abstract setPermissions(path: string, permissions: readonly Permission[]): Promise<void>;
  /**
   * Runs `body` in a transaction: all of its writes take effect at once, or none. On a conflict (EAGAIN) the body runs again
   * from the start, so it must have no other effects, and so it does once more when the store refuses what others may have made
   * impossible meanwhile (ENOENT, EINVAL, EIO, ENOMEM). When it throws, the transaction is abandoned and the error passed on.
   */
  abstract transaction<T>(body: (store: StoreOperations) => Promise<T>): Promise<T>;
  /**
   * Emits the path that changed at or below `path`, and once at subscription: "look now". Events carry no value and may
   * merge; read again after each. `@introduceDomain` and `@releaseDomain` are watched in the same way.
   */
  abstract watch$(path: string): Observable<string>;
}
