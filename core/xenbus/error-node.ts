import { type ErrnoName, errno } from '../abi/errno.js';
import { errorText, PeerFault, XenError } from '../errors.js';

/** The text of an `error` node: a positive errno and the reason (Linux `xenbus_va_dev_error`). */
export const errorNode = (error: unknown): string => {
  const name: ErrnoName = error instanceof PeerFault ? 'EINVAL' : 'EIO';
  return `${error instanceof XenError ? error.errno : errno[name]} ${errorText(error)}`;
};
