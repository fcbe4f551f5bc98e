// The suite's peers in Node itself: node node-peers.js udp|port SIZE MILLISECONDS core|wall prints frames a second: datagrams over loopback,
// or transferred buffers by MessagePort, from one thread to another. node node-peers.js tap SIZE MILLISECONDS NAME writes to a TAP device.
import { createSocket } from 'node:dgram';
import { MessageChannel, type MessagePort, Worker, workerData } from 'node:worker_threads';
import { Tap } from '../../../drivers/net/index.js';
import { Meter } from '../../lib/meter.js';

const BATCH = 64;

interface Given {
  readonly mode: 'udp' | 'port';
  readonly size: number;
  readonly port: MessagePort | number;
}

const sendDatagrams = (size: number, to: number): void => {
  const socket = createSocket('udp4');
  const bytes = new Uint8Array(size);
  const batch = (): void => {
    let left = BATCH;
    for (let i = 0; i < BATCH; i++)
      socket.send(bytes, to, '127.0.0.1', () => {
        if (--left === 0) setImmediate(batch);
      });
  };
  batch();
};

const sendBuffers = (size: number, port: MessagePort): void => {
  port.on('message', (count: number) => {
    for (let i = 0; i < count; i++) {
      const buffer = new ArrayBuffer(size);
      port.postMessage(buffer, [buffer]);
    }
  });
};

const print = (rate: number): void => {
  console.log(rate.toFixed(0));
  process.exit();
};

const given = workerData as Given | null;
if (given !== null) {
  if (given.mode === 'udp') sendDatagrams(given.size, given.port as number);
  else sendBuffers(given.size, given.port as MessagePort);
} else {
  const [, , mode, text, length, name] = process.argv;
  const size = Number(text);
  if (mode === 'udp') {
    const meter = new Meter(name, Number(length));
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
    socket.on('message', () => meter.done() && print(meter.rate));
    socket.bind(0, '127.0.0.1', () => {
      new Worker(new URL(import.meta.url), { workerData: { mode, size, port: socket.address().port } });
    });
  } else if (mode === 'port') {
    const meter = new Meter(name, Number(length));
    const { port1, port2 } = new MessageChannel();
    new Worker(new URL(import.meta.url), { workerData: { mode, size, port: port2 }, transferList: [port2] });
    let came = 0;
    port1.on('message', () => {
      if (meter.done()) print(meter.rate);
      if (++came % BATCH === 0) port1.postMessage(BATCH);
    });
    port1.postMessage(4 * BATCH);
  } else {
    const tap = await Tap.open(
      { name: name ?? 'srbench0', mtu: 65000 },
      () => {},
      () => {},
    );
    const bytes = new Uint8Array(new SharedArrayBuffer(65536));
    bytes.fill(0xff, 0, 6);
    bytes.set([2, 0, 0, 0, 0, 1, 0x88, 0xb5], 6);
    const meter = new Meter('core', Number(length));
    while (!meter.done()) tap.write(bytes, 0, size);
    const { rate } = meter;
    tap[Symbol.dispose]();
    print(rate);
  }
}
