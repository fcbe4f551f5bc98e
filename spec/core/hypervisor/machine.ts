import { errnoName } from '../../../core/abi/errno.js';
import { type Domid, type GrantRef, PAGE_SIZE, type Port } from '../../../core/abi/units.js';
import { DOMID_XEN, type DomainOptions } from '../../../core/hypervisor/domains.js';
import type { Ring } from '../../../core/hypervisor/doorbell.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { vcpuFlag, vcpuWord } from '../../../core/hypervisor/layout.js';

/** A small machine for a spec: domain 0 is privileged, 1, 2 and 3 are guests. */
export interface Machine {
  readonly hypervisor: Hypervisor;
  /** Domids that were rung for since the last look. */
  readonly rung: Domid[];
}

export const dom0 = 0 as Domid;
export const dom1 = 1 as Domid;
export const dom2 = 2 as Domid;
export const dom3 = 3 as Domid;
/** A domid that no domain has. */
export const nobody = 77 as Domid;

/** The value of a call that must succeed. */
export const ok = <T extends number>(result: T | number): T => {
  if (result < 0) throw new Error(`the call failed with ${errnoName(-result)} or status ${result}`);
  return result as T;
};

/** Adds a domain that must fit. */
export const addDomain = (hypervisor: Hypervisor, domid: Domid, options: Omit<DomainOptions, 'domid'> = {}): void => {
  ok(hypervisor.domains.create(DOMID_XEN, { domid, ...options }));
};

/** A machine of `bytes` with four domains; `options` are those of the guests. */
export const machine = (options: Omit<DomainOptions, 'domid'> = {}, bytes = 2 * 2 ** 20): Machine => {
  const rung: Domid[] = [];
  const ring: Ring = (domid) => rung.push(domid);
  const hypervisor = Hypervisor.create({ bytes, domains: 8 }, ring);
  addDomain(hypervisor, dom0, { privileged: true });
  for (const domid of [dom1, dom2, dom3]) {
    addDomain(hypervisor, domid, options);
    bringUp(hypervisor, domid);
  }
  return { hypervisor, rung };
};

/** Has all vCPUs of a domain run, as its kernel does by VCPUOP_initialise and VCPUOP_up. */
export const bringUp = ({ memory, vcpus }: Hypervisor, domid: Domid): void => {
  const slot = memory.slotOf(domid);
  for (let vcpu = 1; vcpu < vcpus.count(slot); vcpu++) {
    memory.words[vcpus.word(slot, vcpu) + vcpuWord.flags] = vcpuFlag.initialised | vcpuFlag.up;
  }
};

/** Connects a new port of `a` with a new one of `b`, and eats the first event that `b` got. */
export const connect = (hypervisor: Hypervisor, a: Domid, b: Domid): readonly [Port, Port] => {
  const port = ok<Port>(hypervisor.eventChannels.allocUnbound(a, a, b));
  const bound = ok<Port>(hypervisor.eventChannels.bindInterdomain(b, a, port));
  deliver(hypervisor, b);
  return [port, bound];
};

/** The ports whose events a domain gets when it is entered now. */
export const deliver = (hypervisor: Hypervisor, domid: Domid, limit?: number): readonly Port[] => {
  const ports: Port[] = [];
  hypervisor.upcalls.scan(domid, (port) => ports.push(port), limit);
  return ports;
};

/** The ports whose events a vCPU of a domain gets when it is entered now. */
export const deliverOn = (hypervisor: Hypervisor, domid: Domid, vcpu: number): readonly Port[] => {
  const ports: Port[] = [];
  hypervisor.upcalls.scan(domid, (port) => ports.push(port), undefined, vcpu);
  return ports;
};

/** A page of `owner` granted to `peer`. */
export const grant = (
  hypervisor: Hypervisor,
  owner: Domid,
  peer: Domid,
  readonly = false,
): { readonly ref: GrantRef; readonly frame: number } => {
  const frame = ok(hypervisor.pages.populate(owner, owner, 1));
  const ref = ok<GrantRef>(hypervisor.grantEntries.allocRef(owner));
  hypervisor.grantEntries.grantAccess(owner, ref, peer, frame, readonly);
  return { ref, frame };
};

/** The bytes of a frame. */
export const bytesOf = (hypervisor: Hypervisor, frame: number): Uint8Array =>
  hypervisor.memory.bytes.subarray(frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE);

/** The words of a domain's shared_info page. */
export const sharedInfoOf = (hypervisor: Hypervisor, domid: Domid): Int32Array => {
  const first = hypervisor.sharedInfo.at(hypervisor.memory.slotOf(domid));
  return hypervisor.memory.words.subarray(first, first + PAGE_SIZE / 4);
};
