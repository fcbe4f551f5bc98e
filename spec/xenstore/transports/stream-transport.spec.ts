import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { expect } from 'chai';
import { firstValueFrom, take, toArray } from 'rxjs';
import { Disconnected } from '../../../core/errors.js';
import { connectStore, StreamTransport } from '../../../xenstore/transports/stream-transport.js';
import { WireXenStore } from '../../../xenstore/wire-store.js';
import { failure } from '../../support/failure.js';
import { StoreMachine } from '../../support/store-machine.js';

describe('the store over a stream', () => {
  let folder: string;
  let path: string;
  let server: Server;
  let sockets: Socket[];
  let machine: StoreMachine;

  /** Hands a socket's bytes to the store and back, `piece` bytes at a time. */
  const serve = (socket: Socket, piece: number): void => {
    const transport = machine.server.open();
    const buffer = new Uint8Array(piece);
    let waiting = Buffer.alloc(0);
    const move = (): void => {
      waiting = waiting.subarray(transport.write(waiting, 0, waiting.length));
      machine.run();
      for (let n = transport.read(buffer, 0, piece); n > 0; n = transport.read(buffer, 0, piece)) {
        socket.write(buffer.slice(0, n));
      }
    };
    transport.ready$.subscribe(() => setImmediate(move));
    socket.on('data', (bytes) => {
      waiting = Buffer.concat([waiting, bytes]);
      move();
    });
    socket.on('error', () => {});
  };

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'splitring-store-'));
    path = join(folder, 'socket');
    sockets = [];
    machine = new StoreMachine();
    server = createServer((socket) => {
      sockets.push(socket);
      serve(socket, 7);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
  });
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(folder, { recursive: true });
  });

  it('reads, writes, lists and runs transactions over xenstored’s socket, however the bytes are cut', async () => {
    const store = new WireXenStore(await connectStore(path));
    await store.write('/a/long', 'x'.repeat(3000));
    expect(await store.read('/a/long')).to.equal('x'.repeat(3000));
    await store.transaction(async (t) => {
      await t.write('/a/one', '1');
      await t.write('/a/two', '2');
    });
    expect(await store.directory('/a')).to.have.members(['long', 'one', 'two']);
    const events = firstValueFrom(store.watch$('/a').pipe(take(2), toArray()));
    await store.write('/a/three', '3');
    expect(await events).to.eql(['/a', '/a/three']);
    store[Symbol.dispose]();
  });

  it('rejects what waits, errors the watches, and says why, when the store goes', async () => {
    const transport = await connectStore(path);
    const store = new WireXenStore(transport);
    await store.write('/a', '1');
    const watch = firstValueFrom(store.watch$('/a').pipe(take(9), toArray())).catch((error: unknown) => error);
    await store.read('/a');
    for (const socket of sockets) socket.destroy();
    expect(await watch).to.be.instanceOf(Disconnected);
    expect(await failure(store.read('/a'))).to.be.instanceOf(Disconnected);
    expect(await transport.lost).to.be.instanceOf(Error);
  });

  it('refuses with the system’s error where nobody listens', async () => {
    expect(await failure(connectStore(join(folder, 'none')))).to.have.property('code', 'ENOENT');
  });

  it('hands each message on by one write, which /dev/xen/xenbus needs, and takes none while the stream has no room', async () => {
    const writes: number[] = [];
    let release: (() => void) | undefined;
    const stream = new Duplex({
      writableHighWaterMark: 20,
      read: () => {},
      write: (chunk: Uint8Array, _encoding, done) => {
        writes.push(chunk.length);
        release = () => done();
      },
    });
    const transport = new StreamTransport(stream);
    const taken: number[] = [];
    const { write } = transport;
    transport.write = (...args) => {
      taken.push(write.apply(transport, args));
      return taken.at(-1) ?? 0;
    };
    const store = new WireXenStore(transport);
    const answers = ['/a', '/bb', '/ccc'].map((name) => store.read(name).catch((error: unknown) => error));
    expect(writes).to.eql([16 + 3]);
    expect(taken).to.eql([16 + 3, 16 + 4, 0]);
    for (let i = 0; i < 3; i++) {
      release?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(writes).to.eql([16 + 3, 16 + 4, 16 + 5]);
    stream.destroy();
    for (const answer of await Promise.all(answers)) expect(answer).to.be.instanceOf(Disconnected);
  });
});
