/** The words that a stress of dying domains shares with their threads: a few of all, then some of each domain's. */
export const deathWords = {
  /** Not 0 while everybody is to stand still between two calls. */
  pause: 0,
  each: 16,
  /** Of each domain: calls made, calls that did what they were to, 1 once its thread runs, 1 while it stands still. */
  calls: 0,
  successes: 1,
  runs: 2,
  still: 3,
  ofDomain: 4,
} as const;

/** The first word of a domain's. */
export const wordsOf = (domid: number): number => deathWords.each + domid * deathWords.ofDomain;
