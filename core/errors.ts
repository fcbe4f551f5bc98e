import { type ErrnoName, errno, errnoName } from './abi/errno.js';
import { gntst, gntstName } from './abi/gntst.js';

/** The device or Xen said no: an operation that was understood and refused, with Xen's error number. */
export class XenError extends Error {
  override readonly name: string = 'XenError';
  /** The number as Xen's errno.h has it, positive. */
  readonly errno: number;

  /** @param what the call or operation, the port, reference or path, and the rule that was broken */
  constructor(number: number | ErrnoName, what: string) {
    const value = typeof number === 'string' ? errno[number] : number;
    super(`${what}: ${errnoName(value)}`);
    this.errno = value;
  }

  /** The errno's name, `EINVAL`. */
  get code(): string {
    return errnoName(this.errno);
  }
}

/** An element of a grant-table operation failed; `errno` is what a Linux backend would answer for it. */
export class GrantError extends XenError {
  override readonly name = 'GrantError';
  /** The status as grant_table.h has it, negative. */
  readonly status: number;

  /**
   * @param what the operation and the reference
   * @param rule what that operation means by the status, where it is told
   */
  constructor(status: number, what: string, rule?: string) {
    super(
      status === gntst.eagain ? 'EAGAIN' : status === gntst.no_space ? 'ENOSPC' : 'EINVAL',
      `${what}: ${gntstName(status)}${rule === undefined ? '' : `, ${rule}`}`,
    );
    this.status = status;
  }
}

/** The peer broke the protocol: its link is closed and nothing more that it wrote is believed. */
export class PeerFault extends Error {
  override readonly name = 'PeerFault';

  /**
   * @param what the field, index or key that cannot be, as the protocol spells it
   * @param found the value that the peer wrote
   */
  constructor(what: string, found?: unknown) {
    super(found === undefined ? what : `${what} cannot be ${String(found)}`);
  }
}

/** The peer closed or vanished, or this end closed, before the operation was answered. */
export class Disconnected extends Error {
  override readonly name = 'Disconnected';
}

/** What was thrown, as an Error: anything can be thrown. */
export const asError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

/** What was thrown, by kind and message, in one line. */
export const errorText = (thrown: unknown): string => {
  const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return text.replaceAll(/\s*\n\s*/g, ' ');
};
