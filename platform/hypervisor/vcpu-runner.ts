import type { Domid } from '../../core/abi/units.js';
import type { Registers, TrapHandler } from '../../core/domain/traps.js';
import { XenError } from '../../core/errors.js';
import { DomainCrash } from '../../core/hypervisor/domain-crash.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { field, type VcpuContext } from '../../core/hypervisor/vcpu-context.js';
import { LiveRegisters, snapshotOf } from './registers.js';
import { GuestTrapFrame } from './trap-frame.js';

/** Handlers that run in one entry, at most: one that always finds more to do is left for the next. */
const HANDLERS_PER_ENTRY = 64;

/** An instruction that traps: what executes it, and what waits for its end. */
interface Instruction {
  readonly what: string;
  readonly execute: () => number;
  readonly resolve: (registers: Readonly<Registers>) => void;
  readonly reject: (error: Error) => void;
}

/** Code that runs, or waits to go on, on a vCPU: a handler with its frame, or the domain's program, which has none. */
interface Activation {
  readonly frame: GuestTrapFrame | undefined;
  entered: boolean;
  /** What its code has executed since it began, and what has not trapped yet. */
  readonly instructions: Instruction[];
  /** The instruction whose handlers run now. */
  trapped: Instruction | undefined;
}

const activation = (frame?: GuestTrapFrame): Activation => ({
  frame,
  entered: false,
  instructions: [],
  trapped: undefined,
});

/** What a runner needs of its domain. */
export interface RunnerOptions {
  readonly hypervisor: Hypervisor;
  readonly domid: Domid;
  readonly abi32: boolean;
  readonly vcpu: number;
  readonly codeAt: (address: bigint) => TrapHandler | undefined;
  /** Delivers events to the channels' subscribers, at most `limit`; how many. */
  readonly upcall: (limit: number | undefined) => number;
  /** Told of what a handler throws. */
  readonly onError: (error: unknown) => void;
  readonly onCrash: (crash: DomainCrash) => void;
}

/**
 * One vCPU as it executes its guest's code: functions, each until it returns. The frames that Xen builds nest on the guest's stack, and
 * their handlers here; a handler's end is the iret of its frame, and after each the vCPU returns to its guest by way of Xen's tests.
 */
export class VcpuRunner {
  readonly registers: LiveRegisters;
  readonly #to: RunnerOptions;
  readonly #stack: Activation[] = [];
  readonly #program = activation();
  #limit: number | undefined;
  #delivered = 0;
  #running = false;

  constructor(options: RunnerOptions) {
    this.#to = options;
    this.#program.entered = true;
    this.registers = new LiveRegisters(() => this.context, options.abi32);
  }

  /** @throws XenError ESRCH, ENOMEM */
  get context(): VcpuContext {
    const { hypervisor, domid, vcpu } = this.#to;
    const context = hypervisor.traps.context(domid, vcpu);
    if (typeof context === 'number') throw new XenError(-context, `the registers of vCPU ${vcpu} of domain ${domid}`);
    return context;
  }

