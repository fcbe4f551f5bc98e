// Long, since every operation of event_channel.h is told in one place.
import { errno } from '../abi/errno.js';
import type { PortStatus } from '../abi/port-status.js';
import { DOMID_SELF, type Domid, type Port } from '../abi/units.js';
import { virqClass } from '../abi/virq.js';
import type { Doorbell } from './doorbell.js';
import { control, domainFlag, life, PORTS_PER_BUCKET } from './layout.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';
import type { PirqTable } from './pirq-table.js';
import type { Pollers } from './pollers.js';
import {
  interdomainPort,
  irqOf,
  isUsable,
  type Ports,
  peerPortOf,
  peerSlotOf,
  plainPort,
  portState,
  remoteOf,
  SEND_KIND,
  stateOf,
  unboundPort,
  XEN_CONSUMER,
  XEN_PEER,
} from './ports.js';
import { portsOf2Level, type SharedInfo } from './shared-info.js';
import type { Vcpus } from './vcpus.js';
import type { VirqPorts } from './virq-ports.js';

const EVENTS_32 = portsOf2Level(true);

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
  readonly #pirqs: PirqTable;
  readonly #pollers: Pollers;

  constructor(
    memory: MachineMemory,
    lock: Lock,
    ports: Ports,
    sharedInfo: SharedInfo,
    vcpus: Vcpus,
    doorbell: Doorbell,
    virqs: VirqPorts,
    pirqs: PirqTable,
    pollers: Pollers,
  ) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#lock = lock;
    this.#ports = ports;
    this.#sharedInfo = sharedInfo;
    this.#vcpus = vcpus;
    this.#doorbell = doorbell;
    this.#virqs = virqs;
    this.#pirqs = pirqs;
    this.#pollers = pollers;
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

  /**
   * Binds a new port to the caller itself: its own send raises it, on a vCPU that it keeps for life (EVTCHNOP_bind_ipi). -ENOENT no such
   * vCPU, -ENOSPC, -ENOMEM.
   */
  bindIpi(caller: Domid, vcpu: number): Port | number {
    this.#lock.acquire(caller);
    const result = this.#bindIpi(caller, vcpu);
    this.#lock.release();
    return result;
  }

  /**
   * Has a port notify another vCPU of the caller's, from its next event on: one that is pending stays where it is selected
   * (EVTCHNOP_bind_vcpu). -ENOENT no such vCPU; -EINVAL out of range, free, reserved, Xen's, an IPI or a VIRQ that is per vCPU.
   */
  bindVcpu(caller: Domid, port: Port, vcpu: number): number {
    this.#lock.acquire(caller);
    const result = this.#bindVcpu(caller, port, vcpu);
    this.#lock.release();
    return result;
  }

  /**
   * Would give a vCPU a control block of the FIFO ABI (EVTCHNOP_init_control). -EOPNOTSUPP, whatever is asked for: as a Xen that is built
   * without CONFIG_EVTCHN_FIFO, where events stay in the 2-level ABI.
   */
  initControl(caller: Domid): number {
    return this.#memory.callerOf(caller) < 0 ? -errno.ESRCH : -errno.EOPNOTSUPP;
  }

  /** Would add a page of event words of the FIFO ABI (EVTCHNOP_expand_array). -EOPNOTSUPP, as in {@link initControl}. */
  expandArray(caller: Domid): number {
    return this.#memory.callerOf(caller) < 0 ? -errno.ESRCH : -errno.EOPNOTSUPP;
  }

  /**
   * Would give a port another priority, which the 2-level ABI has none of (EVTCHNOP_set_priority). -EINVAL a port out of range, else
   * -ENOSYS.
   */
  setPriority(caller: Domid, port: Port): number {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    return port >>> 0 >= this.#ports.valid(slot) ? -errno.EINVAL : -errno.ENOSYS;
  }

  /**
   * Closes all ports of a domain but Xen's own, 64 at a time: others' calls come between (EVTCHNOP_reset). -ESRCH; -EPERM another's
   * without privilege; -EINVAL another's that is not paused; -EBUSY while another call does it; -EAGAIN ports were opened meanwhile.
   */
  reset(caller: Domid, dom: Domid): number {
    this.#lock.acquire(caller);
    const slot = this.#memory.slotOf(dom === DOMID_SELF ? caller : dom);
    let result = this.#beginReset(caller, slot);
    if (result === 0) {
      const incarnation = this.#incarnation(slot);
      for (let port = 1; port < this.#ports.valid(slot) && result === 0; port++) {
        this.closeIn(slot, port);
        if (port % PORTS_PER_BUCKET === 0) result = this.#breathe(caller, slot, incarnation);
      }
      if (this.#incarnation(slot) === incarnation) {
        this.#words[this.#memory.control(slot) + control.resetBy] = 0;
        if (result === 0 && this.#hasOpenPorts(slot)) result = -errno.EAGAIN;
      }
    }
    this.#lock.release();
    this.raiseDue();
    return result;
  }

  /**
   * Frees a port; an interdomain peer waits for this domain again and is not told; an interrupt is unbound (EVTCHNOP_close). -EINVAL out of
   * range, free, reserved, or Xen's own.
   */
  close(caller: Domid, port: Port): number {
    this.#lock.acquire(caller);
    const slot = this.#memory.callerOf(caller);
    const result = slot < 0 ? -errno.ESRCH : this.closeIn(slot, port);
    this.#lock.release();
    this.raiseDue();
    return result;
  }

  /**
   * Raises the event at the other end, or an IPI; lost while the other end is unbound (EVTCHNOP_send). -EINVAL out of range, free, reserved,
   * bound to an interrupt, or Xen's own.
   */
  send(caller: Domid, port: Port): number {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    const word = this.#ports.get(slot, port);
    switch (word & SEND_KIND) {
      case portState.interdomain:
        this.raise(peerSlotOf(word), peerPortOf(word));
        return 0;
      case portState.interdomain | XEN_PEER:
        // Who waits in Xen for this event is woken (`default_xen_notification_fn`): nothing is pending for the domain.
        this.#doorbell.kick(peerSlotOf(word));
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
   * Clears MASK and raises what came meanwhile. -EINVAL only for a port without an entry; a free one, and Xen's own, stay as they are
   * (EVTCHNOP_unmask).
   */
  unmask(caller: Domid, port: Port): number {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    if (port >>> 0 >= this.#ports.valid(slot)) return -errno.EINVAL;
    if (!isUsable(this.#ports.get(slot, port))) return 0;
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
   * Raises an event at a port (`evtchn_2l_set_pending`): PENDING, then the selector, then the vCPU; each only if it was clear. Then who
   * polls the port is woken. It takes no lock, so one that races with the port's close, or its domain's end, may be found by the
   * next user of the port, or of the slot: as a spurious event. What it changes belongs to the ABI that it saw: another's has a
   * page of its own.
   */
  raise(slot: number, port: number): void {
    const flags = this.#sharedInfo.flags(slot);
    const abi32 = (flags & domainFlag.abi32) !== 0;
    if (abi32 && port >= EVENTS_32) return;
    const page = this.#sharedInfo.pageOf(slot, flags);
    if (this.#sharedInfo.setPending(page, port)) return;
    const info = this.#sharedInfo.isMasked(page, abi32, port) ? 0 : this.#mark(slot, page, abi32, port);
    // Looked at once, whatever they wait for: this is what each event costs those who do not poll.
    if (!this.#pollers.any(slot)) return;
    if (info !== 0) this.#pollers.unblock(slot, this.#sharedInfo.vcpuOf(page, info));
    this.#pollers.wake(slot, port);
  }

  /** Whether a pending port notifies another vCPU than the one that has found it; that one is then told, if it was not. */
  handsOn(slot: number, vcpu: number, port: number): boolean {
    const page = this.#sharedInfo.at(slot);
    if (this.#notified(slot, page, port) === this.#sharedInfo.infoIn(page, vcpu)) return false;
    this.#select(slot, page, this.#sharedInfo.isAbi32(slot), port);
    return true;
  }

  /** Raises the physical interrupts that came due under the lock, which the caller has let go. */
  raiseDue(): void {
    const { due } = this.#pirqs;
    if (due.length === 0) return;
    const now = due.splice(0);
    for (let i = 0; i < now.length; i += 2) this.raise(now[i] as number, now[i + 1] as number);
  }

  /** Selects whatever is pending and not masked, with the upcall, and wakes who polls: a sender may have died before it did. */
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
    this.#pollers.wakeAll(slot);
  }

  /**
   * Closes a port of a slot, for its guest or for Xen; the lock is held. The peer goes first: then a death between leaves only
   * the dead domain's end torn.
   */
  closeIn(slot: number, port: number, guest = true): number {
    const word = this.#ports.get(slot, port);
    const state = stateOf(word);
    if (state === portState.free || state === portState.reserved) return -errno.EINVAL;
    if ((word & XEN_CONSUMER) !== 0 && guest) return -errno.EINVAL;
    if (state === portState.interdomain) {
      const peer = this.#ports.get(peerSlotOf(word), peerPortOf(word));
      this.#ports.set(peerSlotOf(word), peerPortOf(word), unboundPort(this.#domid(slot)) | (peer & XEN_CONSUMER));
    } else if (state === portState.virq) {
      this.#virqs.release(slot, irqOf(word), port);
    } else if (state === portState.pirq) {
      this.#pirqs.release(slot, irqOf(word));
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
    this.#ports.bind(slot, port, unboundPort(remote), 0);
    return port;
  }

  #bindInterdomain(caller: Domid, remote: Domid, remotePort: Port): number {
    const slot = this.#memory.callerOf(caller);
    const peer = this.#memory.slotOf(remote);
    if (slot < 0 || peer < 0) return -errno.ESRCH;
    const port = this.#ports.lowestFree(slot);
    if (port < 0) return port;
    const theirs = this.#ports.get(peer, remotePort);
    if (plainPort(theirs) !== unboundPort(caller)) return -errno.EINVAL;
    const xen = theirs & XEN_CONSUMER;
    this.#ports.bind(slot, port, interdomainPort(peer, remotePort) | (xen === 0 ? 0 : XEN_PEER), 0);
    this.#ports.set(peer, remotePort, interdomainPort(slot, port) | xen);
    return port;
  }

  #bindIpi(caller: Domid, vcpu: number): number {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    if (!this.#vcpus.has(slot, vcpu)) return -errno.ENOENT;
    const port = this.#ports.lowestFree(slot);
    if (port >= 0) this.#ports.bind(slot, port, portState.ipi, vcpu);
    return port;
  }

  #bindVcpu(caller: Domid, port: Port, vcpu: number): number {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    if (!this.#vcpus.has(slot, vcpu)) return -errno.ENOENT;
    const word = this.#ports.get(slot, port);
    const state = stateOf(word);
    const bound =
      state === portState.unbound ||
      state === portState.interdomain ||
      state === portState.pirq ||
      (state === portState.virq && virqClass(irqOf(word)) !== 'vcpu');
    if (!bound || (word & XEN_CONSUMER) !== 0) return -errno.EINVAL;
    this.#ports.setVcpu(slot, port, vcpu);
    return 0;
  }

  #beginReset(caller: Domid, slot: number): number {
    const own = this.#memory.callerOf(caller);
    if (slot < 0 || own < 0) return -errno.ESRCH;
    if (!this.#mayControl(own, slot)) return -errno.EPERM;
    const at = this.#memory.control(slot);
    if (own !== slot && this.#words[at + control.pauseCount] === 0) return -errno.EINVAL;
    if (this.#words[at + control.resetBy] !== 0) return -errno.EBUSY;
    this.#words[at + control.resetBy] = caller + 1;
    return 0;
  }

  /** Lets others have the lock for a moment; whether both domains are still there. */
  #breathe(caller: Domid, slot: number, incarnation: number): number {
    this.#lock.release();
    this.raiseDue();
    this.#lock.acquire(caller);
    return this.#memory.callerOf(caller) < 0 || this.#incarnation(slot) !== incarnation ? -errno.ESRCH : 0;
  }

  /** The incarnation of the domain in a slot; 0 where it is no more. */
  #incarnation(slot: number): number {
    const at = this.#memory.control(slot);
    return this.#words[at + control.life] === life.none ? 0 : (this.#words[at + control.incarnation] as number);
  }

  #hasOpenPorts(slot: number): boolean {
    for (let port = 1; port < this.#ports.valid(slot); port++) {
      const word = this.#ports.get(slot, port);
      if (word !== portState.free && (word & XEN_CONSUMER) === 0) return true;
    }
    return false;
  }

  #select(slot: number, page: number, abi32: boolean, port: number): void {
    const info = this.#mark(slot, page, abi32, port);
    if (info !== 0 && this.#pollers.any(slot)) this.#pollers.unblock(slot, this.#sharedInfo.vcpuOf(page, info));
  }

  /** Selects a pending port, and tells its vCPU; the vcpu_info of one that had not been told, else 0. */
  #mark(slot: number, page: number, abi32: boolean, port: number): number {
    const info = this.#notified(slot, page, port);
    if (this.#sharedInfo.select(info, abi32, port) || this.#sharedInfo.setUpcall(info)) return 0;
    this.#doorbell.kick(slot);
    return info;
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
