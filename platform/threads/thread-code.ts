/** What a domain's thread begins with. */
export interface ThreadCode {
  /** The file that it runs. */
  readonly entry: URL;
  /** What that is handed, to come to its code sooner. */
  readonly code: unknown;
}

/**
 * What the threads of this process begin with. In a checkout that is a module, for which Node has no code cache; the published package has
 * one script in the place of all that a thread loads, and functions that hand it over in the place of these two.
 */
export const threadCode = (): ThreadCode => ({
  entry: new URL('dist/platform/threads/worker.js', import.meta.resolve('splitring/package.json')),
  code: undefined,
});

/**
 * Spares the threads that have begun, and those that will, the compilation of what this thread has run so far.
 * @param rehearse runs what a domain's thread will run; called the first time, and not where there is nothing to share
 */
export const shareCode = (_rehearse: () => void): void => {};
