import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import type { GuestMemory } from './guest-memory.js';
import type { NmiReasons } from './nmi-reasons.js';
import { type Field, field, flat, type RunningVcpu, type VcpuContexts } from './vcpu-context.js';
import { fixUpSelector, isCanonical, type VirtualIdts } from './virtual-idt.js';

/** What a callback is for (callback.h `CALLBACKTYPE_*`). */
export const callbackType = {
  event: 0,
  failsafe: 1,
  syscall: 2,
  sysenterDeprecated: 3,
  nmi: 4,
  sysenter: 5,
  syscall32: 7,
} as const;

/** `CALLBACKOP_*` */
export const callbackOp = { register: 0, unregister: 1 } as const;
/** Upcalls are masked on entry (callback.h `CALLBACKF_mask_events`). */
export const CALLBACKF_mask_events = 1;
/** nmi.h `XENNMI_*` */
export const nmiOp = { registerCallback: 0, unregisterCallback: 1 } as const;

/** A callback to be registered (callback.h `struct callback_register`). */
export interface CallbackRegister {
  /** {@link callbackType} */
  readonly type: number;
  /** {@link CALLBACKF_mask_events}. Ignored for event and nmi, whose entry always masks. Default 0. */
  readonly flags?: number;
  readonly address: bigint;
  /** The code selector, for a 32-bit guest (xen-x86_32.h `struct xen_callback`). Default its kernel's. */
  readonly cs?: number;
}

/** An argument of an operation: the guest's address of the struct, or what the struct says. */
export type CallbackArgument = bigint | CallbackRegister | { readonly type: number; readonly address?: undefined };

/** The structs in a guest's memory: offsets and sizes in bytes. */
export const callbackRegister = {
  native: { type: 0, flags: 2, address: 8, size: 16 },
  compat: { type: 0, flags: 2, cs: 4, address: 8, size: 12 },
} as const;
/** callback.h `struct callback_unregister` */
export const callbackUnregister = { type: 0, size: 4 } as const;
/** nmi.h `struct xennmi_callback`, of which a 32-bit one is half as large. */
export const NMI_CALLBACK_SIZE = { native: 16, compat: 8 } as const;

const NMI = 2;

interface Place {
  readonly eip: Field;
  readonly cs?: Field;
  readonly masks?: Field;
}

const places: Readonly<Record<number, Place>> = {
  [callbackType.event]: { eip: field.eventEip, cs: field.eventCs },
  [callbackType.failsafe]: { eip: field.failsafeEip, cs: field.failsafeCs, masks: field.failsafeMasks },
  [callbackType.syscall]: { eip: field.syscallEip, masks: field.syscallMasks },
  [callbackType.syscall32]: { eip: field.syscall32Eip, cs: field.syscall32Cs, masks: field.syscall32Masks },
  [callbackType.sysenter]: { eip: field.sysenterEip, cs: field.sysenterCs, masks: field.sysenterMasks },
};

/** What Xen calls in a guest besides its trap handlers (pv/callback.c). Each call is for the vCPU that makes it. */
export class CallbackOps {
  readonly #contexts: VcpuContexts;
  readonly #memory: GuestMemory;
  readonly #idts: VirtualIdts;
  readonly #reasons: NmiReasons;

  constructor(contexts: VcpuContexts, memory: GuestMemory, idts: VirtualIdts, reasons: NmiReasons) {
    this.#contexts = contexts;
    this.#memory = memory;
    this.#idts = idts;
    this.#reasons = reasons;
  }

  /**
   * Registers the event, failsafe and syscall callbacks at once. Always 0, even if an address was refused: that callback then stays as
   * it was. A 32-bit guest gives selectors, and no syscall callback. -ESRCH, -ENOENT no such vCPU, -ENOMEM no frames for its context
   * (HYPERVISOR_set_callbacks, hypercall 4).
   */
  setCallbacks(
    caller: Domid,
    vcpu: number,
    callbacks: {
      readonly event: bigint;
      readonly failsafe: bigint;
      readonly syscall?: bigint;
      readonly eventCs?: number;
      readonly failsafeCs?: number;
    },
  ): number {
    const running = this.#contexts.use(caller, vcpu);
    if (typeof running === 'number') return running;
    const { event, failsafe, syscall = 0n, eventCs, failsafeCs } = callbacks;
    this.#register(running, { type: callbackType.event, address: event, ...cs(eventCs) });
    this.#register(running, { type: callbackType.failsafe, address: failsafe, ...cs(failsafeCs) });
    if (!running.abi32) this.#register(running, { type: callbackType.syscall, address: syscall });
    return 0;
  }

