import { XenError } from '../core/errors.js';
import type { Domains, Generations } from './domains.js';
import type { StoreNode } from './node.js';
import { baseName, childPath, type NodePath, parentPath, ROOT } from './paths.js';
import { type Caller, rightsFor, type StoredPermission } from './permissions.js';
import type { Transaction } from './transaction.js';
import type { Match } from './watches.js';

/** The special nodes, which only have permissions. */
export const special = {
  introduceDomain: '@introduceDomain' as NodePath,
  releaseDomain: '@releaseDomain' as NodePath,
} as const;

/** Told of a node that was removed, and whether it is the one that was asked for rather than one below it. */
export type Removed = (path: NodePath, node: StoreNode, root: boolean) => void;

const empty = new Uint8Array(0);

/**
 * The nodes. Every operation takes the transaction that it runs in, or none; looking at a node within one is what counts as
 * its access, also where the look only decides between two errors (tools/xenstored/core.c).
 */
export class Tree {
  readonly #nodes = new Map<NodePath, StoreNode>();
  readonly #generations: Generations;
  readonly #domains: Domains;

  constructor(domains: Domains, generations: Generations) {
    this.#domains = domains;
    this.#generations = generations;
    const first = (path: string, ...children: string[]): void => {
      const permissions = [{ domid: 0, access: 'n' }] as const;
      this.#nodes.set(path as NodePath, { generation: generations.next(), permissions, value: empty, children });
    };
    first('/', 'tool');
    first('/tool', 'xenstored');
    first('/tool/xenstored');
    first(special.releaseDomain);
    first(special.introduceDomain);
  }

  /** The node, if it exists; permissions of domains that are gone are marked. */
  get(path: NodePath, transaction?: Transaction): StoreNode | undefined {
    const current = (): StoreNode | undefined => this.#nodes.get(path);
    const node = transaction === undefined ? current() : transaction.access(path, current).after;
    if (node === undefined) return undefined;
    const permissions = this.#domains.adjust(node.permissions, node.generation);
    return permissions === node.permissions ? node : { ...node, permissions };
  }

