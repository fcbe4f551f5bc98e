// Makes a checkout ready to run: installs and compiles what is missing or has changed, and nothing else.
//   node scripts/ready.mjs [--install]      --install: the packages only
import './node-version.mjs';
import { fileURLToPath } from 'node:url';
import { at, NotReady, say } from './checkout.mjs';
import { build, isBuilt } from './dist.mjs';
import { exclusively } from './lock.mjs';
import { install, isInstalled } from './packages.mjs';

/**
 * Installs and compiles what is missing or has changed; when it cannot, says why and ends the process with exit code 1.
 * Processes that start together wait for each other; when nothing is to be done it neither writes nor locks.
 */
export const ready = async ({ compiled = true } = {}) => {
  if (isInstalled() && (!compiled || isBuilt())) return;
  const waiting = (pid) =>
    say(`waiting for ${pid === undefined ? 'another process' : `process ${pid}`} to make this checkout ready`);
  try {
    await exclusively(at('.ready-lock'), waiting, async () => {
      if (!isInstalled()) await install();
      if (compiled && !isBuilt()) await build();
    });
  } catch (error) {
    if (!(error instanceof NotReady)) throw error;
    say(error.message);
    process.exit(1);
  }
};

if (process.argv[1] === fileURLToPath(import.meta.url)) await ready({ compiled: !process.argv.includes('--install') });
