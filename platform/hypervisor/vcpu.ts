import { Observable } from 'rxjs';
import { errno } from '../../core/abi/errno.js';
import { PAGE_SIZE } from '../../core/abi/units.js';
import type { Page } from '../../core/domain/grant-table.js';
import { type Runstate, type RunstateInfo, Vcpu } from '../../core/domain/vcpus.js';
import { XenError } from '../../core/errors.js';
import { timeInfo } from '../../core/hypervisor/time-pages.js';
import type { GuestEntry } from './guest-entry.js';
import type { OwnDomain } from './own-domain.js';
import { FramePage } from './page.js';
import { type BindTimer, TimerPort } from './timer-port.js';

/** Has a vCPU receive so many nanoseconds of CPU: a platform's own. */
export type Spend = (vcpu: number, ns: number) => Promise<void>;

const STATES: readonly Runstate[] = ['running', 'runnable', 'blocked', 'offline'];

/** Nanoseconds of a number of milliseconds. @throws RangeError unless it is 0 or more */
const nanoseconds = (what: string, ms: number): number => {
  if (!(ms >= 0 && ms < Number.POSITIVE_INFINITY)) throw new RangeError(`${what} is 0 ms or more, not ${ms}`);
  return Math.round(ms * 1e6);
};

/** A vCPU of a domain of our Xen. */
export class HypervisorVcpu extends Vcpu {
  readonly #own: OwnDomain;
  readonly #entry: GuestEntry;
  readonly #slot: number;
  readonly #timers: TimerPort;
  readonly #spend: Spend;

  constructor(
    own: OwnDomain,
    entry: GuestEntry,
    readonly id: number,
    bind: BindTimer,
    spend: Spend,
  ) {
    super();
    this.#own = own;
    this.#entry = entry;
    this.#slot = own.hypervisor.memory.slotOf(own.domid);
    this.#timers = new TimerPort(own, entry, id, bind);
    this.#spend = spend;
  }

  override get isUp(): boolean {
    const { hypervisor, domid, isGone } = this.#own;
    return !isGone && hypervisor.vcpuOps.isUp(domid, this.id) === 1;
  }

