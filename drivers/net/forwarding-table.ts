/** How long a station is remembered that is not heard of, in ms (bridge: `ageing_time`). */
export const AGEING = 300_000;

const SETS = 1024;
const WAYS = 4;

/**
 * Which port a station was last heard at. It has room for 4096 stations and takes no more memory: where there is none left, the station
 * that was not heard of for longest is forgotten, and frames to it are flooded again.
 */
export class ForwardingTable {
  // What is read for each frame is declared, not made here: see FrontRing.
  /** By entry: the address' first two bytes, its other four, the port, and when it was heard last. */
  declare private readonly high: Int32Array;
  declare private readonly low: Int32Array;
  declare private readonly ports: Int32Array;
  declare private readonly heard: Float64Array;
  /** The entries that were found last of who sent and of who is sent to: the next frame is often of the same two. */
  declare private from: number;
  declare private to: number;

  constructor() {
    this.high = new Int32Array(SETS * WAYS).fill(-1);
    this.low = new Int32Array(SETS * WAYS);
    this.ports = new Int32Array(SETS * WAYS);
    this.heard = new Float64Array(SETS * WAYS);
    this.from = this.to = 0;
  }

  /** Remembers that the address at `at` was heard at a port. */
  learn(bytes: Uint8Array, at: number, port: number, now: number): void {
    const high = highOf(bytes, at);
    const low = lowOf(bytes, at);
    let taken = this.from;
    if (this.high[taken] !== high || this.low[taken] !== low) {
      const entry = this.#find(high, low);
      taken = entry >= 0 ? entry : this.#oldest(high, low);
      this.from = taken;
    }
    this.high[taken] = high;
    this.low[taken] = low;
    this.ports[taken] = port;
    this.heard[taken] = now;
  }

  /** The port that the address at `at` was heard at; -1 when it was not, or too long ago. */
  lookup(bytes: Uint8Array, at: number, now: number): number {
    const high = highOf(bytes, at);
    const low = lowOf(bytes, at);
    let entry = this.to;
    if (this.high[entry] !== high || this.low[entry] !== low) {
      entry = this.#find(high, low);
      if (entry >= 0) this.to = entry;
    }
    if (entry < 0 || now - (this.heard[entry] as number) > AGEING) return -1;
    return this.ports[entry] as number;
  }

  /** Forgets all stations of a port. */
  forget(port: number): void {
    for (let i = 0; i < this.ports.length; i++) if (this.ports[i] === port) this.high[i] = -1;
  }

  /** Stations that are remembered now. */
  count(now: number): number {
    let count = 0;
    for (let i = 0; i < this.high.length; i++) {
      if ((this.high[i] as number) >= 0 && now - (this.heard[i] as number) <= AGEING) count++;
    }
    return count;
  }

  #find(high: number, low: number): number {
    const first = setOf(high, low);
    for (let i = first; i < first + WAYS; i++) if (this.high[i] === high && this.low[i] === low) return i;
    return -1;
  }

  /** An entry of the address' set that is free, or the one heard of longest ago. */
  #oldest(high: number, low: number): number {
    const first = setOf(high, low);
    let oldest = first;
    for (let i = first; i < first + WAYS; i++) {
      if ((this.high[i] as number) < 0) return i;
      if ((this.heard[i] as number) < (this.heard[oldest] as number)) oldest = i;
    }
    return oldest;
  }
}

const highOf = (bytes: Uint8Array, at: number): number => ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
const lowOf = (bytes: Uint8Array, at: number): number =>
  ((bytes[at + 2] as number) << 24) |
  ((bytes[at + 3] as number) << 16) |
  ((bytes[at + 4] as number) << 8) |
  (bytes[at + 5] as number);
const setOf = (high: number, low: number): number => {
  const mixed = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1);
  return (mixed >>> 22) * WAYS;
};
