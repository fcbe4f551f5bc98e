import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout's folder. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** A path in the checkout. */
export const at = (...path) => join(root, ...path);

/** What stops a checkout from being made ready; the message is all that a user needs to see. */
export class NotReady extends Error {}

/** Tells the user, on stderr: stdout belongs to what is run afterwards. */
export const say = (text) => console.error(`splitring: ${text}`);

/** For people: since `start` of performance.now(). */
export const since = (start) => `${((performance.now() - start) / 1000).toFixed(1)} s`;

/** A file's text; undefined where there is no file. */
export const textOf = (path) => (existsSync(path) ? readFileSync(path, 'utf8') : undefined);

/** What a JSON file holds; undefined where there is no file. */
export const jsonOf = (path) => {
  const text = textOf(path);
  return text === undefined ? undefined : JSON.parse(text);
};

/**
 * Runs a program to its end, in the checkout and without stdin; one that is asked to stop stops it too. `code` is undefined when it
 * did not start or was killed, `ended` says how it ended.
 * @param stdio 'inherit', the descriptor to write to, or 'pipe', which returns what it wrote as `output`
 */
export const run = (command, args, stdio, options = {}) =>
  new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', stdio, stdio], ...options });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    const stop = (signal) => {
      child.kill(signal);
      unhook();
      process.kill(process.pid, signal);
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    const unhook = () => {
      for (const signal of signals) process.off(signal, stop);
    };
    for (const signal of signals) process.on(signal, stop);
    const end = (code, ended) => {
      unhook();
      resolve({ code, ended, output });
    };
    child.on('error', (error) => end(undefined, error.message));
    child.on('close', (code, signal) => end(code ?? undefined, signal ?? `exit code ${code}`));
  });
