import { accessSync, constants, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a folder, and those that it lies in. Not by Node's `recursive`, which tries for ever where a parent is there and takes no folders,
 * as /proc is.
 * @throws Error as mkdir does
 */
export const makeFolder = (path: string): void => {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return;
  const parent = dirname(path);
  if (parent !== path) makeFolder(parent);
  mkdirSync(path);
};

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'no folder can be made there',
  EEXIST: 'it is no folder',
  ENOTDIR: 'it is no folder',
  EACCES: 'it may not be written to',
  EPERM: 'it may not be written to',
  EROFS: 'it may not be written to',
};

/** Makes the folder for captures, and says why there can be none; undefined when there can. */
export const captureProblem = (path: string): string | undefined => {
  try {
    makeFolder(path);
    accessSync(path, constants.W_OK);
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return reasons['code' in error ? String(error.code) : ''] ?? error.message;
  }
};
