import { XenError } from '../errors.js';

/** Takes it for done that a domain cannot be destroyed because it is gone: its machine, or somebody else, was quicker. @throws all else */
export const unlessGone = (error: unknown): void => {
  if (!(error instanceof XenError && error.code === 'ESRCH')) throw error;
};
