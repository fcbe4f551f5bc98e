import { XenError } from '../core/errors.js';
import type { StoreNode } from './node.js';
import type { NodePath } from './paths.js';
import type { Match } from './watches.js';

/** A node as one transaction sees it, from its first access on. */
export interface AccessedNode {
  /** The node at the first access, undefined where there was none; at the end it must still be that one. */
  readonly before: StoreNode | undefined;
  /** The node with the transaction's own changes. */
  after: StoreNode | undefined;
  modified: boolean;
  /** The event that a commit sends. */
  event: Match | undefined;
}

/** The most nodes that a guest's transaction may touch (xenstored `transaction-nodes`). */
export const TRANSACTION_NODES_MAX = 1024;

/**
 * The nodes that a transaction has touched. There is no copy of the store at its start: a node stands still from its first
 * access. A write is an access too, since the node is looked up before it is written (xenstored `access_node`).
 */
export class Transaction {
  readonly id: number;
  readonly #limit: number;
  readonly #nodes = new Map<NodePath, AccessedNode>();
  #failed = false;

  /** @param limit how many nodes it may touch */
  constructor(id: number, limit: number) {
    this.id = id;
    this.#limit = limit;
  }

  /** Whether an operation failed half-way, so that the transaction cannot be committed. */
  get failed(): boolean {
    return this.#failed;
  }

  /** The nodes in the order of their first access. */
  get nodes(): ReadonlyMap<NodePath, AccessedNode> {
    return this.#nodes;
  }

  /** Notes an access. @throws XenError ENOSPC, which makes the transaction fail, when it has touched too many nodes */
  access(path: NodePath, current: () => StoreNode | undefined): AccessedNode {
    const known = this.#nodes.get(path);
    if (known !== undefined) return known;
    if (this.#nodes.size >= this.#limit) {
      this.#failed = true;
      throw new XenError('ENOSPC', `transaction ${this.id} may touch ${this.#limit} nodes, and ${path} is one more`);
    }
    const before = current();
    const node: AccessedNode = { before, after: before, modified: false, event: undefined };
    this.#nodes.set(path, node);
    return node;
  }

  /** Notes an event for the commit; one for a whole subtree replaces one for the node alone (xenstored `queue_watches`). */
  queueEvent(path: NodePath, match: Match): void {
    const node = this.#nodes.get(path);
    if (node === undefined) throw new RangeError(`${path} has an event in transaction ${this.id} but was not accessed`);
    if (node.event === undefined || match === 'subtree') node.event = match;
  }
}