  /**
   * Registers or unregisters a callback. Unregistering is for nmi alone: -EINVAL for every other type that there is. -ENOSYS unknown
   * type, -EINVAL an address that is not canonical, whatever the type, -EFAULT the struct is not all in the guest's memory; an
   * unknown command is -ENOSYS, and -EINVAL for a 32-bit guest (`compat_callback_op`); -ESRCH, -ENOENT, -ENOMEM as
   * {@link setCallbacks} (HYPERVISOR_callback_op, hypercall 30).
   */
  callbackOp(caller: Domid, vcpu: number, cmd: number, argument: CallbackArgument): number {
    const running = this.#contexts.use(caller, vcpu);
    if (typeof running === 'number') return running;
    switch (cmd) {
      case callbackOp.register: {
        const register = typeof argument === 'bigint' ? this.#readRegister(running, argument) : argument;
        if (register === undefined) return -errno.EFAULT;
        if (register.address === undefined) throw new RangeError('a callback that is registered has an address');
        return this.#register(running, register);
      }
      case callbackOp.unregister: {
        const type = typeof argument === 'bigint' ? this.#readType(running, argument) : argument.type;
        return type < 0 ? type : this.#unregister(running, type);
      }
      default:
        return running.abi32 ? -errno.EINVAL : -errno.ENOSYS;
    }
  }

  /**
   * Registers the handler of NMIs, or takes it back: the entry of vector 2, with events masked. A fresh one on vCPU 0 gets the NMI
   * that came while there was none, if a reason for one is still noted. `handler` is an address, or that of a struct
   * xennmi_callback. -EINVAL not canonical, -EFAULT, -ENOSYS unknown command, -ESRCH, -ENOENT, -ENOMEM as {@link setCallbacks}
   * (HYPERVISOR_nmi_op, hypercall 28).
   */
  nmiOp(caller: Domid, vcpu: number, cmd: number, handler?: { readonly address: bigint } | bigint): number {
    const running = this.#contexts.use(caller, vcpu);
    if (typeof running === 'number') return running;
    switch (cmd) {
      case nmiOp.registerCallback: {
        const address = typeof handler === 'bigint' ? this.#readNmiHandler(running, handler) : handler?.address;
        return address === undefined ? -errno.EFAULT : this.#registerNmi(running, address);
      }
      case nmiOp.unregisterCallback:
        this.#idts.clear(running.context, NMI);
        return 0;
      default:
        return -errno.ENOSYS;
    }
  }

  #register(running: RunningVcpu, { type, flags = 0, address, cs = flat.ring1Cs }: CallbackRegister): number {
    const { abi32, context } = running;
    if (!abi32 && !isCanonical(address)) return -errno.EINVAL;
    const eip = abi32 ? address & 0xffff_ffffn : address;
    if (type === callbackType.nmi) return this.#registerNmi(running, eip);
    const place = places[type];
    // A 32-bit guest has no 64-bit system calls.
    if (place === undefined || (abi32 && type === callbackType.syscall)) return -errno.ENOSYS;
    context.set(place.eip, eip);
    if (abi32 && place.cs !== undefined) context.setNumber(place.cs, fixUpSelector(true, cs));
    if (place.masks !== undefined) context.setNumber(place.masks, flags & CALLBACKF_mask_events);
    return 0;
  }

  #unregister({ abi32, context }: RunningVcpu, type: number): number {
    if (type === callbackType.nmi) {
      this.#idts.clear(context, NMI);
      return 0;
    }
    const isKnown = places[type] !== undefined && !(abi32 && type === callbackType.syscall);
    return isKnown ? -errno.EINVAL : -errno.ENOSYS;
  }

  #registerNmi({ slot, vcpu, abi32, context }: RunningVcpu, address: bigint): number {
    if (!isCanonical(address)) return -errno.EINVAL;
    const cs = abi32 ? flat.ring1Cs : flat.kernelCs64;
    this.#idts.set(context, { vector: NMI, flags: 4, cs, address });
    if (vcpu === 0 && this.#reasons.get(slot) !== 0) context.raise(field.nmiPending);
    return 0;
  }

  #readRegister({ domid, abi32 }: RunningVcpu, address: bigint): CallbackRegister | undefined {
    const at = this.#memory.at(domid, address, callbackRegister[abi32 ? 'compat' : 'native'].size);
    if (at < 0) return undefined;
    const { view } = this.#memory;
    const { native, compat } = callbackRegister;
    const type = view.getUint16(at + native.type, true);
    const flags = view.getUint16(at + native.flags, true);
    if (!abi32) return { type, flags, address: view.getBigUint64(at + native.address, true) };
    const eip = BigInt(view.getUint32(at + compat.address, true));
    return { type, flags, address: eip, cs: view.getUint32(at + compat.cs, true) };
  }

  #readType({ domid }: RunningVcpu, address: bigint): number {
    const at = this.#memory.at(domid, address, callbackUnregister.size);
    return at < 0 ? -errno.EFAULT : this.#memory.view.getUint16(at + callbackUnregister.type, true);
  }

  #readNmiHandler({ domid, abi32 }: RunningVcpu, address: bigint): bigint | undefined {
    const at = this.#memory.at(domid, address, NMI_CALLBACK_SIZE[abi32 ? 'compat' : 'native']);
    if (at < 0) return undefined;
    return abi32 ? BigInt(this.#memory.view.getUint32(at, true)) : this.#memory.view.getBigUint64(at, true);
  }
}

const cs = (selector: number | undefined): { readonly cs?: number } => (selector === undefined ? {} : { cs: selector });
