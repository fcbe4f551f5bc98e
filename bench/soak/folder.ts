import { accessSync, constants } from 'node:fs';

const TMPFS = '/dev/shm';

/** A folder that lies in memory, where the system has one. */
export const inMemory = (): string | undefined => {
  try {
    accessSync(TMPFS, constants.W_OK);
    return TMPFS;
  } catch {
    return undefined;
  }
};
