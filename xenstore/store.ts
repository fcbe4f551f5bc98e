import type { Domid } from '../core/abi/units.js';
import type { Connection } from './connection.js';
import { type DomainInfo, Domains, Generations } from './domains.js';
import type { StoreNode } from './node.js';
import { type NodePath, parentPath } from './paths.js';
import { right, rightsFor, type StoredPermission } from './permissions.js';
import type { Transaction } from './transaction.js';
import { special, Tree } from './tree.js';
import { type Match, matches } from './watches.js';

/** The store's state: its nodes, the domains that it knows, and who is connected. */
export class Store {
  readonly domains: Domains;
  readonly tree: Tree;
  /** In the order of their connecting, which is the order in which they are told of an event. */
  readonly connections: Connection[] = [];

  /** @param features what a domain is offered unless SET_FEATURE says less */
  constructor(info: DomainInfo, features: number) {
    const generations = new Generations();
    this.domains = new Domains(info, generations, features);
    this.tree = new Tree(this.domains, generations);
  }

  /**
   * Sends an event for a node to everyone who watches it and may read it or its parent, now or before; within a transaction it
   * waits for the commit (xenstored `fire_watches`, XSA-115).
   * @param node the node as it is, or was when it was removed; undefined to look it up
   * @param old its permissions before, when they have changed
   */
  fire(
    path: NodePath,
    node: StoreNode | undefined,
    match: Match,
    options: {
      readonly old?: readonly StoredPermission[] | undefined;
      readonly transaction?: Transaction | undefined;
    } = {},
  ): void {
    if (options.transaction !== undefined) {
      options.transaction.queueEvent(path, match);
      return;
    }
    for (const connection of this.connections) {
      const watches = connection.watches.filter((watch) => matches(watch, path, match));
      if (watches.length === 0 || !this.#visible(connection, path, node, options.old)) continue;
      for (const watch of watches) connection.sendEvent(watch, path);
    }
  }

  /**
   * Sends a special event: to watches without a depth as it is, to others with the domid behind it.
   * @param how which of the two, both unless told
   */
  fireSpecial(name: NodePath, domid: number, how: 'nodepth' | 'depth' | 'both' = 'both'): void {
    const node = this.tree.get(name);
    if (how !== 'depth') this.fire(name, node, 'nodepth');
    if (how !== 'nodepth') this.fire(`${name}/${domid}` as NodePath, node, 'depth');
  }

  /** Removes a dead domain's nodes, and whatever it was allowed elsewhere (xenstored `destroy_domain`). */
  forget(domid: Domid): void {
    const introduced = this.domains.get(domid)?.introduced === true;
    this.tree.removeOwned(domid, (path, node, root) => this.fire(path, node, root ? 'subtree' : 'exact'));
    this.domains.remove(domid);
    for (const connection of this.connections) if (connection.target === domid) connection.target = undefined;
    if (introduced) this.fireSpecial(special.releaseDomain, domid);
  }

  #visible(
    connection: Connection,
    path: NodePath,
    node: StoreNode | undefined,
    old: readonly StoredPermission[] | undefined,
  ): boolean {
    const readable = (permissions: readonly StoredPermission[]): boolean =>
      (rightsFor(connection, permissions) & right.read) !== 0;
    if (old !== undefined && readable(old)) return true;
    const current = node ?? this.tree.get(path);
    if (current === undefined) return false;
    if (readable(current.permissions)) return true;
    const parent = this.tree.get(parentPath(path));
    return parent !== undefined && readable(parent.permissions);
  }
}
