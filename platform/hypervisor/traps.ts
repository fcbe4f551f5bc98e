import type { Domid } from '../../core/abi/units.js';
import { PAGE_SIZE } from '../../core/abi/units.js';
import type { Page } from '../../core/domain/grant-table.js';
import {
  type CallbackType,
  type Fault,
  type Registers,
  type TrapEntry,
  type TrapHandler,
  Traps,
} from '../../core/domain/traps.js';
import { XenError } from '../../core/errors.js';
import { CALLBACKF_mask_events, callbackOp, callbackType } from '../../core/hypervisor/callbacks.js';
import { DomainCrash } from '../../core/hypervisor/domain-crash.js';
import { guestAddressOf } from '../../core/hypervisor/guest-memory.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { shutdownReason } from '../../core/hypervisor/sched.js';
import { field, flat } from '../../core/hypervisor/vcpu-context.js';
import type { HypervisorEventChannels } from './event-channels.js';
import type { GuestEntry } from './guest-entry.js';
import { OwnDomain } from './own-domain.js';
import { FramePage } from './page.js';
import { VcpuRunner } from './vcpu-runner.js';

/** What the virtual exceptions of a domain are made over. */
export interface TrapsParts {
  readonly hypervisor: Hypervisor;
  readonly domid: Domid;
  readonly channels: HypervisorEventChannels;
  readonly entry: GuestEntry;
  /** Told of what a handler throws. */
  readonly onError: (error: unknown) => void;
  /** Told, once, why the domain has crashed, before it is shut down for that (SHUTDOWN_crash). */
  readonly onCrash: (crash: DomainCrash) => void;
}

/** Bytes of a 64-bit iret frame, of which a 32-bit one has 24 (xen-x86_64.h `struct iret_context`). */
const IRET_FRAME = { native: 72, compat: 24 } as const;

/**
 * The virtual exceptions of a domain of our Xen. From its making on, whatever enters the domain comes by way of it; a domain that never
 * asks for it is entered as if there were none.
 */
export class HypervisorTraps extends Traps {
  readonly #own: OwnDomain;
  readonly #entry: GuestEntry;
  readonly #abi32: boolean;
  readonly #runners: (VcpuRunner | undefined)[] = [];
  readonly #code = new Map<bigint, TrapHandler>();
  readonly #parts: TrapsParts;
  #hasCrashed = false;

