import type { Row } from './rows.js';

/** How long a suite takes its time. */
export interface Effort {
  readonly rounds: number;
  /** Of a full run's requests, or of its time. */
  readonly scale: number;
}

/** Measures its cases and their peers; `say` tells at once what has to be left out, and why. */
export type Suite = (effort: Effort, say: (line: string) => void) => readonly Row[] | Promise<readonly Row[]>;

/** What is published. */
export const full: Effort = { rounds: 5, scale: 1 };
/** A look. */
export const quick: Effort = { rounds: 3, scale: 0.5 };
