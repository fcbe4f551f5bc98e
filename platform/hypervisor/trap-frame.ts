import type { Domid } from '../../core/abi/units.js';
import type { TrapFrame } from '../../core/domain/traps.js';
import type { BuiltFrame } from '../../core/hypervisor/bounce-frame.js';
import type { GuestMemory } from '../../core/hypervisor/guest-memory.js';

/** Quads of rip, cs, rflags, rsp and ss, and words of eip, cs, eflags, esp and ss, from the first of them. */
const CS = 1;
const FLAGS = 2;
const SP = 3;
const SS = 4;

/** A frame that {@link BuiltFrame} tells of, in the domain's memory, for as long as that is the domain's. */
export class GuestTrapFrame implements TrapFrame {
  readonly address: bigint;
  readonly #memory: GuestMemory;
  readonly #domid: Domid;
  readonly #built: BuiltFrame;
  readonly #abi32: boolean;
  /** Bytes of a slot, in this ABI. */
  readonly #unit: number;
  /** Slots before rip. */
  readonly #rip: number;
  readonly #slots: number;

  constructor(memory: GuestMemory, domid: Domid, abi32: boolean, built: BuiltFrame) {
    this.address = built.address;
    this.#memory = memory;
    this.#domid = domid;
    this.#built = built;
    this.#abi32 = abi32;
    this.#unit = abi32 ? 4 : 8;
    this.#rip = (abi32 ? 0 : 2) + (built.hasSegments ? 4 : 0) + (built.hasErrorCode ? 1 : 0);
    this.#slots = this.#rip + (built.hasStack ? 5 : 3);
  }

  /** Whether it still lies in pages of the domain's. */
  get isThere(): boolean {
    return this.#memory.at(this.#domid, this.address, this.#slots * this.#unit) >= 0;
  }

  /** The address of rip, below which an iret frame begins. */
  get ripAddress(): bigint {
    return this.address + BigInt(this.#rip * this.#unit);
  }

  get rip(): bigint {
    return this.#get(this.#rip);
  }

  set rip(value: bigint) {
    this.#set(this.#rip, value);
  }

  get cs(): number {
    return this.#memory.view.getUint16(this.#at(this.#rip + CS), true);
  }

  set cs(value: number) {
    this.#memory.view.setUint16(this.#at(this.#rip + CS), value, true);
  }

  get rflags(): bigint {
    return this.#get(this.#rip + FLAGS);
  }

  set rflags(value: bigint) {
    this.#set(this.#rip + FLAGS, value);
  }

  get rsp(): bigint | undefined {
    return this.#built.hasStack ? this.#get(this.#rip + SP) : undefined;
  }

  set rsp(value: bigint | undefined) {
    this.#set(this.#stackSlot(SP), value ?? 0n);
  }

  get ss(): number | undefined {
    return this.#built.hasStack ? Number(this.#get(this.#rip + SS)) : undefined;
  }

  set ss(value: number | undefined) {
    this.#set(this.#stackSlot(SS), BigInt(value ?? 0));
  }

  get savedUpcallMask(): number {
    return this.#memory.view.getUint8(this.#at(this.#rip + CS) + (this.#abi32 ? 2 : 4));
  }

  get errorCode(): number | undefined {
    return this.#built.hasErrorCode ? Number(this.#get(this.#rip - 1)) : undefined;
  }

  get rcx(): bigint | undefined {
    return this.#abi32 ? undefined : this.#get(0);
  }

  set rcx(value: bigint | undefined) {
    this.#set(this.#scratchSlot(0), value ?? 0n);
  }

  get r11(): bigint | undefined {
    return this.#abi32 ? undefined : this.#get(1);
  }

  set r11(value: bigint | undefined) {
    this.#set(this.#scratchSlot(1), value ?? 0n);
  }

  get segments(): TrapFrame['segments'] {
    if (!this.#built.hasSegments) return undefined;
    const first = this.#abi32 ? 0 : 2;
    const [ds, es, fs, gs] = [0, 1, 2, 3].map((i) => Number(this.#get(first + i))) as [number, number, number, number];
    return { ds, es, fs, gs };
  }

  #stackSlot(slot: number): number {
    if (!this.#built.hasStack) throw new RangeError('this frame has no stack pointer: its kernel was interrupted');
    return this.#rip + slot;
  }

  #scratchSlot(slot: number): number {
    if (this.#abi32) throw new RangeError('a 32-bit guest has neither rcx nor r11 in its frames');
    return slot;
  }

  #get(slot: number): bigint {
    const at = this.#at(slot);
    const { view } = this.#memory;
    return this.#abi32 ? BigInt(view.getUint32(at, true)) : view.getBigUint64(at, true);
  }

  #set(slot: number, value: bigint): void {
    const at = this.#at(slot);
    const { view } = this.#memory;
    if (this.#abi32) view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
    else view.setBigUint64(at, value, true);
  }

  #at(slot: number): number {
    const at = this.#memory.at(this.#domid, this.address, this.#slots * this.#unit);
    if (at < 0)
      throw new TypeError(`the frame at 0x${this.address.toString(16)} lies in no page of this domain any more`);
    return at + slot * this.#unit;
  }
}