  /**
   * Executes an instruction of the code that runs: at once where the program runs and none of its is under way, else when its turn
   * comes: in a handler, before its return. Resolves when its handlers have returned.
   */
  execute(what: string, execute: () => number): Promise<Readonly<Registers>> {
    return new Promise((resolve, reject) => {
      const top = this.#stack.at(-1) ?? this.#program;
      top.instructions.push({ what, execute, resolve, reject });
      if (!this.#running && top === this.#program) this.#executeNext(top);
    });
  }

  /** Hands pending events to their subscribers, as the event callback does. */
  upcall(): number {
    const left = this.#limit === undefined ? undefined : Math.max(1, this.#limit - this.#delivered);
    const delivered = this.#to.upcall(left);
    if (this.#running) this.#delivered += delivered;
    return delivered;
  }

  /** The way back to the guest, and the guest itself as long as handlers run. How many events were delivered. */
  enter(limit: number | undefined): number {
    this.#limit = limit;
    this.#delivered = 0;
    this.#running = true;
    try {
      for (let handlers = 0; this.#step(); ) {
        if (++handlers < HANDLERS_PER_ENTRY) continue;
        // The rest waits for the next entry: others are to run as well.
        const { hypervisor, domid, vcpu } = this.#to;
        const slot = hypervisor.memory.callerOf(domid);
        if (slot >= 0) {
          hypervisor.vcpus.attend(slot, vcpu);
          hypervisor.doorbell.kick(slot);
        }
        break;
      }
    } finally {
      this.#running = false;
      this.#limit = undefined;
    }
    return this.#delivered;
  }

  /** Returns to the guest, and runs what rip names then; false when that is the program, which goes on by itself. */
  #step(): boolean {
    const { hypervisor, domid, vcpu, abi32, onCrash } = this.#to;
    const { traps } = hypervisor;
    const built = traps.returnToGuest(domid, vcpu);
    if (built instanceof DomainCrash) {
      onCrash(built);
      return false;
    }
    for (const frame of built) {
      this.#stack.push(activation(new GuestTrapFrame(traps.guestMemory, domid, abi32, frame)));
    }
    // Without a callback of the guest's, subscribers are called as one would be: on top of whatever was built, before it runs.
    if (this.#stack.length > 0 && this.#isUpcallDue()) this.upcall();
    const top = this.#stack.at(-1) ?? this.#program;
    if (!top.entered) {
      top.entered = true;
      if (!this.#call(top)) return false;
    } else if (top.trapped !== undefined) {
      top.trapped.resolve(snapshotOf(this.registers));
      top.trapped = undefined;
    }
    if (top.instructions.length > 0) {
      this.#executeNext(top);
      return true;
    }
    return top !== this.#program && this.#iret(top);
  }

  #isUpcallDue(): boolean {
    const { hypervisor, domid, vcpu } = this.#to;
    const slot = hypervisor.memory.callerOf(domid);
    if (slot < 0 || hypervisor.traps.hasEventCallback(domid, vcpu)) return false;
    return hypervisor.sharedInfo.hasUpcall(hypervisor.sharedInfo.infoOf(slot, vcpu));
  }

  #executeNext(of: Activation): void {
    if (of.trapped !== undefined) return;
    const next = of.instructions.shift();
    if (next === undefined) return;
    try {
      const { domid, vcpu } = this.#to;
      const result = next.execute();
      if (result < 0) next.reject(new XenError(-result, `${next.what} on vCPU ${vcpu} of domain ${domid}`));
      else of.trapped = next;
    } catch (error) {
      next.reject(error as Error);
    }
  }

  /** Calls the handler that rip names; false where none lies there, and the domain has crashed. */
  #call({ frame }: Activation): boolean {
    const { hypervisor, domid, vcpu, codeAt, onError, onCrash } = this.#to;
    const { rip } = this.registers;
    const handler = codeAt(rip);
    if (handler === undefined || frame === undefined) {
      onCrash(hypervisor.traps.crash(domid, vcpu, `no code lies at 0x${rip.toString(16)}, where a handler was to be`));
      return false;
    }
    try {
      handler(frame);
    } catch (error) {
      onError(error);
    }
    return true;
  }

  /** What a guest's stub does at a handler's end: it makes the frame one of iret's, and makes the call. */
  #iret({ frame }: Activation): boolean {
    this.#stack.pop();
    const { hypervisor, domid, vcpu, abi32, onCrash } = this.#to;
    if (hypervisor.memory.callerOf(domid) < 0 || frame === undefined) return false;
    const { guestMemory } = hypervisor.traps;
    const { context } = this;
    const size = abi32 ? 4 : 32;
    const below = frame.ripAddress - BigInt(size);
    // Where the stack has gone meanwhile, iret finds that out.
    const at = frame.isThere ? guestMemory.at(domid, below, size) : -1;
    if (at >= 0) {
      const { rcx = 0n, r11 = 0n, segments } = frame;
      if (segments !== undefined) {
        context.setNumber(field.ds, segments.ds);
        context.setNumber(field.es, segments.es);
        context.setNumber(field.fs, segments.fs);
        context.setNumber(field.gs, segments.gs);
      }
      const rax = context.get(field.rax);
      guestMemory.write(at, abi32 ? [rax] : [rax, r11, rcx, 0n], abi32 ? 32 : 64);
    }
    context.set(field.rsp, below);
    const crash = hypervisor.traps.iret(domid, vcpu);
    if (crash instanceof DomainCrash) onCrash(crash);
    return crash === 0;
  }
}
