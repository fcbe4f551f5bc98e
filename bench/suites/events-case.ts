import { BackRing } from '../../core/abi/back-ring.js';
import { FrontRing } from '../../core/abi/front-ring.js';
import type { Port } from '../../core/abi/units.js';
import type { EventChannel } from '../../core/domain/event-channels.js';
import { DOMID_XEN } from '../../core/hypervisor/domains.js';
import { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import type { Domid, Sector, Slot, View } from '../../core/index.js';
import { Requests } from '../../core/xenbus/requests.js';
import { Responses } from '../../core/xenbus/responses.js';
import { blkifRequest, blkifResponse } from '../../drivers/blk/wire.js';
import { HypervisorEventChannels } from '../../platform/hypervisor/event-channels.js';
import { measureCase } from '../lib/measure-case.js';

// One case in a process: node events-case.js CASE rate|alloc SCALE. A case is its name, and channels, or requests an event.
const [, , name = '', mode = 'rate', scale = '1'] = process.argv;
const [what = '', number = '1'] = name.split('-');
const many = Number(number);

const [left, right] = [1 as Domid, 2 as Domid];
const hypervisor = Hypervisor.create({ bytes: 16 * 2 ** 20, domains: 4 });
for (const domid of [left, right]) hypervisor.domains.create(DOMID_XEN, { domid, maxEventChannels: 4095 });
const { eventChannels, upcalls, sharedInfo, memory } = hypervisor;
const fail = (error: unknown): void => {
  throw error;
};

/** One direction of a channel: how to raise its event, and how to enter the domain that gets it. */
interface Line {
  readonly send: () => void;
  readonly enter: () => void;
}

/** Connects a port of each domain, without the adapter. */
const connect = (): readonly [Port, Port] => {
  const port = eventChannels.allocUnbound(left, left, right) as Port;
  return [port, eventChannels.bindInterdomain(right, left, port) as Port];
};

/** Functions by port, and nothing else between a scan and them. */
const bare = (onLeft: () => void, onRight: () => void): readonly [Line, Line] => {
  const [port, peer] = connect();
  const line = (from: Domid, sends: Port, to: Domid, gets: Port, handler: () => void): Line => {
    const handlers: (() => void)[] = [];
    handlers[gets] = handler;
    const deliver = (pending: Port): void => handlers[pending]?.();
    upcalls.scan(to, deliver);
    return { send: () => eventChannels.send(from, sends), enter: () => upcalls.scan(to, deliver) };
  };
  return [line(left, port, right, peer, onRight), line(right, peer, left, port, onLeft)];
};

/** A domain's channels as drivers get them, with one RxJS subscriber each. */
const observed = (onLeft: () => void, onRight: () => void): readonly [Line, Line] => {
  const [a, b] = [left, right].map((domid) => new HypervisorEventChannels(hypervisor, domid, fail)) as [
    HypervisorEventChannels,
    HypervisorEventChannels,
  ];
  const port = a.allocUnbound(right);
  const peer = b.bindInterdomain(left, port.port);
  port.subscribe(onLeft);
  peer.subscribe(onRight);
  for (const channels of [a, b]) channels.enter();
  const line = (channel: EventChannel, to: HypervisorEventChannels): Line => ({
    send: () => channel.notify(),
    enter: () => to.enter(),
  });
  return [line(port, b), line(peer, a)];
};

/** Events alone, one after the other. */
const alone = (lines: (onLeft: () => void, onRight: () => void) => readonly [Line, Line]): ((n: number) => void) => {
  let got = 0;
  const [line] = lines(
    () => {},
    () => {
      got++;
    },
  );
  return (n) => {
    got = 0;
    for (let i = 0; i < n; i++) {
      line.send();
      line.enter();
    }
    if (got !== n) throw new Error(`${n} events were sent and ${got} came`);
  };
};

/** Requests through a ring, `many` for each event that goes there and each that comes back. */
const ring = (lines: (onLeft: () => void, onRight: () => void) => readonly [Line, Line]): ((n: number) => void) => {
  const words = new Int32Array(new SharedArrayBuffer(4096));
  const blkif = { request: blkifRequest, response: blkifResponse, id: 'id' } as const;
  const state = { next: 0, sum: 0, completed: 0 };
  const fill = ({ rw }: Slot<typeof blkifRequest, 'id'>): void => {
    rw.set({ operation: 0, nr_segments: 1, handle: 51712, sector_number: (state.next * 8) as Sector });
    state.next = (state.next + 1) & 0xffffff;
  };
  const done = (response: View<typeof blkifResponse, 'id'>): void => {
    state.completed++;
    state.sum = (state.sum + response.status) | 0;
  };
  const requests = new Requests(new FrontRing(words, blkif), { notify: () => there.send(), onError: fail });
  const responses = new Responses(new BackRing(words, blkif), {
    notify: () => back.send(),
    onError: fail,
    refuse: (response, errno) => {
      response.status = -errno;
    },
  });
  responses.serve((request, response) => {
    state.sum = (state.sum + request.rw.sector_number) | 0;
    response.set({ operation: request.operation, status: 0 });
  });
  const [there, back] = lines(
    () => requests.upcall(),
    () => responses.upcall(),
  );
  return (n) => {
    const end = state.completed + Math.ceil(n / many) * many;
    for (let i = 0; i < n; i += many) {
      for (let k = 0; k < many; k++) requests.submit(fill, done);
      requests.push();
      there.enter();
      back.enter();
    }
    if (state.completed !== end) throw new Error(`${end - state.completed} requests were not completed`);
  };
};

/** One event among `many` channels, each in its turn. `scan` finds it for the right domain. */
const among = (scan: (deliver: (port: Port) => void) => void): ((n: number) => void) => {
  const pairs = Array.from({ length: many }, connect);
  let got = 0;
  const handlers: (() => void)[] = [];
  for (const [, peer] of pairs) {
    handlers[peer] = () => {
      got++;
    };
  }
  const deliver = (port: Port): void => handlers[port]?.();
  upcalls.scan(right, deliver);
  let at = 0;
  return (n) => {
    got = 0;
    for (let i = 0; i < n; i++) {
      eventChannels.send(left, (pairs[at] as readonly [Port, Port])[0]);
      scan(deliver);
      at = (at + 37) % many;
    }
    if (got !== n) throw new Error(`${n} events were sent and ${got} came`);
  };
};

/** Looks at each port that the domain has, as one does who knows no selector. */
const linear = (deliver: (port: Port) => void): void => {
  const { words } = memory;
  const page = sharedInfo.at(memory.slotOf(right));
  sharedInfo.clearUpcall(page);
  sharedInfo.takeSelector(page, false, 0);
  // evtchn_pending and evtchn_mask of the 64-bit layout.
  const [pending, mask] = [page + 512, page + 640];
  for (let port = 1; port <= many; port++) {
    const word = port >>> 5;
    const bit = 1 << (port & 31);
    if ((Atomics.load(words, pending + word) & bit & ~(words[mask + word] as number)) === 0) continue;
    Atomics.and(words, pending + word, ~bit);
    deliver(port as Port);
  }
};

const cases: Readonly<Record<string, readonly [run: () => (n: number) => void, n: number]>> = {
  bare: [() => (many === 1 ? alone(bare) : ring(bare)), many === 1 ? 5e6 : 16e6],
  observed: [() => (many === 1 ? alone(observed) : ring(observed)), many === 1 ? 5e6 : 16e6],
  scan: [() => among((deliver) => upcalls.scan(right, deliver)), 5e6],
  linear: [() => among(linear), 5e7 / (many + 10)],
};
const chosen = cases[what];
if (chosen === undefined) throw new RangeError(`no case ${what}`);
const [make, n] = chosen;
measureCase(make(), mode, Math.ceil((n * Number(scale)) / 32) * 32);
