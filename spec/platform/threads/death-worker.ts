import { workerData } from 'node:worker_threads';
import { DOMID_SELF, type Domid, type GrantRef, PAGE_SIZE, type Port } from '../../../core/abi/units.js';
import { blocked } from '../../../core/hypervisor/doorbell.js';
import { gntcopy } from '../../../core/hypervisor/grant-copy.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import type { SharedMemory } from '../../../core/hypervisor/web-assembly.js';
import { Random } from '../../../platform/local/random.js';
import { ThreadLife } from '../../../platform/threads/thread-life.js';
import { deathWords, wordsOf } from './death-words.js';

/**
 * A domain that makes random calls to all the others, guessing at their ports and references, until it is terminated. Its pages are
 * filled with its domid, and it stops with an error if it finds another's bytes in one that nobody but itself may write.
 */
const { memory, shared, domid, peers, seed } = workerData as {
  readonly memory: SharedMemory;
  readonly shared: SharedArrayBuffer;
  readonly domid: Domid;
  readonly peers: readonly Domid[];
  readonly seed: number;
};
const words = new Int32Array(shared);
const own = wordsOf(domid);
const hypervisor = new Hypervisor(memory);
const { eventChannels, grantEntries, grantMap, grantCopy, pages, upcalls, doorbell } = hypervisor;
const { bytes } = hypervisor.memory;
const random = new Random(seed);
new ThreadLife(hypervisor.memory).publish(domid);

const private_: number[] = [];
const granted: { readonly ref: GrantRef; readonly frame: number }[] = [];
const mappings: { readonly handle: number; readonly frame: number }[] = [];

const pick = <T>(list: T[]): T | undefined => list[random.below(list.length)];
const take = <T>(list: T[]): T | undefined => list.splice(random.below(list.length), 1)[0];
const peer = (): Domid => peers[random.below(peers.length)] as Domid;
const port = (): Port => (1 + random.below(24)) as Port;
const ref = (): GrantRef => (8 + random.below(16)) as GrantRef;
const at = (frame: number): number => frame * PAGE_SIZE + random.below(PAGE_SIZE);

const check = (frame: number): void => {
  const place = at(frame);
  const found = Atomics.load(bytes, place);
  if (found !== domid) throw new Error(`domain ${domid} found ${found} at ${place}, in its page ${frame}`);
};

const calls: readonly (() => boolean)[] = [
  () => eventChannels.allocUnbound(domid, DOMID_SELF, peer()) > 0,
  () => eventChannels.bindInterdomain(domid, peer(), port()) > 0,
  () => eventChannels.bindInterdomain(domid, peer(), port()) > 0,
  () => eventChannels.close(domid, port()) === 0,
  () => eventChannels.send(domid, port()) === 0,
  () => eventChannels.unmask(domid, port()) === 0,
  () => {
    eventChannels.mask(domid, port());
    return true;
  },
  () => upcalls.scan(domid, () => {}) > 0,
  () => {
    // Seldom: who sleeps dies of nothing interesting.
    if (random.below(100) !== 0) return false;
    const wakes = doorbell.wakes(domid);
    if (!doorbell.rest(domid, blocked)) return false;
    return doorbell.wait(domid, wakes, 1) !== 'timed-out';
  },
  () => {
    if (private_.length > 12) return false;
    const count = 1 + random.below(3);
    const frame = pages.populate(domid, DOMID_SELF, count);
    if (frame < 0) return false;
    bytes.fill(domid, frame * PAGE_SIZE, (frame + count) * PAGE_SIZE);
    for (let i = 0; i < count; i++) private_.push(frame + i);
    return true;
  },
  () => {
    const frame = take(private_);
    if (frame === undefined) return false;
    check(frame);
    return pages.release(domid, frame, 1) === 0;
  },
  () => {
    // A long call: more of the deaths lie in it.
    const count = 40 + random.below(40);
    const frame = pages.populate(domid, DOMID_SELF, count);
    return frame > 0 && pages.release(domid, frame, count) === 0;
  },
  () => {
    if (granted.length > 10) return false;
    const frame = take(private_);
    if (frame === undefined) return false;
    const got = grantEntries.allocRef(domid);
    if (got < 0) return false;
    grantEntries.grantAccess(domid, got as GrantRef, peer(), frame, random.below(3) === 0);
    granted.push({ ref: got as GrantRef, frame });
    return true;
  },
  () => {
    const grant = pick(granted);
    if (grant === undefined || !grantEntries.endAccess(domid, grant.ref)) return false;
    grantEntries.freeRef(domid, grant.ref);
    granted.splice(granted.indexOf(grant), 1);
    // Nobody may write there any more: not a copy that had begun, nor a thread whose mapping was undone.
    bytes.fill(domid, grant.frame * PAGE_SIZE, (grant.frame + 1) * PAGE_SIZE);
    private_.push(grant.frame);
    return true;
  },
  () => {
    if (mappings.length > 12) return false;
    const half = [gntmap.hostMap, gntmap.deviceMap, gntmap.hostMap | gntmap.deviceMap][random.below(3)] as number;
    const handle = grantMap.map(domid, peer(), ref(), half | (random.below(2) === 0 ? gntmap.readonly : 0));
    if (handle < 0) return false;
    mappings.push({ handle, frame: grantMap.frameOf(domid, handle) });
    return true;
  },
  () => {
    // As through a view of it; pages that are mapped for reading are written too, for nothing keeps a thread from it.
    const mapping = pick(mappings);
    if (mapping === undefined) return false;
    Atomics.store(bytes, at(mapping.frame), domid);
    return true;
  },
  () => {
    const mapping = take(mappings);
    if (mapping === undefined) return false;
    const address = mapping.frame * PAGE_SIZE;
    return grantMap.unmap(domid, mapping.handle, address, address) === 0;
  },
  () => {
    const frame = pick(private_);
    if (frame === undefined) return false;
    return (
      grantCopy.copy(domid, DOMID_SELF, frame, 0, peer(), ref(), 0, 1 + random.below(PAGE_SIZE), gntcopy.destGref) === 0
    );
  },
  () => {
    const frame = pick(private_);
    if (frame === undefined) return false;
    check(frame);
    Atomics.store(bytes, at(frame), domid);
    return true;
  },
  () => {
    if (random.below(50) !== 0) return false;
    return grantEntries.setupTable(domid, DOMID_SELF, 1 + random.below(3)) === 0;
  },
];

Atomics.store(words, own + deathWords.runs, 1);
for (;;) {
  const call = calls[random.below(calls.length)] as () => boolean;
  if (call()) Atomics.add(words, own + deathWords.successes, 1);
  Atomics.add(words, own + deathWords.calls, 1);
  while (Atomics.load(words, deathWords.pause) !== 0) {
    Atomics.store(words, own + deathWords.still, 1);
    Atomics.wait(words, deathWords.pause, 1);
    Atomics.store(words, own + deathWords.still, 0);
  }
}
