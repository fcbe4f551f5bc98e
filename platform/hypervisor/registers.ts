import type { Registers } from '../../core/domain/traps.js';
import { type Field, field, type VcpuContext } from '../../core/hypervisor/vcpu-context.js';

/** The registers of whichever vCPU runs, live. */
export class LiveRegisters implements Registers {
  readonly #context: () => VcpuContext;
  readonly #bits: number;

  constructor(context: () => VcpuContext, abi32: boolean) {
    this.#context = context;
    this.#bits = abi32 ? 32 : 64;
  }

  get rip(): bigint {
    return this.#context().get(field.rip);
  }
  set rip(value: bigint) {
    this.#set(field.rip, value);
  }
  get cs(): number {
    return this.#context().number(field.cs);
  }
  set cs(value: number) {
    this.#select(field.cs, value);
  }
  get rflags(): bigint {
    return this.#context().get(field.rflags);
  }
  set rflags(value: bigint) {
    this.#set(field.rflags, value);
  }
  get rsp(): bigint {
    return this.#context().get(field.rsp);
  }
  set rsp(value: bigint) {
    this.#set(field.rsp, value);
  }
  get ss(): number {
    return this.#context().number(field.ss);
  }
  set ss(value: number) {
    this.#select(field.ss, value);
  }
  get rcx(): bigint {
    return this.#context().get(field.rcx);
  }
  set rcx(value: bigint) {
    this.#set(field.rcx, value);
  }
  get r11(): bigint {
    return this.#context().get(field.r11);
  }
  set r11(value: bigint) {
    this.#set(field.r11, value);
  }
  get rax(): bigint {
    return this.#context().get(field.rax);
  }
  set rax(value: bigint) {
    this.#set(field.rax, value);
  }
  get ds(): number {
    return this.#context().number(field.ds);
  }
  set ds(value: number) {
    this.#select(field.ds, value);
  }
  get es(): number {
    return this.#context().number(field.es);
  }
  set es(value: number) {
    this.#select(field.es, value);
  }
  get fs(): number {
    return this.#context().number(field.fs);
  }
  set fs(value: number) {
    this.#select(field.fs, value);
  }
  get gs(): number {
    return this.#context().number(field.gs);
  }
  set gs(value: number) {
    this.#select(field.gs, value);
  }
  get cr2(): bigint {
    return this.#context().get(field.cr2);
  }
  get kernelMode(): boolean {
    const context = this.#context();
    return this.#bits === 32 ? (context.number(field.cs) & 3) === 1 : context.number(field.kernelMode) !== 0;
  }

  #set(at: Field, value: bigint): void {
    this.#context().set(at, BigInt.asUintN(this.#bits, value));
  }

  #select(at: Field, value: number): void {
    this.#context().setNumber(at, value & 0xffff);
  }
}

/** The registers as they are now. */
export const snapshotOf = (of: Registers): Readonly<Registers> => {
  const { rip, cs, rflags, rsp, ss, rcx, r11, rax, ds, es, fs, gs, cr2, kernelMode } = of;
  return { rip, cs, rflags, rsp, ss, rcx, r11, rax, ds, es, fs, gs, cr2, kernelMode };
};
