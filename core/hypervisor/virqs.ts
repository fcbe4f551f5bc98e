import { errno } from '../abi/errno.js';
import { DOMID_SELF, type Domid, type Port } from '../abi/units.js';
import { NR_VIRQS, virqClass } from '../abi/virq.js';
import type { Domains } from './domains.js';
import type { EventChannelOps } from './event-channels.js';
import { header } from './layout.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';
import { type Ports, virqPort } from './ports.js';
import type { Vcpus } from './vcpus.js';
import type { VirqPorts } from './virq-ports.js';

/** The domain that has the global interrupts which nobody was given (sched.h `hardware_domain`). */
export const HARDWARE_DOMAIN = 0 as Domid;

/**
 * Virtual interrupts: those that our Xen itself raises. Raising takes no lock and latches nothing: an interrupt that is not bound is
 * discarded, and one raised again before the guest has cleared PENDING is one event.
 */
export class Virqs {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #lock: Lock;
  readonly #ports: Ports;
  readonly #vcpus: Vcpus;
  readonly #bound: VirqPorts;
  readonly #domains: Domains;
  readonly #events: EventChannelOps;

  constructor(
    memory: MachineMemory,
    lock: Lock,
    ports: Ports,
    vcpus: Vcpus,
    bound: VirqPorts,
    domains: Domains,
    events: EventChannelOps,
  ) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#lock = lock;
    this.#ports = ports;
    this.#vcpus = vcpus;
    this.#bound = bound;
    this.#domains = domains;
    this.#events = events;
  }

  /**
   * Binds a virtual interrupt to a new port, and returns it (EVTCHNOP_bind_virq). -EINVAL no such interrupt, or one that is not per
   * vCPU on another than vCPU 0; -ENOENT no such vCPU; -EBUSY a global one that another domain owns; -EEXIST bound already, on this
   * vCPU; -ENOSPC, -ENOMEM. A refusal changes nothing (XSA-496).
   * @param virq 0 … 23, xen.h `VIRQ_*`
   * @param vcpu of the caller; 0 unless the interrupt is per vCPU
   */
  bind(caller: Domid, virq: number, vcpu: number): Port | number {
    this.#lock.acquire(caller);
    const result = this.#bind(caller, virq, vcpu);
    this.#lock.release();
    return result;
  }

  /**
   * Raises an interrupt in the domain of a slot: a vCPU's own (`send_guest_vcpu_virq`), or, with vCPU 0, one that a domain has once
   * (`send_guest_domain_virq`).
   */
  raise(slot: number, vcpu: number, virq: number): void {
    if (!this.#vcpus.has(slot, vcpu)) return;
    const port = this.#bound.get(slot, vcpu, virq);
    if (port !== 0) this.#events.raise(slot, port);
  }

  /** Raises a global interrupt in the domain that owns it; discarded where there is none (`send_global_virq`). */
  raiseGlobal(virq: number): void {
    const slot = this.#memory.callerOf(this.owner(virq));
    if (slot >= 0) this.raise(slot, 0, virq);
  }

  /** The domain that may bind a global interrupt. */
  owner(virq: number): Domid {
    const domid = Atomics.load(this.#words, header.virqOwners + virq) - 1;
    return domid < 0 ? HARDWARE_DOMAIN : (domid as Domid);
  }

  /**
   * Makes a domain the owner of a global interrupt (XEN_DOMCTL_set_virq_handler). -ESRCH no such domain, -EPERM unless the caller is
   * privileged, -EINVAL no such interrupt or not a global one, -EBUSY while another has it bound: the owner unbinds first.
   */
  setHandler(caller: Domid, domid: Domid, virq: number): number {
    this.#lock.acquire(caller);
    const result = this.#setHandler(caller, domid === DOMID_SELF ? caller : domid, virq);
    this.#lock.release();
    return result;
  }

  /** Gives what a domain owns back to the hardware domain (`clear_global_virq_handlers`). The lock is held. */
  disown(domid: Domid): void {
    for (let virq = 0; virq < NR_VIRQS; virq++) {
      const at = header.virqOwners + virq;
      if (this.#words[at] === domid + 1) Atomics.store(this.#words, at, 0);
    }
  }

  #bind(caller: Domid, virq: number, vcpu: number): number {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    if (virq >>> 0 !== virq || virq >= NR_VIRQS) return -errno.EINVAL;
    const kind = virqClass(virq);
    if (kind !== 'vcpu' && vcpu !== 0) return -errno.EINVAL;
    if (!this.#vcpus.has(slot, vcpu)) return -errno.ENOENT;
    if (kind === 'global' && this.owner(virq) !== caller) return -errno.EBUSY;
    if (this.#bound.get(slot, vcpu, virq) !== 0) return -errno.EEXIST;
    const port = this.#ports.lowestFree(slot);
    if (port < 0) return port;
    this.#ports.bind(slot, port, virqPort(virq), vcpu);
    this.#bound.set(slot, vcpu, virq, port);
    return port;
  }

  #setHandler(caller: Domid, domid: Domid, virq: number): number {
    const slot = this.#memory.callerOf(domid);
    if (slot < 0) return -errno.ESRCH;
    if (!this.#domains.isPrivileged(caller)) return -errno.EPERM;
    if (virq >>> 0 !== virq || virq >= NR_VIRQS || virqClass(virq) !== 'global') return -errno.EINVAL;
    const before = this.owner(virq);
    if (before === domid) return 0;
    const theirs = this.#memory.slotOf(before);
    if (theirs >= 0 && this.#bound.get(theirs, 0, virq) !== 0) return -errno.EBUSY;
    Atomics.store(this.#words, header.virqOwners + virq, domid + 1);
    return 0;
  }
}
