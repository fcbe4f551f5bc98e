// The suite's peer in Node itself: requests and responses as objects by MessagePort, between two threads.
// node rpc.js DEPTH MILLISECONDS core|wall prints the requests a second as JSON.
import { MessageChannel, type MessagePort, Worker, workerData } from 'node:worker_threads';
import { Meter } from '../../lib/meter.js';

interface Request {
  readonly operation: number;
  readonly handle: number;
  readonly id: number;
  readonly sector: number;
  readonly segments: readonly { readonly gref: number; readonly first: number; readonly last: number }[];
}
interface Response {
  readonly id: number;
  readonly operation: number;
  readonly status: number;
}

const serve = (port: MessagePort): void => {
  let sum = 0;
  port.on('message', ({ id, operation, sector, segments }: Request) => {
    const segment = segments[0];
    sum = (sum + sector + (segment?.gref ?? 0) + (segment?.last ?? 0)) | 0;
    port.postMessage({ id, operation, status: 0 } satisfies Response);
  });
};

const ask = (port: MessagePort, depth: number, meter: Meter): void => {
  let id = 0;
  let statuses = 0;
  const send = (): void => {
    const request: Request = {
      operation: 0,
      handle: 51712,
      id: id++,
      sector: id * 8,
      segments: [{ gref: 8, first: 0, last: 7 }],
    };
    port.postMessage(request);
  };
  port.on('message', ({ status }: Response) => {
    statuses |= status;
    if (meter.done()) {
      console.log(JSON.stringify({ rate: statuses === 0 ? meter.rate : null }));
      process.exit();
    }
    send();
  });
  for (let i = 0; i < depth; i++) send();
};

const given = workerData as { readonly port: MessagePort } | null;
if (given !== null) serve(given.port);
else {
  const { port1, port2 } = new MessageChannel();
  new Worker(new URL(import.meta.url), { workerData: { port: port2 }, transferList: [port2] });
  const [, , depth, length, clock] = process.argv;
  ask(port1, Number(depth), new Meter(clock, Number(length)));
}
