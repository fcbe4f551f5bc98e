/** What a vif may send: so many bytes every so many microseconds (key `rate`: "bytes,usec"). */
export interface Rate {
  readonly bytes: number;
  readonly usec: number;
}

/** Reads the key `rate`; undefined, and so no limit, for what is none, as in netback (`xen_net_read_rate`, XSA-68). */
export const parseRate = (text: string | undefined): Rate | undefined => {
  const match = /^([0-9]{1,15}),([0-9]{1,15})$/.exec(text ?? '');
  if (match === null) return undefined;
  const [bytes, usec] = [Number(match[1]), Number(match[2])];
  return bytes === 0 || usec === 0 ? undefined : { bytes, usec };
};

const factors: Readonly<Record<string, number>> = { '': 1, K: 1e3, M: 1e6, G: 1e9 };
const usecs: Readonly<Record<string, number>> = { us: 1, ms: 1e3, s: 1e6 };

/**
 * Reads a rate as xl's configuration has it: `10MB/s`, `800Kb/s@20ms` (xl-network-configuration(5), which says 50 ms where nothing is said).
 * @throws RangeError for what is none, or lets nothing pass
 */
export const parseXlRate = (text: string): Rate => {
  const [, number = '', factor = '', unit = '', time = '50', timeUnit = 'ms'] =
    /^([0-9]{1,12})([GMK]?)([Bb])\/s(?:@([0-9]{1,9})(us|ms|s))?$/.exec(text) ?? [];
  const usec = Number(time) * (usecs[timeUnit] ?? Number.NaN);
  const bytes = Math.floor(((Number(number) * (factors[factor] ?? Number.NaN)) / (unit === 'b' ? 8 : 1) / 1e6) * usec);
  if (number === '' || !(usec > 0) || !(bytes > 0))
    throw new RangeError(`a rate is like 10MB/s, 1Gb/s or 800Kb/s@20ms, not ${JSON.stringify(text)}`);
  return { bytes, usec };
};

/** At least so many bytes may be saved up: a whole large packet must pass at some time (netback.c `tx_add_credit`). */
export const LEAST_BURST = 131072;

/** Credit that comes back every so often, and is spent by packets (netback.c `tx_credit_exceeded`). */
export class RateLimit {
  #rate: Rate | undefined;
  #credit = Number.POSITIVE_INFINITY;
  /** When credit was last added, in ms. */
  #since = 0;

  get rate(): Rate | undefined {
    return this.#rate;
  }

  /** Another limit from now on. */
  set(rate: Rate | undefined, now: number): void {
    this.#rate = rate;
    this.#credit = rate?.bytes ?? Number.POSITIVE_INFINITY;
    this.#since = now;
  }

  /** Milliseconds until a packet of `bytes` may be sent: 0 when it may be now. */
  wait(bytes: number, now: number): number {
    const rate = this.#rate;
    if (rate === undefined || bytes <= this.#credit) return 0;
    const period = rate.usec / 1000;
    if (now >= this.#since + period) {
      this.#since = now;
      this.#credit = Math.min(this.#credit + rate.bytes, Math.max(LEAST_BURST, rate.bytes));
      if (bytes <= this.#credit) return 0;
    }
    return Math.max(this.#since + period - now, 0.001);
  }

  /** A packet is sent. */
  spend(bytes: number): void {
    this.#credit -= bytes;
  }
}
