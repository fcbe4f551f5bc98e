import { errno } from '../abi/errno.js';
import { DOMID_SELF, type Domid, type Port } from '../abi/units.js';
import type { Doorbell } from './doorbell.js';
import { control, domainFlag } from './layout.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';
import {
  interdomainPort,
  irqOf,
  type Ports,
  peerPortOf,
  peerSlotOf,
  portState,
  remoteOf,
  stateOf,
  unboundPort,
} from './ports.js';
import { portsOf2Level, type SharedInfo } from './shared-info.js';
import type { Vcpus } from './vcpus.js';
import type { VirqPorts } from './virq-ports.js';

const EVENTS_32 = portsOf2Level(true);

/** What EVTCHNOP_status reports (event_channel.h `evtchn_status`). */
export type PortStatus = { readonly vcpu: number } & (
  | { readonly status: 'closed' | 'ipi' }
  | { readonly status: 'unbound'; readonly dom: Domid }
  | { readonly status: 'interdomain'; readonly dom: Domid; readonly port: Port }
  | { readonly status: 'pirq'; readonly pirq: number }
  | { readonly status: 'virq'; readonly virq: number }
);

/**
 * The event-channel operations (event_channel.h `EVTCHNOP_*`). A call is made by `caller`'s thread, answers 0 or a port, or the
 * negative errno that Xen answers, and delivers nothing: it sets bits, and rings for whoever has to look.
 */
export class EventChannelOps {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #lock: Lock;
  readonly #ports: Ports;
  readonly #sharedInfo: SharedInfo;
  readonly #vcpus: Vcpus;
  readonly #doorbell: Doorbell;
  readonly #virqs: VirqPorts;

