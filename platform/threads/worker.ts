// The thread of one domain: what `new Worker` starts.
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { MachineMemory } from '../../core/hypervisor/memory.js';
import { asError } from '../../core/index.js';
import { timeSince } from '../hypervisor/host-clock.js';
import { startDomain } from '../hypervisor/start-domain.js';
import { activeRequests } from './active-requests.js';
import { DomainLoop, enterable } from './domain-loop.js';
import { Doorbells } from './doorbells.js';
import { houseDomain } from './house-domain.js';
import { type DomainThreadData, type FromDomain, plainError, type ThreadStart, type ToDomain } from './messages.js';
import { ThreadLife } from './thread-life.js';

if (parentPort === null) throw new Error('this module is a domain’s thread: a ThreadsMachine starts it');
const machine: MessagePort = parentPort;
const { mail } = workerData as ThreadStart;

/** The first message; the machine may take longer to make a domain than this thread took to come here. */
const receive = (): DomainThreadData => {
  for (;;) {
    const first = receiveMessageOnPort(machine);
    if (first !== undefined) return first.message as DomainThreadData;
    Atomics.wait(mail, 0, 0);
  }
};
const given = receive();
const { domid, module: url } = given;

const tell = (message: FromDomain): void => machine.postMessage(message);

let mailRead = 1;
const doorbells = new Doorbells((other) => {
  if (other === domid) {
    // Raised by a callback of this thread's event loop while the domain was parked.
    loop.schedule();
    return undefined;
  }
  // A domain that was made since this thread last looked into its mail; else one that lives where the machine does.
  for (let mail = receiveMessageOnPort(machine); mail !== undefined; mail = receiveMessageOnPort(machine)) {
    take(mail.message as ToDomain);
  }
  return doorbells.find(other) ?? given.main;
});
const hypervisor = new Hypervisor(
  new MachineMemory(given.memory, given.copyModule),
  doorbells.ring,
  undefined,
  timeSince(given.boot),
);
new ThreadLife(hypervisor.memory).publish(domid);
const loop = new DomainLoop(hypervisor.doorbell, {
  blocking: given.blocking,
  hasMail: () => Atomics.load(mail, 0) !== mailRead,
});
const connect = (other: typeof domid, port: MessagePort): void => {
  doorbells.add(other, port);
  port.on('message', loop.run);
};
for (const [other, port] of given.peers) connect(other, port);
given.main.on('message', loop.run);

const { domain, entry, grants } = houseDomain(hypervisor, given, {
  linger: loop.linger,
  log: (entry, time) => tell({ type: 'log', time, entry }),
  report: (value) => tell({ type: 'report', value }),
  crashed: (error) => tell({ type: 'stopped', error: plainError(error) }),
});
entry.onDeadline = () => loop.schedule();
hypervisor.sched.onShutdown = (_, code) => tell({ type: 'shutdown', code });
hypervisor.sched.onWatchdog = () => tell({ type: 'watchdog' });
loop.add(domid, enterable(entry));

const go = async (): Promise<void> => {
  try {
    await startDomain(
      domain,
      url,
      (module) => import(module),
      (error) => tell({ type: 'stopped', error: error && plainError(error) }),
    );
    tell({ type: 'runs' });
  } catch (error) {
    tell({ type: 'refused', error: plainError(asError(error)) });
  }
};

const answer = (id: number): void => {
  const active = activeRequests();
  const busy = loop.isBusy || active.some((name) => name !== 'Timeout');
  tell({
    type: 'answer',
    id,
    busy,
    waits: active.length > 0 || entry.msLeft !== Number.POSITIVE_INFINITY,
    delivered: loop.delivered,
  });
};

const take = (message: ToDomain): void => {
  mailRead = (mailRead + 1) | 0;
  switch (message.type) {
    case 'go':
      void go();
      break;
    case 'peer':
      connect(message.domid, message.port);
      break;
    case 'peer-gone':
      doorbells.remove(message.domid);
      break;
    case 'quiesce':
      domain[Symbol.dispose]();
      break;
    case 'settle':
      setImmediate(answer, message.id);
      break;
    case 'trim':
      grants.reclaim(Number.MAX_SAFE_INTEGER);
      grants.trim();
      answer(message.id);
  }
};
machine.on('message', take);
