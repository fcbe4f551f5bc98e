import type { Frames } from './frames.js';
import { header, PAGE_WORDS, slotPage } from './layout.js';
import type { MachineMemory } from './memory.js';

/** Physical interrupts that a domain can number (sched.h `nr_pirqs`), and that the host has (irq.h `nr_irqs`). */
export const NR_PIRQS = 256;
export const NR_IRQS = 256;
/** Interrupts below this one come from lines, the others from messages, which are edges (irq.h `nr_irqs_gsi`). */
export const NR_IRQS_GSI = 128;

/** What a host interrupt's word says: triggered by its level; asserted, for one that is. */
const line = { level: 1, asserted: 2 } as const;

/** A domain's page of interrupts: two words for each, what the domain calls each of the host's, + 1, and where the bitmap of EOIs is. */
const page = {
  entries: 0,
  byIrq: 2 * NR_PIRQS,
  eoiFrame: 2 * NR_PIRQS + NR_IRQS,
  autoUnmask: 2 * NR_PIRQS + NR_IRQS + 1,
} as const;

/** An entry's first word: the host's number + 1, and flags. The second is the port that it is bound to. */
const IRQ = 0xffff;
const entry = {
  /** The domain has been told, and has not ended the interrupt yet (irq.h `masked`). */
  masked: 0x10000,
  /** It lets others have the interrupt too (event_channel.h `BIND_PIRQ__WILL_SHARE`). */
  willShare: 0x20000,
  /** Taken from the domain while it was bound: it counts as mapped until the port closes. */
  forced: 0x40000,
} as const;

/**
 * Who has which of the host's interrupts. The domains' entries are the truth: who shares an interrupt, and who has yet to end it, is
 * counted from them. All is changed under the lock; what is to be raised is remembered in {@link due} until the lock is free.
 */
export class PirqTable {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #frames: Frames;
  /** Slots and ports, in turn, that an interrupt has come for: for whoever holds the lock, to raise when it has let go. */
  readonly due: number[] = [];

