import { XenError } from '../core/errors.js';
import type { Connection } from './connection.js';
import type { StoreNode } from './node.js';
import { canonicalPath, domainPath, type NodePath, parentPath, ROOT } from './paths.js';
import { fromList, fromStrings, join, oneString, strings } from './payload.js';
import { formatPermission, parsePermission, right } from './permissions.js';
import { serverFeature } from './ring-page.js';
import type { Store } from './store.js';
import type { Transaction } from './transaction.js';
import { PAYLOAD_MAX, type XsMessage, type XsName } from './wire.js';

/** One request while it is served. */
export interface Request {
  readonly store: Store;
  readonly connection: Connection;
  readonly message: XsMessage;
  /** The transaction that the message names, if any. */
  readonly transaction: Transaction | undefined;
  /** Queues the reply, `OK` unless told; events queued before it go out before it. @throws XenError E2BIG */
  reply(payload?: Uint8Array): void;
}

/** How a type of message is served. */
export interface Operation {
  /** For dom0 only; others get EACCES. */
  readonly privileged?: true;
  /** Whether the message's transaction is ignored. */
  readonly outsideTransactions?: true;
  /** @throws XenError which becomes the reply */
  readonly run: (request: Request) => void;
}

/** A table of how messages are served. */
export type Operations = { readonly [Name in XsName]?: Operation };

const nodePath = (request: Request, special = false): NodePath =>
  canonicalPath(oneString(request.message.payload), request.connection, special);

/** The node that a request of one path is about. */
const node = (request: Request, path: NodePath, rights: number): StoreNode =>
  request.store.tree.need(path, request.connection, rights, request.transaction);

/** The node, or undefined where there is none and the caller may know. */
const nodeIfAny = (request: Request, path: NodePath, rights: number): StoreNode | undefined => {
  try {
    return node(request, path, rights);
  } catch (error) {
    if (error instanceof XenError && error.code === 'ENOENT') return undefined;
    throw error;
  }
};

const changed = (request: Request, path: NodePath, made: StoreNode): void =>
  request.store.fire(path, made, 'subtree', { transaction: request.transaction });

const read = (request: Request): void => request.reply(node(request, nodePath(request), right.read).value);

const directory = (request: Request): void =>
  request.reply(fromList(node(request, nodePath(request), right.read).children));

/**
 * A part of a list of children that is too long for one reply: the node's generation, and whole names from a byte offset on,
 * with an empty one after the last (docs/misc/xenstore.txt DIRECTORY_PART).
 */
const directoryPart = (request: Request): void => {
  const [path, offset, ...more] = strings(request.message.payload);
  if (offset === undefined || more.length > 0)
    throw new XenError('EINVAL', 'DIRECTORY_PART needs a path and an offset');
  const { children, generation } = node(request, canonicalPath(path, request.connection), right.read);
  const head = fromStrings(String(generation));
  const names = fromList(children);
  const start = Math.min(Number.parseInt(offset, 10) >>> 0, names.length);
  const room = PAYLOAD_MAX - head.length - 1;
  let end = start;
  while (end < names.length) {
    const next = names.indexOf(0, end) + 1;
    if (next - start > room) break;
    end = next;
  }
  request.reply(join(head, names.subarray(start, end), end === names.length ? Uint8Array.of(0) : new Uint8Array(0)));
};

const write = (request: Request): void => {
  const { store, connection, transaction, message } = request;
  const end = message.payload.indexOf(0);
  if (end < 0) throw new XenError('EINVAL', 'WRITE needs a path ended by a NUL');
  const path = canonicalPath(oneString(message.payload.subarray(0, end + 1)), connection);
  const value = message.payload.slice(end + 1);
  const present = nodeIfAny(request, path, right.write);
  const made =
    present === undefined
      ? store.tree.create(path, value, connection, transaction)
      : store.tree.put(path, { ...present, value }, transaction);
  changed(request, path, made);
  request.reply();
};

const mkdir = (request: Request): void => {
  const path = nodePath(request);
  if (nodeIfAny(request, path, right.write) === undefined) {
    changed(request, path, request.store.tree.create(path, new Uint8Array(0), request.connection, request.transaction));
  }
  request.reply();
};

/** A node that is not there is removed already, if its parent is there. */
const rm = (request: Request): void => {
  const { store, transaction } = request;
  const path = nodePath(request);
  if (nodeIfAny(request, path, right.write) === undefined) {
    if (store.tree.get(parentPath(path), transaction) === undefined) throw new XenError('ENOENT', parentPath(path));
  } else {
    if (path === ROOT) throw new XenError('EINVAL', 'the root cannot be removed');
    const removed = (at: NodePath, was: StoreNode, root: boolean): void =>
      store.fire(at, was, root ? 'subtree' : 'exact', { transaction });
    store.tree.remove(path, removed, transaction);
  }
  request.reply();
};