  constructor(
    memory: MachineMemory,
    lock: Lock,
    ports: Ports,
    sharedInfo: SharedInfo,
    vcpus: Vcpus,
    doorbell: Doorbell,
    virqs: VirqPorts,
  ) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#lock = lock;
    this.#ports = ports;
    this.#sharedInfo = sharedInfo;
    this.#vcpus = vcpus;
    this.#doorbell = doorbell;
    this.#virqs = virqs;
  }

  /**
   * A port of `dom` that only `remote` may bind; neither needs to exist at the other's end yet. -ESRCH no such `dom`, -ENOSPC,
   * -ENOMEM, -EINVAL `dom` is dying, -EPERM another's `dom` without privilege (EVTCHNOP_alloc_unbound).
   */
  allocUnbound(caller: Domid, dom: Domid, remote: Domid): Port | number {
    this.#lock.acquire(caller);
    const result = this.#allocUnbound(
      caller,
      dom === DOMID_SELF ? caller : dom,
      remote === DOMID_SELF ? caller : remote,
    );
    this.#lock.release();
    return result;
  }

  /**
   * Connects a new port to `remote`'s, which must wait for the caller; the new port is pending at once, for events sent before
   * are lost. -ESRCH no such `remote`, -ENOSPC, -ENOMEM, -EINVAL (EVTCHNOP_bind_interdomain).
   */
  bindInterdomain(caller: Domid, remote: Domid, remotePort: Port): Port | number {
    this.#lock.acquire(caller);
    const result = this.#bindInterdomain(caller, remote === DOMID_SELF ? caller : remote, remotePort);
    // Looked up under the lock: outside of it, the caller may be destroyed at any moment.
    const slot = this.#memory.slotOf(caller);
    this.#lock.release();
    if (result > 0) this.raise(slot, result);
    return result;
  }

  /** Frees a port; an interdomain peer waits for this domain again and is not told. -EINVAL (EVTCHNOP_close). */
  close(caller: Domid, port: Port): number {
    this.#lock.acquire(caller);
    const slot = this.#memory.callerOf(caller);
    const result = slot < 0 ? -errno.ESRCH : this.closeIn(slot, port);
    this.#lock.release();
    return result;
  }

  /** Raises the event at the other end; lost while that is unbound. -EINVAL for a port that cannot send (EVTCHNOP_send). */
  send(caller: Domid, port: Port): number {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    const word = this.#ports.get(slot, port);
    switch (stateOf(word)) {
      case portState.interdomain:
        this.raise(peerSlotOf(word), peerPortOf(word));
        return 0;
      case portState.ipi:
        this.raise(slot, port);
        return 0;
      case portState.unbound:
        return 0;
      default:
        return -errno.EINVAL;
    }
  }

  /** What a port is; -ESRCH, -EINVAL out of range, -EPERM another's without privilege (EVTCHNOP_status). */
  status(caller: Domid, dom: Domid, port: Port): PortStatus | number {
    const own = this.#memory.callerOf(caller);
    const slot = dom === DOMID_SELF ? own : this.#memory.slotOf(dom);
    if (slot < 0 || own < 0) return -errno.ESRCH;
    if (port >>> 0 >= this.#ports.valid(slot)) return -errno.EINVAL;
    if (!this.#mayControl(own, slot)) return -errno.EPERM;
    const word = this.#ports.get(slot, port);
    const vcpu = this.#ports.vcpu(slot, port);
    switch (stateOf(word)) {
      case portState.unbound:
        return { status: 'unbound', vcpu, dom: remoteOf(word) };
      case portState.interdomain:
        return { status: 'interdomain', vcpu, dom: this.#domid(peerSlotOf(word)), port: peerPortOf(word) as Port };
      case portState.pirq:
        return { status: 'pirq', vcpu, pirq: irqOf(word) };
      case portState.virq:
        return { status: 'virq', vcpu, virq: irqOf(word) };
      case portState.ipi:
        return { status: 'ipi', vcpu };
      default:
        return { status: 'closed', vcpu };
    }
  }

  /**
   * Clears MASK and raises what came meanwhile. -EINVAL only for a port without an entry; on a free one it does nothing
   * (EVTCHNOP_unmask).
   */
  unmask(caller: Domid, port: Port): number {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    if (port >>> 0 >= this.#ports.valid(slot)) return -errno.EINVAL;
    const page = this.#sharedInfo.at(slot);
    const abi32 = this.#sharedInfo.isAbi32(slot);
    if (this.#sharedInfo.clearMask(page, abi32, port) && this.#sharedInfo.isPending(page, port)) {
      this.#select(slot, page, abi32, port);
    }
    return 0;
  }

  /** Sets MASK, as a guest does without a call: an event then only sets PENDING. */
  mask(caller: Domid, port: Port): void {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0 || port >>> 0 >= this.#ports.valid(slot)) return;
    this.#sharedInfo.setMask(this.#sharedInfo.at(slot), this.#sharedInfo.isAbi32(slot), port);
  }

  /** Sets MASK on every port that the ABI has, as Linux does at boot. */
  maskAll(caller: Domid): void {
    const slot = this.#memory.callerOf(caller);
    if (slot >= 0) this.#sharedInfo.maskAll(this.#sharedInfo.at(slot), this.#sharedInfo.isAbi32(slot));
  }

  /** Makes one of the caller's own ports pending, as a guest does without a call. */
  retrigger(caller: Domid, port: Port): void {
    const slot = this.#memory.callerOf(caller);
    if (slot >= 0 && port >>> 0 < this.#ports.valid(slot)) this.raise(slot, port);
  }

  /**
   * Raises an event at a port (`evtchn_2l_set_pending`): PENDING, then the selector, then the vCPU; each only if it was clear.
   * It takes no lock, so one that races with the port's close, or its domain's end, may be found by the next user of the port,
   * or of the slot: as a spurious event. What it changes belongs to the ABI that it saw: another's has a page of its own.
   */
  raise(slot: number, port: number): void {
    const abi32 = this.#sharedInfo.isAbi32(slot);
    if (abi32 && port >= EVENTS_32) return;
    const page = this.#sharedInfo.pageOf(slot, abi32);
    if (this.#sharedInfo.setPending(page, port)) return;
    if (!this.#sharedInfo.isMasked(page, abi32, port)) this.#select(slot, page, abi32, port);
  }

  /** Selects whatever is pending and not masked, with the upcall: a sender may have died before it did. */
  selectAllPending(slot: number): void {
    const page = this.#sharedInfo.at(slot);
    const abi32 = this.#sharedInfo.isAbi32(slot);
    for (let port = 0; port < this.#ports.valid(slot); port += 32) {
      let bits = this.#sharedInfo.deliverable(page, abi32, port >>> 5);
      for (; bits !== 0; bits &= bits - 1) {
        const at = port + 31 - Math.clz32(bits & -bits);
        const info = this.#notified(slot, page, at);
        this.#sharedInfo.select(info, abi32, at);
        this.#sharedInfo.setUpcall(info);
      }
    }
  }

  /** Closes a port of a slot; the lock is held. The peer goes first: then a death between leaves only the dead domain's end torn. */
  closeIn(slot: number, port: number): number {
    const word = this.#ports.get(slot, port);
    const state = stateOf(word);
    if (state === portState.free || state === portState.reserved) return -errno.EINVAL;
    if (state === portState.interdomain) {
      this.#ports.set(peerSlotOf(word), peerPortOf(word), unboundPort(this.#domid(slot)));
    } else if (state === portState.virq) {
      this.#virqs.release(slot, irqOf(word), port);
    }
    this.#ports.free(slot, port);
    return 0;
  }

  #allocUnbound(caller: Domid, dom: Domid, remote: Domid): number {
    const own = this.#memory.callerOf(caller);
    const slot = this.#memory.slotOf(dom);
    if (slot < 0 || own < 0) return -errno.ESRCH;
    const port = this.#ports.lowestFree(slot);
    if (port < 0) return port;
    if (!this.#mayControl(own, slot)) return -errno.EPERM;
    this.#ports.set(slot, port, unboundPort(remote));
    return port;
  }

  #bindInterdomain(caller: Domid, remote: Domid, remotePort: Port): number {
    const slot = this.#memory.callerOf(caller);
    const peer = this.#memory.slotOf(remote);
    if (slot < 0 || peer < 0) return -errno.ESRCH;
    const port = this.#ports.lowestFree(slot);
    if (port < 0) return port;
    if (this.#ports.get(peer, remotePort) !== unboundPort(caller)) return -errno.EINVAL;
    this.#ports.set(slot, port, interdomainPort(peer, remotePort));
    this.#ports.set(peer, remotePort, interdomainPort(slot, port));
    return port;
  }

  #select(slot: number, page: number, abi32: boolean, port: number): void {
    const info = this.#notified(slot, page, port);
    if (this.#sharedInfo.select(info, abi32, port)) return;
    if (!this.#sharedInfo.setUpcall(info)) this.#doorbell.kick(slot);
  }

  /**
   * The vcpu_info of the vCPU that a port notifies. Without the lock, the port may have gone with its domain: then vCPU 0, which
   * every domain has, gets an event too many.
   */
  #notified(slot: number, page: number, port: number): number {
    const count = this.#vcpus.count(slot);
    if (count <= 1 || port >= this.#ports.valid(slot)) return page;
    const vcpu = this.#ports.vcpu(slot, port);
    return vcpu < count ? this.#sharedInfo.infoIn(page, vcpu) : page;
  }

  #domid(slot: number): Domid {
    return this.#words[this.#memory.control(slot) + control.domid] as Domid;
  }

  #mayControl(own: number, slot: number): boolean {
    const flags = this.#words[this.#memory.control(own) + control.flags] as number;
    return own === slot || (flags & domainFlag.privileged) !== 0;
  }
}
