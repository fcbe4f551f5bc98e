/** Real Xen cannot be used here; the message says in one line why, and what to do. */
export class XenUnavailable extends Error {
  override readonly name = 'XenUnavailable';
}

/** The code of a system error, `ENOENT`. */
export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : String(error);
