import { type ErrnoName, errno } from '../abi/errno.js';
import { PeerFault, XenError } from '../errors.js';

/** An error in one line. */
export const describe = (error: unknown): string => {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.replaceAll(/\s*\n\s*/g, ' ');
};

/** The text of an `error` node: a positive errno and the reason (Linux `xenbus_va_dev_error`). */
export const errorNode = (error: unknown): string => {
  const name: ErrnoName = error instanceof PeerFault ? 'EINVAL' : 'EIO';
  return `${error instanceof XenError ? error.errno : errno[name]} ${describe(error)}`;
};
