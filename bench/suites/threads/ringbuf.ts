// The suite's peer on npm: blkif's requests and responses through two rings of ringbuf.js between two threads. It cannot block, so both
// threads spin, each on a core of its own. node ringbuf.js DEPTH MILLISECONDS prints the requests a second as JSON.
import { Worker, workerData } from 'node:worker_threads';
import { Meter } from '../../lib/meter.js';

/** What is used of ringbuf.js. It is loaded when it runs: without it the rows that compare with it are left out. */
interface Ring {
  availableRead(): number;
  availableWrite(): number;
  push(elements: Uint8Array): number;
  pop(elements: Uint8Array): number;
}
interface RingBuf {
  readonly RingBuffer: {
    new (storage: SharedArrayBuffer, type: Uint8ArrayConstructor): Ring;
    getStorageForCapacity(capacity: number, type: Uint8ArrayConstructor): SharedArrayBuffer;
  };
}
interface Given {
  readonly requests: SharedArrayBuffer;
  readonly responses: SharedArrayBuffer;
}

const ENTRIES = 32;
const REQUEST = 112;
const RESPONSE = 16;

const name = 'ringbuf.js';
const { RingBuffer } = (await import(name)) as RingBuf;

const serve = ({ requests, responses }: Given): void => {
  const from = new RingBuffer(requests, Uint8Array);
  const to = new RingBuffer(responses, Uint8Array);
  const request = new Uint8Array(REQUEST);
  const response = new Uint8Array(RESPONSE);
  for (;;) {
    if (from.availableRead() < REQUEST) continue;
    from.pop(request);
    response.set(request.subarray(8, 16));
    response[8] = request[0] as number;
    while (to.availableWrite() < RESPONSE);
    to.push(response);
  }
};

const ask = ({ requests, responses }: Given, depth: number, meter: Meter): number => {
  const to = new RingBuffer(requests, Uint8Array);
  const from = new RingBuffer(responses, Uint8Array);
  const request = new Uint8Array(REQUEST);
  const response = new Uint8Array(RESPONSE);
  for (let i = 0; i < depth; i++) to.push(request);
  for (;;) {
    if (from.availableRead() < RESPONSE) continue;
    from.pop(response);
    to.push(request);
    if (meter.done()) return meter.rate;
  }
};

const given = workerData as Given | null;
if (given !== null) serve(given);
else {
  // One more than the ring's slots: ringbuf.js keeps one element free.
  const storage = (bytes: number): SharedArrayBuffer =>
    RingBuffer.getStorageForCapacity(bytes * (ENTRIES + 1), Uint8Array);
  const rings: Given = { requests: storage(REQUEST), responses: storage(RESPONSE) };
  const worker = new Worker(new URL(import.meta.url), { workerData: rings });
  // The worker needs this thread's event loop until it runs.
  worker.once('online', () => {
    setTimeout(() => {
      const [, , depth, length] = process.argv;
      console.log(JSON.stringify({ rate: ask(rings, Number(depth), new Meter('wall', Number(length))) }));
      process.exit();
    }, 100);
  });
}