  /** @throws RangeError when there is no such domain */
  constructor(parts: TrapsParts) {
    super();
    const { hypervisor, domid, entry } = parts;
    this.#parts = parts;
    this.#own = new OwnDomain(hypervisor, domid);
    this.#entry = entry;
    this.#abi32 = hypervisor.sharedInfo.isAbi32(hypervisor.memory.slotOf(domid));
    entry.onEntry((vcpu, limit) => (this.#hasCrashed ? 0 : this.#runnerOf(vcpu).enter(limit)));
    entry.hasEventCallback = (vcpu) => hypervisor.traps.hasEventCallback(domid, vcpu);
  }

  override get registers(): Registers {
    return this.#runner().registers;
  }

  override code(address: bigint, handler: TrapHandler): Disposable {
    if (address === 0n) throw new RangeError('no code lies at address 0: it says that there is no handler');
    if (this.#code.has(address)) throw new RangeError(`code lies at 0x${address.toString(16)} already`);
    this.#code.set(address, handler);
    return { [Symbol.dispose]: () => void this.#code.delete(address) };
  }

  override addressOf(page: Page, offset = 0): bigint {
    const { frame, count } = FramePage.live(page);
    if (!Number.isInteger(offset) || offset < 0 || offset > count * PAGE_SIZE) {
      throw new RangeError(`a page of ${count * PAGE_SIZE} bytes has no byte ${offset}`);
    }
    return guestAddressOf(frame, offset);
  }

  override setTrapTable(traps: readonly TrapEntry[] | bigint | undefined): void {
    const table = Array.isArray(traps) ? (traps as readonly TrapEntry[]).map((entry) => this.#info(entry)) : traps;
    const { hypervisor, domid, vcpu } = this.#mine();
    const result = hypervisor.traps.setTrapTable(
      domid,
      vcpu,
      table as Parameters<typeof hypervisor.traps.setTrapTable>[2],
    );
    this.#check(result, 'HYPERVISOR_set_trap_table: an address is not canonical, or not in a page of its');
  }

  override setCallbacks(callbacks: {
    readonly event: bigint;
    readonly failsafe: bigint;
    readonly syscall?: bigint;
  }): void {
    const { hypervisor, domid, vcpu } = this.#mine();
    const cs = flat.ring1Cs;
    const selectors = this.#abi32 ? { eventCs: cs, failsafeCs: cs } : {};
    const given = { ...callbacks, ...selectors };
    this.#check(hypervisor.traps.callbacks.setCallbacks(domid, vcpu, given), 'HYPERVISOR_set_callbacks');
  }

  override registerCallback(
    type: CallbackType,
    address: bigint,
    options: { readonly maskEvents?: boolean } = {},
  ): void {
    const flags = options.maskEvents === true ? CALLBACKF_mask_events : 0;
    const { hypervisor, domid, vcpu } = this.#mine();
    const register = { type: callbackType[type], flags, address };
    const result = hypervisor.traps.callbacks.callbackOp(domid, vcpu, callbackOp.register, register);
    this.#check(result, `CALLBACKOP_register of ${type} at 0x${address.toString(16)}`);
  }

  override unregisterCallback(type: CallbackType): void {
    const { hypervisor, domid, vcpu } = this.#mine();
    const unregister = { type: callbackType[type] };
    const result = hypervisor.traps.callbacks.callbackOp(domid, vcpu, callbackOp.unregister, unregister);
    this.#check(result, `CALLBACKOP_unregister of ${type}, which only nmi allows`);
  }

  override stackSwitch(sp: bigint, ss: number = this.#abi32 ? flat.ring1Ss : flat.kernelSs64): void {
    const { hypervisor, domid, vcpu } = this.#mine();
    this.#check(hypervisor.traps.stackSwitch(domid, vcpu, ss, sp), 'HYPERVISOR_stack_switch');
  }

  override int3(): Promise<Readonly<Registers>> {
    return this.#execute('int3', (domid, vcpu) => this.#own.hypervisor.traps.exceptions.int3(domid, vcpu));
  }

  override softwareInterrupt(n: number): Promise<Readonly<Registers>> {
    const { exceptions } = this.#own.hypervisor.traps;
    return this.#execute(`int ${n}`, (domid, vcpu) => exceptions.softwareInterrupt(domid, vcpu, n));
  }

  override raise(fault: Fault): Promise<Readonly<Registers>> {
    const { exceptions } = this.#own.hypervisor.traps;
    return this.#execute(`exception ${fault.vector}`, (domid, vcpu) => exceptions.raise(domid, vcpu, fault));
  }

  override syscall(): Promise<Readonly<Registers>> {
    return this.#execute('SYSCALL', (domid, vcpu) => this.#own.hypervisor.traps.exceptions.syscall(domid, vcpu));
  }

  override iret(to: {
    readonly rip: bigint;
    readonly cs: number;
    readonly rflags: bigint;
    readonly rsp: bigint;
    readonly ss: number;
  }): void {
    const { hypervisor, domid, vcpu } = this.#mine();
    const { context } = this.#runner();
    const { guestMemory } = hypervisor.traps;
    const size = IRET_FRAME[this.#abi32 ? 'compat' : 'native'];
    const below = BigInt.asUintN(this.#abi32 ? 32 : 64, context.get(field.rsp) - BigInt(size));
    const at = guestMemory.at(domid, below, size);
    if (at >= 0) {
      const { rip, rflags, rsp } = to;
      const cs = BigInt(to.cs);
      const ss = BigInt(to.ss);
      const rax = context.get(field.rax);
      const scratch = this.#abi32 ? [rax] : [rax, context.get(field.r11), context.get(field.rcx), 0n];
      guestMemory.write(at, [...scratch, rip, cs, rflags, rsp, ss], this.#abi32 ? 32 : 64);
    }
    context.set(field.rsp, below);
    const result = hypervisor.traps.iret(domid, vcpu);
    if (result instanceof DomainCrash) this.#crashed(result);
    else this.#check(result, 'HYPERVISOR_iret');
    const slot = hypervisor.memory.callerOf(domid);
    if (slot < 0) return;
    // What has come while upcalls were masked is tested for on the way back.
    hypervisor.vcpus.attend(slot, vcpu);
    hypervisor.doorbell.kick(slot);
  }

  override sendNmi(vcpu: number = this.#entry.current): void {
    const { hypervisor, domid } = this.#mine();
    this.#check(hypervisor.traps.exceptions.sendNmi(domid, vcpu), `VCPUOP_send_nmi to vCPU ${vcpu}`);
  }

  override upcall(): number {
    return this.#runner().upcall();
  }

  async #execute(what: string, execute: (domid: Domid, vcpu: number) => number): Promise<Readonly<Registers>> {
    const { domid, vcpu } = this.#mine();
    return await this.#runner().execute(what, () => execute(domid, vcpu));
  }

  #info({ vector, address, dpl = 0, maskEvents = false, cs }: TrapEntry): {
    vector: number;
    flags: number;
    cs: number;
    address: bigint;
  } {
    const kernel = this.#abi32 ? flat.ring1Cs : flat.kernelCs64;
    return { vector, flags: dpl | (maskEvents ? 4 : 0), cs: cs ?? kernel, address };
  }

  /** The vCPU on which the domain's code runs. */
  #runner(): VcpuRunner {
    return this.#runnerOf(this.#mine().vcpu);
  }

  #runnerOf(vcpu: number): VcpuRunner {
    const { hypervisor, domid, channels, onError } = this.#parts;
    this.#runners[vcpu] ??= new VcpuRunner({
      hypervisor,
      domid,
      vcpu,
      abi32: this.#abi32,
      codeAt: (address) => this.#code.get(address),
      upcall: (limit) => channels.enter(limit, vcpu),
      onError,
      onCrash: this.#crashed,
    });
    return this.#runners[vcpu];
  }

  #mine(): { readonly hypervisor: Hypervisor; readonly domid: Domid; readonly vcpu: number } {
    const { hypervisor, domid, isGone } = this.#own;
    if (isGone) throw new XenError('ESRCH', `domain ${domid} has been destroyed`);
    return { hypervisor, domid, vcpu: this.#entry.current };
  }

  /** None of its code goes on: what it waits for never comes. */
  readonly #crashed = (crash: DomainCrash): void => {
    if (this.#hasCrashed) return;
    this.#hasCrashed = true;
    const { hypervisor, domid, onCrash } = this.#parts;
    onCrash(crash);
    hypervisor.sched.shutdown(domid, shutdownReason.crash);
  };

  #check(result: number, what: string): void {
    if (result < 0) throw new XenError(-result, `${what} (vCPU ${this.#entry.current} of domain ${this.#own.domid})`);
  }
}
