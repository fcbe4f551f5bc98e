import { Sched } from '../../core/domain/sched.js';
import { XenError } from '../../core/errors.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { shutdownReason } from '../../core/hypervisor/sched.js';
import type { Domid, Port, ShutdownReason } from '../../core/index.js';
import type { GuestEntry } from './guest-entry.js';
import { OwnDomain } from './own-domain.js';

/** The scheduling operations of a domain of our Xen. What waits resumes in the entry that ends its wait. */
export class HypervisorSched extends Sched {
  readonly #own: OwnDomain;
  readonly #entry: GuestEntry;
  readonly #onYield: (vcpu: number) => void;

  /** @param onYield told which vCPU gives the rest of its time slice to others */
  constructor(hypervisor: Hypervisor, domid: Domid, entry: GuestEntry, onYield: (vcpu: number) => void = () => {}) {
    super();
    this.#own = new OwnDomain(hypervisor, domid);
    this.#entry = entry;
    this.#onYield = onYield;
  }

  override async yield(): Promise<void> {
    const { hypervisor, domid } = this.#own.alive;
    const vcpu = this.#entry.current;
    this.#check(hypervisor.sched.yield(domid, vcpu), 'SCHEDOP_yield');
    this.#onYield(vcpu);
    await this.#entered(vcpu, true);
  }

  override async block(): Promise<void> {
    const { hypervisor, domid } = this.#own.alive;
    const vcpu = this.#entry.current;
    this.#check(hypervisor.sched.block(domid, vcpu), 'SCHEDOP_block');
    const pending = !hypervisor.vcpus.isBlocked(hypervisor.memory.slotOf(domid), vcpu);
    await this.#entered(vcpu, pending);
  }

  override async poll(ports: readonly Port[], timeout?: number): Promise<void> {
    const { hypervisor, domid } = this.#own.alive;
    const vcpu = this.#entry.current;
    if (timeout !== undefined && (!Number.isInteger(timeout) || timeout < 1)) {
      throw new RangeError(`SCHEDOP_poll ends at a system time in whole nanoseconds from 1, not at ${timeout}`);
    }
    const result = hypervisor.sched.poll(domid, vcpu, ports, timeout ?? 0);
    this.#check(result, `SCHEDOP_poll of ${ports.length > 8 ? `${ports.length} ports` : `ports ${ports.join(', ')}`}`);
    if (hypervisor.vcpus.isBlocked(hypervisor.memory.slotOf(domid), vcpu)) await this.#entered(vcpu, false);
  }

  override async shutdown(reason: Exclude<ShutdownReason, 'suspend'>): Promise<never> {
    const { hypervisor, domid } = this.#own.alive;
    this.#check(hypervisor.sched.shutdown(domid, shutdownReason[reason]), `SCHEDOP_shutdown as ${reason}`);
    return await new Promise<never>(() => {});
  }

  override shutdownCode(reason: ShutdownReason): void {
    const { hypervisor, domid } = this.#own.alive;
    this.#check(hypervisor.sched.shutdownCode(domid, shutdownReason[reason]), `SCHEDOP_shutdown_code ${reason}`);
  }

  override async suspend(): Promise<'cancelled' | 'resumed'> {
    const { hypervisor, domid } = this.#own.alive;
    const vcpu = this.#entry.current;
    const entered = this.#entered(vcpu, false);
    this.#check(hypervisor.sched.shutdown(domid, shutdownReason.suspend), 'SCHEDOP_shutdown as suspend');
    await entered;
    return 'cancelled';
  }

  override watchdog(id: number, seconds: number): number {
    const { hypervisor, domid } = this.#own.alive;
    return this.#check(hypervisor.sched.watchdog(domid, id, seconds), `SCHEDOP_watchdog ${id}`);
  }

  /** Resolves when a vCPU is entered, which is asked for if `soon`. */
  #entered(vcpu: number, soon: boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#entry.resumeAt(vcpu, resolve);
      if (soon) this.#entry.attend(vcpu);
    });
  }

  #check(result: number, what: string): number {
    if (result < 0) throw new XenError(-result, `${what}, vCPU ${this.#entry.current} of domain ${this.#own.domid}`);
    return result;
  }
}
