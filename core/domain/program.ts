import type { Plain } from './domctl.js';

/** What a domain's module runs besides its drivers; bound in the module's default export, started when the domain boots. */
export abstract class Program {
  /** The domain powers off when this resolves, and crashes when it rejects. */
  abstract run(): Promise<void>;
}

/** What the domain was started with (DomainConfig `cmdline`). */
export abstract class CommandLine {
  abstract readonly value: Plain;
}

/** A domain's line to whoever made the machine, for what is no device's business: progress, results. */
export abstract class Reporter {
  /** Hands over a value; it arrives in order, after this call has returned. */
  abstract report(value: Plain): void;
}