  /**
   * The node, for a caller who needs `rights` on it.
   * @throws XenError EACCES; ENOENT only to one who has a right on the nearest ancestor (xenstored `errno_from_parents`)
   */
  need(path: NodePath, caller: Caller, rights: number, transaction?: Transaction): StoreNode {
    const node = this.get(path, transaction);
    if (node !== undefined && (rightsFor(caller, node.permissions) & rights) === rights) return node;
    const above = rightsFor(caller, this.#nearest(path, transaction).permissions);
    throw new XenError(node === undefined && (above & rights) !== 0 ? 'ENOENT' : 'EACCES', path);
  }

  /** Puts a changed node in its place. */
  put(path: NodePath, node: Omit<StoreNode, 'generation'>, transaction?: Transaction): StoreNode {
    const { permissions, value, children } = node;
    const changed = { generation: this.#generations.next(), permissions, value, children };
    if (transaction === undefined) this.#nodes.set(path, changed);
    else {
      const accessed = transaction.access(path, () => this.#nodes.get(path));
      accessed.after = changed;
      accessed.modified = true;
    }
    return changed;
  }

  /**
   * Creates a node and the parents that it lacks. They are empty and inherit the permissions of the nearest parent there is,
   * except that a guest owns what it creates (xenstored `construct_node`).
   */
  create(path: NodePath, value: Uint8Array, caller: Caller, transaction?: Transaction): StoreNode {
    const missing: NodePath[] = [path];
    let above = parentPath(path);
    let parent = this.get(above, transaction);
    while (parent === undefined) {
      missing.push(above);
      above = parentPath(above);
      parent = this.get(above, transaction);
    }
    const [owner, ...others] = parent.permissions;
    const permissions =
      caller.privileged || owner === undefined ? parent.permissions : [{ ...owner, domid: caller.domid }, ...others];
    let child: NodePath | undefined;
    let created: StoreNode | undefined;
    for (const missed of missing) {
      const children = child === undefined ? [] : [baseName(child)];
      const node = this.put(missed, { permissions, value: missed === path ? value : empty, children }, transaction);
      created ??= node;
      child = missed;
    }
    if (created === undefined || child === undefined) throw new RangeError(`nothing was created for ${path}`);
    this.put(above, { ...parent, children: [...parent.children, baseName(child)] }, transaction);
    return created;
  }

  /**
   * Removes a node and all below it, the deepest first, at any depth without recursion (XSA-418).
   * @param removed told of each node when it is gone, while its parent is still there
   * @throws XenError EIO when the transaction saw a list of children that is no longer true; its commit would fail anyway
   */
  remove(path: NodePath, removed: Removed, transaction?: Transaction): void {
    const holder = parentPath(path);
    const parent = this.get(holder, transaction);
    if (path === ROOT || parent === undefined) throw new XenError('EINVAL', path);
    const open: { path: NodePath; node: StoreNode; next: number }[] = [];
    const enter = (at: NodePath): void => {
      const node = this.get(at, transaction);
      if (node === undefined) throw new XenError('EIO', `${at} is gone from under transaction ${transaction?.id}`);
      open.push({ path: at, node, next: 0 });
    };
    enter(path);
    for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
      const name = top.node.children[top.next++];
      if (name !== undefined) enter(childPath(top.path, name));
      else {
        open.pop();
        this.#delete(top.path, transaction);
        removed(top.path, top.node, top.path === path);
      }
    }
    const name = baseName(path);
    if (!parent.children.includes(name)) throw new XenError('EIO', `${path} is new to transaction ${transaction?.id}`);
    this.put(holder, { ...parent, children: parent.children.filter((child) => child !== name) }, transaction);
  }

  /**
   * Removes what a dead domain owned, with all below it, wherever it lies (XSA-322, XSA-419); a special node falls to dom0.
   * @param removed as {@link remove}
   */
  removeOwned(domid: number, removed: Removed): void {
    const owner = (node: StoreNode): boolean => node.permissions[0]?.domid === domid;
    const open: NodePath[] = [ROOT];
    for (let path = open.pop(); path !== undefined; path = open.pop()) {
      const node = this.#nodes.get(path);
      if (node === undefined) continue;
      if (path !== ROOT && owner(node)) this.remove(path, removed);
      else for (let i = node.children.length - 1; i >= 0; i--) open.push(childPath(path, node.children[i] as string));
    }
    for (const path of [ROOT, special.introduceDomain, special.releaseDomain]) {
      const node = this.#nodes.get(path);
      if (node !== undefined && owner(node)) this.put(path, { ...node, permissions: [{ domid: 0, access: 'n' }] });
    }
  }

  /**
   * Makes a transaction's changes those of the store, all at once.
   * @param committed told of each node with an event, in the order of their first access, and of its permissions before
   * @throws XenError EAGAIN when a node that it has seen changed since; ENOMEM when it failed, or gives a node to a domain
   *   that is gone
   */
  commit(
    transaction: Transaction,
    committed: (path: NodePath, match: Match, old: readonly StoredPermission[] | undefined) => void,
  ): void {
    const what = `transaction ${transaction.id}`;
    if (transaction.failed) throw new XenError('ENOMEM', `${what} had a failed operation`);
    for (const { after, modified } of transaction.nodes.values()) {
      if (!modified || after === undefined) continue;
      const owner = after.permissions[0]?.domid ?? 0;
      if (!this.#domains.isOlder(owner, after.generation))
        throw new XenError('ENOMEM', `${what} has nodes of domain ${owner}, which is gone`);
    }
    for (const [path, { before }] of transaction.nodes) {
      if (this.#nodes.get(path)?.generation !== before?.generation) throw new XenError('EAGAIN', `${what}: ${path}`);
    }
    for (const [path, { before, after, modified, event }] of transaction.nodes) {
      if (!modified) continue;
      // Permissions are judged by their own time: the commit gives them a new generation, for whoever has the domid by then.
      if (after !== undefined)
        this.put(path, { ...after, permissions: this.#domains.adjust(after.permissions, after.generation) });
      else this.#nodes.delete(path);
      if (event === undefined) continue;
      committed(path, event, before && this.#domains.adjust(before.permissions, before.generation));
    }
  }

  #delete(path: NodePath, transaction: Transaction | undefined): void {
    if (transaction === undefined) {
      this.#generations.next();
      this.#nodes.delete(path);
      return;
    }
    const accessed = transaction.access(path, () => this.#nodes.get(path));
    accessed.after = undefined;
    accessed.modified = true;
  }

  #nearest(path: NodePath, transaction: Transaction | undefined): StoreNode {
    let above = path;
    do {
      above = parentPath(above);
      const node = this.get(above, transaction);
      if (node !== undefined) return node;
    } while (above !== ROOT);
    throw new RangeError('the store has lost its root');
  }
}
