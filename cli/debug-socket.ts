import { chmodSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { asDebugKey, type Machine } from '../core/toolstack/index.js';
import { messageOf, RunError, UsageError } from './errors.js';

/** What is said of a key: what Xen printed, or why it did not. */
type Answer = { readonly text: string } | { readonly error: string };

/** A socket's name; only the user whose run it is may connect. */
const nameOf = (pid: number | string): string => `splitring-${userInfo().uid}-${pid}.sock`;

/** As many keys are taken at once. */
const MOST_KEYS = 100;

/** Keys, one a character. @throws UsageError for one that has no handler, and for none */
export const asDebugKeys = (keys: string): string => {
  if (keys.length === 0 || keys.length > MOST_KEYS) {
    throw new UsageError(`splitring debug-keys takes 1 to ${MOST_KEYS} keys, each a character`);
  }
  try {
    for (const key of keys) asDebugKey(key);
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
  return keys;
};

/**
 * Answers `splitring debug-keys` for a machine until it is disposed, by a socket in the folder for temporary files. It keeps no process
 * alive.
 * @param refused told why it could not; the machine runs all the same
 */
export const listenForDebugKeys = (machine: Machine, refused: (error: Error) => void): Disposable => {
  const path = join(tmpdir(), nameOf(process.pid));
  // What a run of the same number has left that was killed.
  rmSync(path, { force: true });
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let keys = '';
    socket.setEncoding('utf8').on('data', (more) => {
      keys += more;
      if (keys.length > MOST_KEYS) socket.destroy();
    });
    // Who asked has gone, and misses nothing.
    socket.on('error', () => socket.destroy());
    socket.on('end', () => {
      void Promise.all([...keys].map((key) => answer(machine, key))).then((answers) =>
        socket.end(JSON.stringify(answers)),
      );
    });
  });
  server.on('error', refused);
  server.listen(path, () => chmodSync(path, 0o600)).unref();
  return {
    [Symbol.dispose]: () => {
      server.close();
      rmSync(path, { force: true });
    },
  };
};

const answer = (machine: Machine, key: string): Promise<Answer> =>
  machine.debugKey(key).then(
    (text) => ({ text }),
    (error: unknown) => ({ error: messageOf(error) }),
  );

/** The process ids of this user's runs that seem to be there. */
const runs = (): readonly number[] => {
  const [before = '', after = ''] = nameOf('*').split('*');
  return readdirSync(tmpdir())
    .filter((name) => name.startsWith(before) && name.endsWith(after))
    .map((name) => Number(name.slice(before.length, -after.length)))
    .filter((pid) => Number.isInteger(pid) && isAlive(pid))
    .sort((a, b) => a - b);
};

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false; // ESRCH: its socket was left behind
  }
};

const whichRun = (): number => {
  const [pid, ...others] = runs();
  if (pid === undefined) throw new RunError('no machine runs here: start one with splitring run');
  if (others.length > 0) {
    throw new UsageError(`several machines run here: choose one by --pid ${[pid, ...others].join(' or ')}`);
  }
  return pid;
};

/**
 * What the hypervisor of a running machine prints for keys, one after another.
 * @param pid the process of its `splitring run`; not needed where there is only one
 * @throws UsageError, RunError
 */
export const sendDebugKeys = async (keys: string, pid: number = whichRun()): Promise<string> => {
  const answers = await ask(pid, keys);
  return answers
    .map((one) => {
      if ('error' in one) throw new RunError(one.error);
      return one.text;
    })
    .join('');
};

const ask = (pid: number, keys: string): Promise<readonly Answer[]> =>
  new Promise((resolve, reject) => {
    const socket = connect(join(tmpdir(), nameOf(pid)));
    let text = '';
    socket.setEncoding('utf8').on('data', (more) => {
      text += more;
    });
    socket.on('error', (error) => reject(new RunError(`no machine runs as process ${pid}: ${error.message}`)));
    socket.on('end', () => {
      if (text === '') reject(new RunError(`the machine of process ${pid} ended before it answered`));
      else resolve(JSON.parse(text) as readonly Answer[]);
    });
    socket.end(keys);
  });
