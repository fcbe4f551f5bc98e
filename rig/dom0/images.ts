import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { run } from './shell.js';

/** The SHA-256 sum of a file. */
export const sumOf = async (path: string): Promise<string> => (await run('sha256sum', path)).split(' ')[0] ?? '';

/** A disk image. */
export interface DiskImage {
  readonly path: string;
  readonly sum: string;
}

/** A disk of so many MiB with ext4 on it, and a file that says hello. */
export const makeDisk = async (path: string, mebibytes: number): Promise<DiskImage> => {
  rmSync(path, { force: true });
  rmSync('/tmp/fs', { recursive: true, force: true });
  mkdirSync('/tmp/fs');
  writeFileSync('/tmp/fs/hello', 'hello from dom0\n');
  await run('truncate', '-s', `${mebibytes}M`, path);
  await run('mkfs.ext4', '-q', '-F', '-d', '/tmp/fs', path);
  return { path, sum: await sumOf(path) };
};
