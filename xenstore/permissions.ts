import type { Domid } from '../core/abi/units.js';
import type { Access, Permission } from '../core/domain/xenstore.js';
import { XenError } from '../core/errors.js';

/** A permission as the store keeps it; the first of a node names its owner and what everyone else may do. */
export interface StoredPermission {
  readonly domid: number;
  readonly access: Access;
  /** Given to a domain that did not exist, or has died since: it counts for nobody (XSA-322, XSA-417). */
  readonly ignored?: boolean;
}

/** What a caller may do with a node, as bits (xenstored `XS_PERM_*`). */
export const right = { read: 1, write: 2, owner: 4 } as const;

const all = right.read | right.write | right.owner;
const rightsOf = { n: 0, r: right.read, w: right.write, b: right.read | right.write } as const satisfies Record<
  Access,
  number
>;

/** Who is asking, as far as permissions depend on it. */
export interface Caller {
  readonly domid: number;
  /** Whether it is dom0, which may do everything. */
  readonly privileged: boolean;
  /** The domain that it acts for as well (SET_TARGET): a device model's guest. */
  readonly target?: number | undefined;
}

/** What `caller` may do with a node that has these permissions (xenstored `perm_for_conn`). */
export const rightsFor = (caller: Caller, permissions: readonly StoredPermission[]): number => {
  const [first, ...others] = permissions;
  const meant = ({ domid }: StoredPermission): boolean => domid === caller.domid || domid === caller.target;
  if (caller.privileged || (first !== undefined && meant(first))) return all;
  const own = others.find((permission) => permission.ignored !== true && meant(permission)) ?? first;
  return own === undefined ? 0 : rightsOf[own.access];
};

const form = /^([rwbn])(\d{1,5})$/;

/** One permission from its text, `r5`. @throws XenError EINVAL */
export const parsePermission = (text: string): StoredPermission => {
  const match = form.exec(text);
  if (match === null || Number(match[2]) > 0xffff) {
    throw new XenError('EINVAL', `permission ${JSON.stringify(text)}: r, w, b or n and a domid is needed`);
  }
  return { domid: Number(match[2]), access: match[1] as Access };
};

/** One permission as text, `r5`. */
export const formatPermission = ({ domid, access }: { readonly domid: number; readonly access: Access }): string =>
  `${access}${domid}`;

/** A node's permissions as a client sees them. @throws XenError EINVAL */
export const parsePermissions = (texts: readonly string[]): Permission[] =>
  texts.map((text) => {
    const { domid, access } = parsePermission(text);
    return { domid: domid as Domid, access };
  });
