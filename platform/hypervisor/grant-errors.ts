import { type GntstName, gntst } from '../../core/abi/gntst.js';
import type { Domid } from '../../core/abi/units.js';
import { GrantError } from '../../core/errors.js';
import type { CopyList } from '../../core/hypervisor/copy-list.js';

type Rules = Readonly<Partial<Record<GntstName, string>>>;

const both: Rules = {
  bad_domain: 'there is no such domain, or this one has been destroyed',
  bad_gntref: 'the table has no such entry',
  permission_denied: 'a frame without a reference is for DOMID_SELF alone',
};

/** What map_grant_ref means by its statuses: Xen tells no more apart (grant_table.c `map_grant_ref`). */
const ofMap: Rules = {
  ...both,
  general_error:
    'the entry is revoked, or for another domain, or for reading only, or the page is mapped as often as can be counted',
  bad_page: 'what the entry names is no page of that domain',
  no_space: 'this domain has no mapping left: its handles, or the machine’s memory, are used up',
};

const ofCopy: Rules = {
  ...both,
  general_error: 'the entry is revoked, or for another domain, or for reading only, or was changed while it is mapped',
  bad_page: 'what the entry names is no page of that domain, or the other page is not this domain’s own',
  bad_copy_arg: 'the bytes leave a page',
};

const ruleOf = (rules: Rules, status: number): string | undefined =>
  Object.entries(rules).find(([name]) => gntst[name as GntstName] === status)?.[1];

/** Why a page was not mapped. */
export const mapError = (status: number, peer: Domid, ref: number): GrantError =>
  new GrantError(status, `GNTTABOP_map_grant_ref of reference ${ref} of domain ${peer}`, ruleOf(ofMap, status));

const COPY = 'GNTTABOP_copy with';

/** Why an element of a list was not copied between a peer's granted page and an own one. */
export const copyError = (list: CopyList, index: number, peer: Domid): GrantError => {
  const status = list.status(index);
  return new GrantError(status, `${COPY} reference ${list.ref(index)} of domain ${peer}`, ruleOf(ofCopy, status));
};

/** Why nothing was copied from one peer's granted page to another's. */
export const peerCopyError = (status: number, from: Domid, source: number, to: Domid, dest: number): GrantError => {
  const ends = `reference ${source} of domain ${from} and reference ${dest} of domain ${to}`;
  return new GrantError(status, `${COPY} ${ends}`, ruleOf(ofCopy, status));
};