const getPerms = (request: Request): void =>
  request.reply(fromList(node(request, nodePath(request, true), right.read).permissions.map(formatPermission)));

/** For the owner and dom0; only dom0 may give the node to another, and none to a domain that does not exist. */
const setPerms = (request: Request): void => {
  const { store, connection, transaction, message } = request;
  const [name, ...texts] = strings(message.payload);
  const permissions = store.domains.check(texts.map(parsePermission));
  const [owner] = permissions;
  if (owner === undefined) throw new XenError('EINVAL', 'SET_PERMS needs a path and at least one permission');
  if (owner.ignored === true) throw new XenError('ENOENT', `domain ${owner.domid} does not exist`);
  const path = canonicalPath(name, connection, true);
  const present = node(request, path, right.write | right.owner);
  if (!connection.privileged && owner.domid !== present.permissions[0]?.domid) {
    throw new XenError('EPERM', `only dom0 changes the owner of ${path}`);
  }
  const made = store.tree.put(path, { ...present, permissions }, transaction);
  store.fire(path, made, 'subtree', { old: present.permissions, transaction });
  request.reply();
};

/** The watch's first event follows the reply at once, whether the node exists and may be read or not. */
const watch = (request: Request): void => {
  const { connection, message } = request;
  const [name, token, levels, ...more] = strings(message.payload);
  const depth = levels === undefined ? undefined : Number.parseInt(levels, 10) || 0;
  const allowed = depth === undefined || (depth >= 0 && (connection.features & serverFeature.watchDepth) !== 0);
  if (name === undefined || token === undefined || more.length > 0 || !allowed) {
    throw new XenError('EINVAL', 'WATCH needs a path, a token and perhaps a depth');
  }
  const path = canonicalPath(name, connection, true);
  if (connection.watches.some((other) => other.path === path && other.token === token)) {
    throw new XenError('EEXIST', `${path} is watched with this token`);
  }
  const relative = !name.startsWith('/') && !name.startsWith('@');
  const added = { path, token, depth, prefix: relative ? domainPath(connection.domid).length + 1 : 0 };
  connection.watches.push(added);
  request.reply();
  connection.sendEvent(added, path);
};

const unwatch = (request: Request): void => {
  const { connection, message } = request;
  const [name, token, ...more] = strings(message.payload);
  if (token === undefined || more.length > 0) throw new XenError('EINVAL', 'UNWATCH needs a path and a token');
  const path = canonicalPath(name, connection, true);
  const at = connection.watches.findIndex((other) => other.path === path && other.token === token);
  if (at < 0) throw new XenError('ENOENT', `${path} is not watched with this token`);
  connection.watches.splice(at, 1);
  request.reply();
};

const transactionStart = (request: Request): void => {
  if (request.transaction !== undefined) throw new XenError('EBUSY', 'a transaction cannot hold another');
  request.reply(fromStrings(String(request.connection.startTransaction().id)));
};

/** Its writer sees the events of a commit before its reply. */
const transactionEnd = (request: Request): void => {
  const { store, connection, transaction, message } = request;
  const how = oneString(message.payload);
  if (how !== 'T' && how !== 'F') throw new XenError('EINVAL', 'TRANSACTION_END needs T or F');
  if (transaction === undefined) throw new XenError('ENOENT', 'TRANSACTION_END needs a transaction');
  connection.transactions.delete(transaction.id);
  if (how === 'T') store.tree.commit(transaction, (path, match, old) => store.fire(path, undefined, match, { old }));
  request.reply();
};

const resetWatches = (request: Request): void => {
  request.connection.resetWatches();
  request.reply();
};

/** What every client may ask of the tree, its watches and its transactions (docs/misc/xenstore.txt). */
export const operations = {
  DIRECTORY: { run: directory },
  DIRECTORY_PART: { run: directoryPart },
  READ: { run: read },
  WRITE: { run: write },
  MKDIR: { run: mkdir },
  RM: { run: rm },
  GET_PERMS: { run: getPerms },
  SET_PERMS: { run: setPerms },
  WATCH: { run: watch, outsideTransactions: true },
  UNWATCH: { run: unwatch, outsideTransactions: true },
  RESET_WATCHES: { run: resetWatches },
  TRANSACTION_START: { run: transactionStart },
  TRANSACTION_END: { run: transactionEnd },
} as const satisfies Operations;