  override get upcallMask(): boolean {
    const { hypervisor, isGone } = this.#own;
    const { sharedInfo } = hypervisor;
    return isGone || sharedInfo.masksUpcalls(sharedInfo.infoOf(this.#slot, this.id));
  }

  override set upcallMask(masked: boolean) {
    const { hypervisor, isGone } = this.#own;
    if (isGone) return;
    const { sharedInfo, doorbell } = hypervisor;
    const info = sharedInfo.infoOf(this.#slot, this.id);
    if (masked) sharedInfo.maskUpcalls(info);
    else {
      sharedInfo.unmaskUpcalls(info);
      // Who unmasks looks for what came meanwhile: here, by having the vCPU entered.
      if (sharedInfo.hasUpcall(info)) doorbell.kick(this.#slot);
    }
  }

  override up(): void {
    const { hypervisor, domid } = this.#own.alive;
    const initialised = hypervisor.vcpuOps.initialise(domid, this.id);
    if (initialised < 0 && initialised !== -errno.EEXIST) this.#check(initialised, 'VCPUOP_initialise');
    this.#check(hypervisor.vcpuOps.up(domid, this.id), 'VCPUOP_up');
  }

  override down(): void {
    const { hypervisor, domid } = this.#own.alive;
    this.#check(hypervisor.vcpuOps.down(domid, this.id), 'VCPUOP_down');
  }

  override runstate(): RunstateInfo {
    const { hypervisor, domid } = this.#own.alive;
    const info = hypervisor.vcpuOps.runstateInfo(domid, this.id);
    if (typeof info === 'number') throw new XenError(-info, `VCPUOP_get_runstate_info of vCPU ${this.id}`);
    const [running, runnable, blocked, offline] = info.time;
    return {
      state: STATES[info.state] as Runstate,
      stateEntryTime: info.stateEntryTime,
      time: { running, runnable, blocked, offline },
    };
  }

  override registerRunstate(page: Page, offset: number, update = false): void {
    const { hypervisor, domid } = this.#own.alive;
    const { vcpuOps } = hypervisor;
    const address = FramePage.live(page).frame * PAGE_SIZE + offset;
    const result = vcpuOps.registerRunstateArea(domid, this.id, address);
    this.#check(result, `VCPUOP_register_runstate_memory_area at byte ${offset} of a page`);
    // After it, so that what is refused changes nothing.
    vcpuOps.assistRunstateUpdate(domid, update);
  }

  override registerTime(page: Page, offset: number): void {
    const { hypervisor, domid } = this.#own.alive;
    const address = FramePage.live(page).frame * PAGE_SIZE + offset;
    const result = hypervisor.vcpuOps.registerTimeArea(domid, this.id, address);
    this.#check(result, `VCPUOP_register_vcpu_time_memory_area at byte ${offset} of a page`);
  }

  override systemTime(): number {
    const { hypervisor } = this.#own.alive;
    const { words } = hypervisor.memory;
    const at = hypervisor.timePages.at(this.#slot, this.id);
    for (;;) {
      const version = Atomics.load(words, at + timeInfo.version);
      const stamp = pair(words, at + timeInfo.tscTimestamp);
      const system = pair(words, at + timeInfo.systemTime);
      const mul = BigInt(Atomics.load(words, at + timeInfo.tscToSystemMul) >>> 0);
      const shift = (Atomics.load(words, at + timeInfo.shiftAndFlags) << 24) >> 24;
      if ((version & 1) !== 0 || Atomics.load(words, at + timeInfo.version) !== version) continue;
      const delta = BigInt(hypervisor.time.systemTime()) - stamp;
      const ticks = shift < 0 ? delta >> BigInt(-shift) : delta << BigInt(shift);
      return Number(system + ((ticks * mul) >> 32n));
    }
  }

  override run<T>(task: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#entry.resumeAt(this.id, () => {
        try {
          resolve(task());
        } catch (error) {
          reject(error);
        }
      });
      this.#entry.attend(this.id);
    });
  }

  override sendNmi(): void {
    const { hypervisor, domid } = this.#own.alive;
    this.#check(hypervisor.traps.exceptions.sendNmi(domid, this.id), 'VCPUOP_send_nmi');
  }

  override singleshot$(timeoutAbsNs: number): Observable<void> {
    return this.#timers.singleshot$(timeoutAbsNs);
  }

  override periodic$(periodNs: number): Observable<void> {
    return this.#timers.periodic$(periodNs);
  }

  override virtualTimer$(ms: number): Observable<void> {
    return virtualTimer$(this.#entry, this.id, ms);
  }

  override spend(ms: number): Promise<void> {
    return this.#spend(this.id, nanoseconds('CPU time to spend', ms));
  }

  #check(result: number, what: string): void {
    if (result < 0) throw new XenError(-result, `${what} on vCPU ${this.id} of domain ${this.#own.domid}`);
  }
}

/** Emits once a vCPU, or all together, have received so many milliseconds of CPU. */
export const virtualTimer$ = (entry: GuestEntry, vcpu: number | undefined, ms: number): Observable<void> => {
  const ns = nanoseconds('a timer in virtual time', ms);
  return new Observable((subscriber) => {
    const stop = entry.alive.virtualTimers.set(vcpu, ns, () => {
      subscriber.next();
      subscriber.complete();
    });
    entry.look();
    return () => {
      stop();
      entry.look();
    };
  });
};

const pair = (words: Int32Array, at: number): bigint =>
  (BigInt(Atomics.load(words, at + 1) >>> 0) << 32n) | BigInt(Atomics.load(words, at) >>> 0);
