import type { StoredPermission } from './permissions.js';

/** One node; a change makes a new one. */
export interface StoreNode {
  /** The number of its last change, of its list of children too. */
  readonly generation: number;
  readonly permissions: readonly StoredPermission[];
  readonly value: Uint8Array;
  /** Its children's names, in the order of their creation. */
  readonly children: readonly string[];
}
