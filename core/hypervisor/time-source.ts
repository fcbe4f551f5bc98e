/** Where our Xen has its time from: all threads of a machine must have the same. */
export interface TimeSource {
  /** System time: whole nanoseconds since the machine's boot; it never goes back. */
  readonly systemTime: () => number;
  /** The wall-clock time of the machine's boot, in milliseconds since the Unix epoch. */
  readonly bootTime: number;
}

/** The host's time, with the machine's boot now: for a machine of one thread. */
export const hostTimeSource = (): TimeSource => {
  const boot = performance.now();
  return { systemTime: () => Math.round((performance.now() - boot) * 1e6), bootTime: Date.now() };
};
