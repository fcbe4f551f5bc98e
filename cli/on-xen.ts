import type { XenDomain, XenDomainOptions } from '../platform/xen/index.js';
import { messageOf, RunError } from './errors.js';

/**
 * The domain that this process runs in, whose code is loaded when it is asked for.
 * @throws RunError, in one line, where there is no Xen, no right to use it, or no koffi
 */
export const onXen = async (options: XenDomainOptions): Promise<XenDomain> => {
  const { XenDomain: Xen, XenUnavailable } = await import('../platform/xen/index.js');
  try {
    return await Xen.open(options);
  } catch (error) {
    if (error instanceof XenUnavailable) throw new RunError(messageOf(error));
    throw error;
  }
};
