/** How much a line of the log matters. */
export type LogLevel = 'info' | 'warning' | 'error';

/** One line of a domain's log. */
export interface LogEntry {
  readonly level: LogLevel;
  /** What speaks, by its XenStore directory where it has one: `device/vbd/51712`. */
  readonly source: string;
  /** One line of text. */
  readonly text: string;
  /** Where an exception came from, when it is one that nobody expected. */
  readonly stack?: string;
}

/** Where a domain's code reports what happens; the platform adds domain and time. */
export abstract class Log {
  abstract write(entry: LogEntry): void;
}
