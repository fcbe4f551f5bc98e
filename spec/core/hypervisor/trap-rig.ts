import { type Domid, PAGE_SIZE, type Port } from '../../../core/abi/units.js';
import type { BuiltFrame } from '../../../core/hypervisor/bounce-frame.js';
import { DomainCrash } from '../../../core/hypervisor/domain-crash.js';
import { guestAddressOf } from '../../../core/hypervisor/guest-memory.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import type { Traps } from '../../../core/hypervisor/traps.js';
import { type Field, field, type VcpuContext } from '../../../core/hypervisor/vcpu-context.js';
import { connect, dom1, dom2, machine, ok, sharedInfoOf } from './machine.js';

/** A guest with a page for its stack, whose vCPU 0 has a context. */
export interface TrapRig {
  readonly hypervisor: Hypervisor;
  readonly traps: Traps;
  readonly domid: Domid;
  readonly abi32: boolean;
  /** The registers. */
  readonly context: VcpuContext;
  /** The address of the stack page's first byte; rsp is its end. */
  readonly stack: bigint;
  /** The bytes of the stack page. */
  readonly stackBytes: Uint8Array;
  /** Another page of the guest's: its address and its bytes. */
  readonly page: bigint;
  readonly pageView: DataView;
  /** shared_info, which begins with vCPU 0's vcpu_info. */
  readonly info: () => DataView;
  readonly upcallMask: () => number;
  readonly setUpcallMask: (mask: number) => void;
  /** Raises an event, not masked, for the guest. */
  readonly raiseEvent: () => void;
  /** Sets registers. */
  readonly load: (registers: Partial<Record<keyof typeof field, bigint | number>>) => void;
  /** Returns to the guest: what was built. @throws DomainCrash */
  readonly enter: (vcpu?: number) => readonly BuiltFrame[];
}

/** A machine with a guest that is ready to be trapped. */
export const trapRig = (abi: 'x86_64-abi' | 'x86_32-abi' = 'x86_64-abi', vcpus = 1): TrapRig => {
  const { hypervisor } = machine({ abi, vcpus });
  const { traps } = hypervisor;
  const domid = dom1;
  const abi32 = abi === 'x86_32-abi';
  const first = ok(hypervisor.pages.populate(domid, domid, 2));
  const bytesOf = (frame: number): Uint8Array =>
    hypervisor.memory.bytes.subarray(frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE);
  const made = traps.context(domid, 0);
  if (typeof made === 'number') throw new Error(`no context: ${made}`);
  const context = made;
  const stack = guestAddressOf(first);
  context.set(field.rsp, stack + BigInt(PAGE_SIZE));
  const info = (): DataView => {
    const words = sharedInfoOf(hypervisor, domid);
    return new DataView(words.buffer, words.byteOffset, words.byteLength);
  };
  const page = bytesOf(first + 1);
  const [port] = connect(hypervisor, domid, dom2);
  return {
    hypervisor,
    traps,
    domid,
    abi32,
    context,
    stack,
    stackBytes: bytesOf(first),
    page: guestAddressOf(first + 1),
    pageView: new DataView(page.buffer, page.byteOffset, page.byteLength),
    info,
    upcallMask: () => info().getUint8(1),
    setUpcallMask: (mask) => info().setUint8(1, mask),
    raiseEvent: () => hypervisor.eventChannels.raise(hypervisor.memory.slotOf(domid), port as Port),
    load: (registers) => {
      for (const [name, value] of Object.entries(registers)) {
        context.set(field[name as keyof typeof field] as Field, BigInt(value));
      }
    },
    enter: (vcpu = 0) => {
      const built = traps.returnToGuest(domid, vcpu);
      if (built instanceof DomainCrash) throw built;
      return built;
    },
  };
};

/** Bytes as a string of pairs of digits, in groups of a frame's slots, from the lowest address. */
export const slotsOf = (bytes: Uint8Array, unit: number): readonly string[] => {
  const slots: string[] = [];
  for (let at = 0; at < bytes.length; at += unit)
    slots.push(Buffer.from(bytes.subarray(at, at + unit)).toString('hex'));
  return slots;
};
