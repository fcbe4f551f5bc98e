import { XenError } from '../core/errors.js';

declare const canonical: unique symbol;

/** A node's name as the store keeps it: absolute and checked, or a special one that begins with `@`. */
export type NodePath = string & { readonly [canonical]: true };

/** The longest absolute path in bytes (xs_wire.h `XENSTORE_ABS_PATH_MAX`). */
export const ABS_PATH_MAX = 3072;
/** The longest relative path in bytes, and what a guest may use behind `/local/domain/<domid>/` (`XENSTORE_REL_PATH_MAX`). */
export const REL_PATH_MAX = 2048;

/** The root, which always exists. */
export const ROOT = '/' as NodePath;

/** A domain's own directory, against which its relative paths are taken. */
export const domainPath = (domid: number): NodePath => `/local/domain/${domid}` as NodePath;

/** Who is asking, as far as names depend on it. */
export interface PathContext {
  readonly domid: number;
  readonly privileged: boolean;
}

const allowed = /^[-A-Za-z0-9/_@]+$/;
const domainPrefix = /^\/local\/domain\/\d{1,5}\//;

/**
 * The full name for a path that a client gave.
 * @param special whether a name that begins with `@` is allowed: in watches and permissions only
 * @throws XenError EINVAL for other characters than `A-Z a-z 0-9 - / _ @`, nothing, `//`, a slash at the end, or too long
 *   (docs/misc/xenstore.txt, XSA-323, XSA-481)
 */
export const canonicalPath = (path: string | undefined, context: PathContext, special = false): NodePath => {
  const refuse = (why: string): never => {
    throw new XenError('EINVAL', `path ${JSON.stringify(path)}: ${why}`);
  };
  if (path === undefined) return refuse('exactly one, ended by a NUL, is needed');
  if (!allowed.test(path)) return refuse('letters, digits and -/_@ only, and at least one');
  if (path.startsWith('@')) {
    if (!special) return refuse('a special name can only be watched, or have its permissions changed');
  } else if (!path.startsWith('/') && path.length > REL_PATH_MAX) {
    return refuse(`a relative path has at most ${REL_PATH_MAX} bytes`);
  }
  const full = path.startsWith('/') || path.startsWith('@') ? path : `${domainPath(context.domid)}/${path}`;
  if (full.includes('//')) return refuse('no empty name between slashes');
  if (full.endsWith('/') && full !== ROOT) return refuse('no slash at the end');
  if (full.length > ABS_PATH_MAX) return refuse(`an absolute path has at most ${ABS_PATH_MAX} bytes`);
  const own = full.length - (domainPrefix.exec(full)?.[0].length ?? 0);
  if (!context.privileged && own > REL_PATH_MAX) {
    return refuse(`at most ${REL_PATH_MAX} bytes behind /local/domain/<domid>/`);
  }
  return full as NodePath;
};

/** The node that holds `path`; the root for the root itself and for special names (xenstored `get_parent`). */
export const parentPath = (path: NodePath): NodePath => {
  const slash = path.lastIndexOf('/');
  return (slash <= 0 ? ROOT : path.slice(0, slash)) as NodePath;
};

/** The last part of a path. */
export const baseName = (path: NodePath): string => path.slice(path.lastIndexOf('/') + 1);

/** The node `name` below `path`. */
export const childPath = (path: NodePath, name: string): NodePath =>
  (path === ROOT ? `/${name}` : `${path}/${name}`) as NodePath;

/** How many levels `path` lies below `ancestor`, 0 for itself; undefined when it does not. */
export const levelsBelow = (path: NodePath, ancestor: NodePath): number | undefined => {
  if (path === ancestor) return 0;
  const prefix = ancestor === ROOT ? '' : ancestor;
  if (ancestor !== ROOT && !path.startsWith(`${ancestor}/`)) return undefined;
  let levels = 0;
  for (let i = prefix.length; i < path.length; i++) if (path[i] === '/') levels++;
  return levels;
};
