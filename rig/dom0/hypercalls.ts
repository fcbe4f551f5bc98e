import { constants, openSync } from 'node:fs';
import { errnoName } from '../../core/abi/errno.js';
import { asDomid, type Domid, type GrantRef, PAGE_SIZE } from '../../core/abi/units.js';
import { DOMID_XEN } from '../../core/hypervisor/domains.js';
import { eventChannelOp } from '../../core/hypervisor/event-channel-op.js';
import { gnttabop } from '../../core/hypervisor/grant-table-ops.js';
import { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { GrantTable } from '../../core/index.js';
import { Arena } from '../../platform/xen/arena.js';
import type { XenDomain } from '../../platform/xen/index.js';
import { loadLibc } from '../../platform/xen/libc.js';

/** A Xen that is asked by hypercalls of dom0, with its arguments as bytes, which results are written into. */
export interface AskedXen {
  readonly name: string;
  /** HYPERVISOR_event_channel_op: 0 or -errno. */
  event(cmd: number, arg: Uint8Array): number;
  /** HYPERVISOR_grant_table_op of one element: 0 or -errno. */
  grant(cmd: number, arg: Uint8Array): number;
  /** References of pages that dom0 has granted to itself: to be written, only to be read, and one whose grant has ended. */
  readonly refs: { readonly writable: number; readonly readable: number; readonly ended: number };
}

const IOCTL_PRIVCMD_HYPERCALL = (48 << 16) | ('P'.charCodeAt(0) << 8);

/** The Xen that this dom0 runs on, through /dev/xen/privcmd. */
export const realXen = async (xen: XenDomain): Promise<AskedXen> => {
  const libc = await loadLibc();
  const arena = new Arena(libc, 4);
  const fd = openSync('/dev/xen/privcmd', constants.O_RDWR);
  const [call, argument] = [arena.take(1), arena.take(1)];
  const calls = new BigUint64Array(arena.buffer, call * PAGE_SIZE, 6);
  const bytes = arena.bytes.subarray(argument * PAGE_SIZE, (argument + 1) * PAGE_SIZE);
  const hypercall = (op: number, cmd: number, arg: Uint8Array, count: number): number => {
    // Touched, so that Xen finds the page.
    bytes.fill(0);
    bytes.set(arg);
    calls.set([BigInt(op), BigInt(cmd), BigInt(arena.addressOf(argument)), BigInt(count), 0n, 0n]);
    const result = libc.ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, arena.addressOf(call));
    arg.set(bytes.subarray(0, arg.length));
    return result;
  };
  const grants = xen.domain.get(GrantTable);
  const self = asDomid(0);
  const writable = grants.share(self).ref;
  const readable = grants.share(self, 1, { readonly: true }).ref;
  const page = grants.share(self);
  const ended = page.ref;
  page[Symbol.dispose]();
  return {
    name: 'real Xen',
    event: (cmd, arg) => hypercall(32, cmd, arg, 0),
    grant: (cmd, arg) => hypercall(20, cmd, arg, 1),
    refs: { writable, readable, ended },
  };
};

/** Our own Xen, in this process. */
export const ownXen = (): AskedXen => {
  const hypervisor = Hypervisor.create({ bytes: 2 << 20, domains: 4 });
  const self = asDomid(0);
  hypervisor.domains.create(DOMID_XEN, { domid: self, privileged: true });
  const refOf = (readonly: boolean): GrantRef => {
    const frame = hypervisor.pages.populate(self, self, 1);
    const ref = hypervisor.grantEntries.allocRef(self) as GrantRef;
    hypervisor.grantEntries.grantAccess(self, ref, self, frame, readonly);
    return ref;
  };
  const [writable, readable, ended] = [refOf(false), refOf(true), refOf(false)];
  hypervisor.grantEntries.endAccess(self, ended);
  return {
    name: 'our Xen',
    event: (cmd, arg) => eventChannelOp(hypervisor, self, cmd, arg),
    grant: (cmd, arg) => grantCall(hypervisor, self, cmd, arg),
    refs: { writable, readable, ended },
  };
};

/** The call of our Xen with an argument as grant_table.h lays it out for 64 bits. */
const grantCall = (hypervisor: Hypervisor, self: Domid, cmd: number, arg: Uint8Array): number => {
  const view = new DataView(arg.buffer, arg.byteOffset, arg.length);
  const u16 = (at: number): number => view.getUint16(at, true);
  const u32 = (at: number): number => view.getUint32(at, true);
  const dom = (at: number): Domid => u16(at) as Domid;
  const ref = (at: number): GrantRef => u32(at) as GrantRef;
  const { grantTableOps: ops } = hypervisor;
  const element: { status?: number } & Record<string, unknown> = {};
  let statusAt = -1;
  switch (cmd) {
    case gnttabop.map_grant_ref:
      Object.assign(element, { flags: u32(8), ref: ref(12), dom: dom(16) });
      statusAt = 18;
      break;
    case gnttabop.unmap_grant_ref:
      Object.assign(element, { hostAddr: u32(0), devBusAddr: u32(8), handle: u32(16) });
      statusAt = 20;
      break;
    case gnttabop.setup_table:
      Object.assign(element, { dom: dom(0), nrFrames: u32(4) });
      statusAt = 8;
      break;
    case gnttabop.copy: {
      const end = (at: number) => ({ refOrFrame: u32(at), domid: dom(at + 8), offset: u16(at + 10) });
      Object.assign(element, { source: end(0), dest: end(16), len: u16(32), flags: u16(34) });
      statusAt = 36;
      break;
    }
    case gnttabop.query_size:
      Object.assign(element, { dom: dom(0) });
      statusAt = 12;
      break;
    case gnttabop.set_version:
      Object.assign(element, { version: u32(0) });
      break;
    case gnttabop.get_version:
      Object.assign(element, { dom: dom(0) });
      break;
    case gnttabop.swap_grant_ref:
      Object.assign(element, { refA: ref(0), refB: ref(4) });
      statusAt = 8;
  }
  const result = ops.call(self, cmd as never, [element] as never);
  if (statusAt >= 0) view.setInt16(statusAt, element.status ?? 0, true);
  return result;
};

/** `0`, or the errno's name. */
export const answerOf = (result: number): string => (result < 0 ? errnoName(-result) : String(result));
