import { mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const HEARTBEAT_MS = 1000;
/** A holder that has not been heard of for so long is gone, whatever its process number says: that may be another's by now. */
const STALE_MS = 15_000;
const POLL_MS = 50;

const owner = (dir) => join(dir, 'owner');

/** What `read` returns, or undefined where the file is not there. */
const unlessMissing = (read) => {
  try {
    return read();
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  }
};

const age = (path) => {
  const stat = unlessMissing(() => statSync(path));
  return stat === undefined ? 0 : Date.now() - stat.mtimeMs;
};

const alive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code !== 'ESRCH';
  }
};

const holderOf = (dir) => {
  const text = unlessMissing(() => readFileSync(owner(dir), 'utf8'));
  return text === undefined ? undefined : JSON.parse(text);
};

const isStale = (dir) => {
  const holder = holderOf(dir);
  if (holder === undefined) return false; // it is being let go
  return (holder.host === hostname() && !alive(holder.pid)) || age(owner(dir)) > STALE_MS;
};

const writeOwner = (path) => writeFileSync(path, JSON.stringify({ pid: process.pid, host: hostname() }));

/** The directory appears with its owner's name in it, or not at all. */
const create = (dir) => {
  const draft = `${dir}-${process.pid}`;
  mkdirSync(draft, { recursive: true });
  writeOwner(owner(draft));
  try {
    renameSync(draft, dir);
    return true;
  } catch (error) {
    rmSync(draft, { recursive: true });
    if (error.code === 'ENOTEMPTY' || error.code === 'EEXIST') return false;
    throw error;
  }
};

/** Renamed first: what is removed bit by bit could be another's by the last bit. */
const release = (dir) => {
  const mine = `${dir}-${process.pid}`;
  renameSync(dir, mine);
  rmSync(mine, { recursive: true });
};

/**
 * Makes a dead process's lock ours, in place: were it removed and made anew, a slower process that had also found it dead would
 * remove ours. The directory inside decides between the two, and the loser looks again.
 */
const takeOver = (dir) => {
  const claim = join(dir, 'claim');
  try {
    mkdirSync(claim);
  } catch (error) {
    if (error.code === 'EEXIST' && age(claim) > STALE_MS) unlessMissing(() => rmdirSync(claim));
    if (error.code === 'EEXIST' || error.code === 'ENOENT') return false;
    throw error;
  }
  const taken = isStale(dir);
  if (taken) {
    writeOwner(`${claim}/owner`);
    renameSync(`${claim}/owner`, owner(dir));
  }
  unlessMissing(() => rmdirSync(claim));
  return taken;
};

/**
 * Runs `work` while no other process runs work under the lock `dir`. A lock whose process died is taken over.
 * @param waiting called once, with the holder's process number where it is known, when there is someone to wait for
 */
export const exclusively = async (dir, waiting, work) => {
  let told = false;
  while (!create(dir) && !(isStale(dir) && takeOver(dir))) {
    if (!told) waiting(holderOf(dir)?.pid);
    told = true;
    await sleep(POLL_MS);
  }
  const heartbeat = setInterval(
    () => unlessMissing(() => utimesSync(owner(dir), new Date(), new Date())),
    HEARTBEAT_MS,
  );
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    release(dir);
  }
};
