// The thread of one domain: what `new Worker` starts.
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { asError, Domain, type LogEntry } from '../../core/index.js';
import { RingXenStore } from '../../xenstore/ring-store.js';
import { bindDomain } from '../hypervisor/bind-domain.js';
import { HypervisorEventChannels } from '../hypervisor/event-channels.js';
import { faultEntry } from '../hypervisor/fault-entry.js';
import { HypervisorGrantTable } from '../hypervisor/grant-table.js';
import { GuestEntry } from '../hypervisor/guest-entry.js';
import { HostClock, timeSince } from '../hypervisor/host-clock.js';
import { HypervisorPhysdev } from '../hypervisor/physdev.js';
import { HypervisorSched } from '../hypervisor/sched.js';
import { startDomain } from '../hypervisor/start-domain.js';
import { HypervisorTraps } from '../hypervisor/traps.js';
import { activeRequests } from './active-requests.js';
import { vcpusOf } from './compute.js';
import { DomainLoop, enterable } from './domain-loop.js';
import { Doorbells } from './doorbells.js';
import { type DomainThreadData, type FromDomain, plainError, type ToDomain } from './messages.js';
import { ThreadLife } from './thread-life.js';

if (parentPort === null) throw new Error('this module is a domain’s thread: a ThreadsMachine starts it');
const machine: MessagePort = parentPort;
const given = workerData as DomainThreadData;
const { domid, module: url } = given;

const tell = (message: FromDomain): void => machine.postMessage(message);

let mailRead = 0;
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
const hypervisor = new Hypervisor(given.memory, doorbells.ring, undefined, timeSince(given.boot));
new ThreadLife(hypervisor.memory).publish(domid);
const loop = new DomainLoop(hypervisor.doorbell, {
  blocking: given.blocking,
  hasMail: () => Atomics.load(given.mail, 0) !== mailRead,
});
const connect = (other: typeof domid, port: MessagePort): void => {
  doorbells.add(other, port);
  port.on('message', loop.run);
};
for (const [other, port] of given.peers) connect(other, port);
given.main.on('message', loop.run);

const clock = new HostClock(given.boot);
const log = (entry: LogEntry): void => tell({ type: 'log', time: clock.now(), entry });
const domain = new Domain(domid, given.name, given.abi);
const channels = new HypervisorEventChannels(
  hypervisor,
  domid,
  (error) => log(faultEntry(given.name, error)),
  loop.linger,
);
const grants = new HypervisorGrantTable(hypervisor, domid);
const entry = new GuestEntry(hypervisor, domid, channels, (error) => log(faultEntry(given.name, error)));
entry.dispense();
entry.onDeadline = () => loop.schedule();
hypervisor.sched.onShutdown = (_, code) => tell({ type: 'shutdown', code });
hypervisor.sched.onWatchdog = () => tell({ type: 'watchdog' });
bindDomain(
  domain,
  { cmdline: given.cmdline, ...(given.offer === undefined ? {} : { offer: given.offer }) },
  {
    clock,
    channels,
    grants,
    physdev: new HypervisorPhysdev(hypervisor, domid),
    vcpus: () => vcpusOf(hypervisor, domid, channels, entry),
    sched: new HypervisorSched(hypervisor, domid, entry),
    store: new RingXenStore(grants.adopt(given.storeFrame), channels.adopt(given.storePort)),
    log,
    report: (value) => tell({ type: 'report', value }),
    traps: () =>
      new HypervisorTraps({
        hypervisor,
        domid,
        channels,
        entry,
        onError: (error) => log(faultEntry(given.name, error)),
        onCrash: (crash) => tell({ type: 'stopped', error: plainError(crash) }),
      }),
  },
);
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