  constructor(memory: MachineMemory, frames: Frames) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#frames = frames;
  }

  /** The host's number of a domain's interrupt, -1 where it is mapped to none. */
  irq(slot: number, pirq: number): number {
    const word = this.#words[this.#at(slot, pirq)] as number;
    return (word & entry.forced) !== 0 ? -1 : (word & IRQ) - 1;
  }

  /** The host's number as Xen notes it: negated where it was taken from the domain while it was bound (irq.c `unmap_domain_pirq`). */
  notedIrq(slot: number, pirq: number): number {
    const irq = ((this.#words[this.#at(slot, pirq)] as number) & IRQ) - 1;
    return this.isForced(slot, pirq) ? -irq : irq;
  }

  /** What the domain calls an interrupt of the host's, -1 where it has none. */
  pirq(slot: number, irq: number): number {
    return (this.#words[this.#page(slot) + page.byIrq + irq] as number) - 1;
  }

  /** Whether the domain knows of an interrupt: it is mapped, or bound still. */
  isKnown(slot: number, pirq: number): boolean {
    return this.#words[this.#at(slot, pirq)] !== 0;
  }

  /** Whether the domain's interrupt was unmapped while it was bound, and still is. */
  isForced(slot: number, pirq: number): boolean {
    return ((this.#words[this.#at(slot, pirq)] as number) & entry.forced) !== 0;
  }

  /** The port that a domain's interrupt raises, 0 where it is not bound. */
  port(slot: number, pirq: number): number {
    return this.#words[this.#at(slot, pirq) + 1] as number;
  }

  map(slot: number, pirq: number, irq: number): void {
    Atomics.store(this.#words, this.#page(slot) + page.byIrq + irq, pirq + 1);
    Atomics.store(this.#words, this.#at(slot, pirq), irq + 1);
  }

  /** Takes an interrupt from a domain; one that is bound is heard no more, and goes when its port closes (`unmap_domain_pirq`). */
  unmap(slot: number, pirq: number): void {
    const at = this.#at(slot, pirq);
    const word = this.#words[at] as number;
    if (this.#words[at + 1] === 0) {
      this.#forget(slot, pirq);
      return;
    }
    Atomics.store(this.#words, at, (word & IRQ) | entry.forced);
    this.#proceed((word & IRQ) - 1);
  }

  /** Binds a mapped interrupt to a port that says so already. */
  bind(slot: number, pirq: number, port: number, willShare: boolean): void {
    const at = this.#at(slot, pirq);
    if (willShare) Atomics.or(this.#words, at, entry.willShare);
    Atomics.store(this.#words, at + 1, port);
    this.#noteEoi(slot, pirq);
    this.#proceed(this.irq(slot, pirq));
  }

  /** Unbinds an interrupt from its port, which closes; the others who have it need not wait for the domain (`pirq_guest_unbind`). */
  release(slot: number, pirq: number): void {
    const at = this.#at(slot, pirq);
    const irq = this.irq(slot, pirq);
    Atomics.store(this.#words, at + 1, 0);
    if (this.isForced(slot, pirq)) this.#forget(slot, pirq);
    else Atomics.and(this.#words, at, IRQ);
    if (irq >= 0) this.#proceed(irq);
  }

  /** The domain has handled an interrupt; whether this was the last that it was waited for. */
  end(slot: number, pirq: number): void {
    const irq = this.irq(slot, pirq);
    const at = this.#at(slot, pirq);
    if (irq < 0 || ((this.#words[at] as number) & entry.masked) === 0) return;
    Atomics.and(this.#words, at, ~entry.masked);
    this.#proceed(irq);
  }

  /** How many domains an interrupt is bound in. */
  guests(irq: number): number {
    let count = 0;
    for (let slot = 0; slot < this.#memory.slots; slot++) if (this.#isBound(slot, irq)) count++;
    return count;
  }

  /** Whether all who have an interrupt let others have it. */
  isShareable(irq: number): boolean {
    for (let slot = 0; slot < this.#memory.slots; slot++) {
      if (!this.#isBound(slot, irq)) continue;
      if (((this.#words[this.#at(slot, this.pirq(slot, irq))] as number) & entry.willShare) === 0) return false;
    }
    return true;
  }

  /** Whether somebody has yet to end an interrupt. */
  isInFlight(irq: number): boolean {
    for (let slot = 0; slot < this.#memory.slots; slot++) if (this.#isMasked(slot, irq)) return true;
    return false;
  }

  isMasked(slot: number, pirq: number): boolean {
    return ((this.#words[this.#at(slot, pirq)] as number) & entry.masked) !== 0;
  }

  isLevel(irq: number): boolean {
    return ((this.#words[header.irqs + irq] as number) & line.level) !== 0;
  }

  isAsserted(irq: number): boolean {
    return ((this.#words[header.irqs + irq] as number) & line.asserted) !== 0;
  }

  /** How a host interrupt is triggered from now on; its line is not asserted. */
  setLevel(irq: number, level: boolean): void {
    Atomics.store(this.#words, header.irqs + irq, level ? line.level : 0);
  }

  /** The host's line goes up or down; a rise is told to all who have the interrupt, unless somebody has yet to end the last. */
  setAsserted(irq: number, asserted: boolean): void {
    if (asserted) Atomics.or(this.#words, header.irqs + irq, line.asserted);
    else Atomics.and(this.#words, header.irqs + irq, ~line.asserted);
    this.#proceed(irq);
  }

  /** An edge: it is told to all who have the interrupt, and to none of them later (`__do_IRQ_guest`). */
  edge(irq: number): void {
    for (let slot = 0; slot < this.#memory.slots; slot++) {
      if (this.#isBound(slot, irq)) this.due.push(slot, this.port(slot, this.pirq(slot, irq)));
    }
  }

  /** The frame of a domain's bitmap of interrupts that it must end; 0 where it has given none. */
  eoiFrame(slot: number): number {
    return this.#words[this.#page(slot) + page.eoiFrame] as number;
  }

  /** Whether ending an interrupt unmasks its port (physdev.h `PHYSDEVOP_pirq_eoi_gmfn_v1`). */
  autoUnmasks(slot: number): boolean {
    return this.#words[this.#page(slot) + page.autoUnmask] !== 0;
  }

  setEoiFrame(slot: number, frame: number, autoUnmask: boolean): void {
    this.#words[this.#page(slot) + page.autoUnmask] = autoUnmask ? 1 : 0;
    Atomics.store(this.#words, this.#page(slot) + page.eoiFrame, frame);
  }

  /**
   * Makes a slot's entries agree with its ports, of which `isBound` tells, after a death; who had not been told of an interrupt that
   * is waited for is told now.
   */
  mend(slot: number, isBound: (port: number, pirq: number) => boolean): void {
    const byIrq = this.#page(slot) + page.byIrq;
    const named = new Set<number>();
    for (let pirq = 0; pirq < NR_PIRQS; pirq++) {
      const at = this.#at(slot, pirq);
      if (this.#words[at] === 0) continue;
      const port = this.port(slot, pirq);
      if (port !== 0 && isBound(port, pirq)) {
        if (this.isMasked(slot, pirq)) this.due.push(slot, port);
      } else this.#unbind(at);
      const irq = ((this.#words[at] as number) & IRQ) - 1;
      if (irq < 0) continue;
      named.add(irq);
      if (this.#words[byIrq + irq] !== pirq + 1) this.#words[byIrq + irq] = pirq + 1;
    }
    for (let irq = 0; irq < NR_IRQS; irq++) {
      if (this.#words[byIrq + irq] !== 0 && !named.has(irq)) this.#words[byIrq + irq] = 0;
    }
  }

  /** Has every line that is asserted, and that nobody has yet to end, told to those who have it. */
  proceedAll(): void {
    for (let irq = 0; irq < NR_IRQS; irq++) this.#proceed(irq);
  }

  /** A level that is asserted, and that nobody has yet to end, is told to all who have it. */
  #proceed(irq: number): void {
    if (!this.isLevel(irq) || !this.isAsserted(irq) || this.isInFlight(irq)) return;
    for (let slot = 0; slot < this.#memory.slots; slot++) {
      if (!this.#isBound(slot, irq)) continue;
      const pirq = this.pirq(slot, irq);
      Atomics.or(this.#words, this.#at(slot, pirq), entry.masked);
      this.due.push(slot, this.port(slot, pirq));
    }
  }

  #isBound(slot: number, irq: number): boolean {
    const pirq = this.pirq(slot, irq);
    return pirq >= 0 && this.port(slot, pirq) !== 0 && !this.isForced(slot, pirq);
  }

  #isMasked(slot: number, irq: number): boolean {
    const pirq = this.pirq(slot, irq);
    return pirq >= 0 && this.isMasked(slot, pirq);
  }

  /** Takes from an entry what it has only while it is bound. */
  #unbind(at: number): void {
    const word = this.#words[at] as number;
    const mapped = (word & entry.forced) === 0 ? word & IRQ : 0;
    if (this.#words[at + 1] !== 0) Atomics.store(this.#words, at + 1, 0);
    if (word !== mapped) Atomics.store(this.#words, at, mapped);
  }

  #forget(slot: number, pirq: number): void {
    const at = this.#at(slot, pirq);
    const irq = ((this.#words[at] as number) & IRQ) - 1;
    Atomics.store(this.#words, at, 0);
    Atomics.store(this.#words, this.#page(slot) + page.byIrq + irq, 0);
  }

  /** Tells a domain by its bitmap whether it must end an interrupt (irq.c `set_pirq_eoi`). */
  #noteEoi(slot: number, pirq: number): void {
    const frame = this.eoiFrame(slot);
    // A page that the domain has given away since is another's.
    if (frame === 0 || !this.#frames.isPage(frame, this.#memory.domidIn(slot))) return;
    const at = frame * PAGE_WORDS + (pirq >>> 5);
    const bit = 1 << (pirq & 31);
    if (this.isLevel(this.irq(slot, pirq))) Atomics.or(this.#words, at, bit);
    else Atomics.and(this.#words, at, ~bit);
  }

  #page(slot: number): number {
    return this.#memory.control(slot) + slotPage.pirqs;
  }

  #at(slot: number, pirq: number): number {
    return this.#page(slot) + page.entries + pirq * 2;
  }
}
