import type { LocalClock } from './local-clock.js';

/** Who competes for the physical CPUs. */
export interface Competitor {
  /** Whether it wants a CPU, and has none. */
  readonly waits: boolean;
  /** Since which {@link PhysicalCpus.round} it waits. */
  readonly round: number;
}

/** The physical CPUs of a local machine. Whoever has work that takes time holds one, for a time slice at least. */
export class PhysicalCpus {
  readonly #clock: LocalClock;
  readonly #slice: number;
  readonly #free: number[];
  readonly #competitors = new Set<Competitor>();
  #round = 0;

  /**
   * @param count how many there are
   * @param slice milliseconds after which a vCPU gives its CPU to another that waits
   */
  constructor(clock: LocalClock, count: number, slice: number) {
    if (!Number.isInteger(count) || count < 1) throw new RangeError(`a machine has 1 CPU or more, not ${count}`);
    if (!(slice > 0)) throw new RangeError(`a time slice is longer than 0 ms, unlike ${slice}`);
    this.#clock = clock;
    this.#slice = Math.round(slice * 1e6);
    this.#free = Array.from({ length: count }, (_, cpu) => cpu);
  }

  /** A vCPU has come. */
  add(competitor: Competitor): void {
    this.#competitors.add(competitor);
  }

  /** A vCPU has gone. */
  remove(competitor: Competitor): void {
    this.#competitors.delete(competitor);
  }

  /** Whether a CPU is to be had. */
  get isFree(): boolean {
    return this.#free.length > 0;
  }

  /** Whether anybody waits for a CPU. */
  get isContended(): boolean {
    for (const { waits } of this.#competitors) if (waits) return true;
    return false;
  }

  /** Counts those who gave a CPU up to others: who waited before goes first. */
  get round(): number {
    return this.#round;
  }

  /** The round that begins behind those who wait now. */
  nextRound(): number {
    return ++this.#round;
  }

  /** Whether nobody waits who came before. */
  isFirst(round: number): boolean {
    for (const other of this.#competitors) if (other.round < round && other.waits) return false;
    return true;
  }

  /** System time in nanoseconds. */
  get now(): number {
    return this.#clock.source.systemTime();
  }

  /** When a time slice that begins now ends, in nanoseconds of system time. */
  get sliceEnd(): number {
    return this.now + this.#slice;
  }

  /** Takes a CPU that is free. */
  take(): number {
    const cpu = this.#free.shift();
    if (cpu === undefined) throw new Error('no physical CPU is free');
    return cpu;
  }

  /** Gives a CPU back. */
  release(cpu: number): void {
    this.#free.push(cpu);
    this.#free.sort((a, b) => a - b);
  }

  /** Calls a function at a system time in nanoseconds; returns how to stop it. */
  alarm(at: number, fire: () => void): () => void {
    return this.#clock.alarm(at / 1e6, fire);
  }
}
