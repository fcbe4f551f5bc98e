import { expect } from 'chai';
import fc from 'fast-check';
import { errno } from '../../../core/abi/errno.js';
import type { PortStatus } from '../../../core/abi/port-status.js';
import type { Domid, Port } from '../../../core/abi/units.js';
import { DOMID_XEN } from '../../../core/hypervisor/domains.js';
import { parked } from '../../../core/hypervisor/doorbell.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { expectSound } from './invariants.js';

/** Events as event_channel.h and event_2l.c tell them, with sets and maps, and no shared memory in sight. */
interface ModelPort {
  state: 'free' | 'reserved' | 'unbound' | 'interdomain';
  remote?: number;
  remotePort?: number;
}
interface ModelDomain {
  readonly max: number;
  readonly wordBits: number;
  readonly ports: ModelPort[];
  readonly pending: Set<number>;
  readonly mask: Set<number>;
  readonly selected: Set<number>;
  upcall: boolean;
  parked: boolean;
}

class Model {
  readonly domains = new Map<number, ModelDomain>();
  readonly rung: number[] = [];

  create(domid: number, max: number, wordBits: number): void {
    const ports = Array.from({ length: 64 }, (_, i): ModelPort => ({ state: i === 0 ? 'reserved' : 'free' }));
    const sets = { pending: new Set<number>(), mask: new Set<number>(), selected: new Set<number>() };
    this.domains.set(domid, { max, wordBits, ports, ...sets, upcall: false, parked: false });
  }

  #free(domain: ModelDomain): number {
    const port = domain.ports.findIndex(({ state }) => state === 'free');
    const lowest = port < 0 ? domain.ports.length : port;
    if (lowest > domain.max) return -errno.ENOSPC;
    if (port < 0) for (let i = 0; i < 64; i++) domain.ports.push({ state: 'free' });
    return lowest;
  }

  alloc(caller: number, dom: number, remote: number): number {
    const target = this.domains.get(dom);
    if (target === undefined || !this.domains.has(caller)) return -errno.ESRCH;
    const port = this.#free(target);
    if (port < 0) return port;
    if (caller !== dom && caller !== 0) return -errno.EPERM;
    target.ports[port] = { state: 'unbound', remote };
    return port;
  }

  bind(caller: number, remote: number, remotePort: number): number {
    const own = this.domains.get(caller);
    const peer = this.domains.get(remote);
    if (own === undefined || peer === undefined) return -errno.ESRCH;
    const port = this.#free(own);
    if (port < 0) return port;
    const other = peer.ports[remotePort];
    if (other?.state !== 'unbound' || other.remote !== caller) return -errno.EINVAL;
    own.ports[port] = { state: 'interdomain', remote, remotePort };
    peer.ports[remotePort] = { state: 'interdomain', remote: caller, remotePort: port };
    this.raise(caller, port);
    return port;
  }

  close(caller: number, port: number): number {
    const own = this.domains.get(caller);
    if (own === undefined) return -errno.ESRCH;
    const at = own.ports[port];
    if (at === undefined || at.state === 'free' || at.state === 'reserved') return -errno.EINVAL;
    if (at.state === 'interdomain') {
      const peer = this.domains.get(at.remote as number) as ModelDomain;
      peer.ports[at.remotePort as number] = { state: 'unbound', remote: caller };
    }
    own.ports[port] = { state: 'free' };
    own.pending.delete(port);
    return 0;
  }

  send(caller: number, port: number): number {
    const at = this.domains.get(caller)?.ports[port];
    if (!this.domains.has(caller)) return -errno.ESRCH;
    if (at?.state === 'unbound') return 0;
    if (at?.state !== 'interdomain') return -errno.EINVAL;
    this.raise(at.remote as number, at.remotePort as number);
    return 0;
  }

  raise(domid: number, port: number): void {
    const domain = this.domains.get(domid) as ModelDomain;
    if (domain.pending.has(port)) return;
    domain.pending.add(port);
    if (!domain.mask.has(port)) this.#select(domid, domain, port);
  }

  #select(domid: number, domain: ModelDomain, port: number): void {
    const word = Math.trunc(port / domain.wordBits);
    if (domain.selected.has(word)) return;
    domain.selected.add(word);
    if (domain.upcall) return;
    domain.upcall = true;
    if (domain.parked) this.rung.push(domid);
    domain.parked = false;
  }

  unmask(caller: number, port: number): number {
    const own = this.domains.get(caller);
    if (own === undefined) return -errno.ESRCH;
    if (port >= own.ports.length) return -errno.EINVAL;
    if (own.mask.delete(port) && own.pending.has(port)) this.#select(caller, own, port);
    return 0;
  }

  mask(caller: number, port: number): void {
    const own = this.domains.get(caller);
    if (own !== undefined && port < own.ports.length) own.mask.add(port);
  }

  scan(caller: number): readonly number[] {
    const own = this.domains.get(caller);
    if (own === undefined) return [];
    const got = [...own.pending].filter(
      (port) => !own.mask.has(port) && own.selected.has(Math.trunc(port / own.wordBits)),
    );
    own.upcall = false;
    own.selected.clear();
    for (const port of got) own.pending.delete(port);
    return got.sort((a, b) => a - b);
  }

  park(caller: number): void {
    const own = this.domains.get(caller);
    if (own !== undefined) own.parked = !own.upcall;
  }

  destroy(domid: number): void {
    this.domains.get(domid)?.ports.forEach((_, port) => {
      this.close(domid, port);
    });
    this.domains.delete(domid);
  }
}

interface Real {
  readonly hypervisor: Hypervisor;
  readonly rung: Domid[];
}

const options = [
  { max: 1023, wordBits: 64 },
  { max: 70, wordBits: 64 },
  { max: 3, wordBits: 32 },
  { max: 200, wordBits: 32 },
];

const createReal = ({ hypervisor }: Real, domid: number): void => {
  const { max, wordBits } = options[domid] as (typeof options)[number];
  const abi = wordBits === 32 ? 'x86_32-abi' : 'x86_64-abi';
  const result = hypervisor.domains.create(DOMID_XEN, {
    domid: domid as Domid,
    privileged: domid === 0,
    abi,
    maxEventChannels: max,
  });
  expect(result).to.equal(0);
};

const compare = (model: Model, { hypervisor, rung }: Real): void => {
  const wrong: string[] = [];
  const check = (right: boolean, what: string): void => {
    if (!right) wrong.push(what);
  };
  for (const [domid, domain] of model.domains) {
    const id = domid as Domid;
    const slot = hypervisor.memory.slotOf(id);
    const page = hypervisor.sharedInfo.at(slot);
    for (let port = 0; port <= domain.ports.length; port++) {
      const what = `port ${port} of domain ${domid}`;
      const found = hypervisor.eventChannels.status(id, id, port as Port);
      check(describeReal(found) === describeModel(domain.ports[port]), what);
      check(hypervisor.sharedInfo.isPending(page, port) === domain.pending.has(port), `PENDING of ${what}`);
      const masked = hypervisor.sharedInfo.isMasked(page, domain.wordBits === 32, port);
      check(masked === domain.mask.has(port), `MASK of ${what}`);
    }
    check(hypervisor.doorbell.hasUpcall(id) === domain.upcall, `upcall of domain ${domid}`);
  }
  expect(wrong).to.deep.equal([]);
  expect(rung).to.deep.equal(model.rung);
};

const describeReal = (found: PortStatus | number): string => {
  if (typeof found === 'number') return `${found}`;
  if (found.status === 'interdomain') return `interdomain ${found.dom} ${found.port}`;
  return found.status === 'unbound' ? `unbound ${found.dom}` : found.status;
};

const describeModel = (port: ModelPort | undefined): string => {
  if (port === undefined) return `${-errno.EINVAL}`;
  if (port.state === 'interdomain') return `interdomain ${port.remote} ${port.remotePort}`;
  return port.state === 'unbound' ? `unbound ${port.remote}` : 'closed';
};

const command = (name: string, run: (model: Model, real: Real) => void): fc.Command<Model, Real> => ({
  check: () => true,
  run: (model, real) => {
    run(model, real);
    compare(model, real);
  },
  toString: () => name,
});

const domid = fc.integer({ min: 0, max: 4 });
const port = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 6 }) },
  fc.constantFrom(63, 64, 70, 4096, 0xffffffff),
);
const commands = [
  fc.tuple(domid, domid, domid).map(([caller, dom, remote]) =>
    command(`alloc_unbound(${caller}, ${dom}, ${remote})`, (model, { hypervisor }) => {
      const real = hypervisor.eventChannels.allocUnbound(caller as Domid, dom as Domid, remote as Domid);
      expect(real).to.equal(model.alloc(caller, dom, remote));
    }),
  ),
  fc.tuple(domid, domid).map(([dom, remote]) =>
    command(`fill(${dom}, ${remote})`, (model, { hypervisor }) => {
      for (let i = 0; i < 60; i++) {
        const real = hypervisor.eventChannels.allocUnbound(dom as Domid, dom as Domid, remote as Domid);
        expect(real).to.equal(model.alloc(dom, dom, remote));
      }
    }),
  ),
  fc.tuple(domid, domid, port).map(([caller, remote, of]) =>
    command(`bind_interdomain(${caller}, ${remote}, ${of})`, (model, { hypervisor }) => {
      const real = hypervisor.eventChannels.bindInterdomain(caller as Domid, remote as Domid, of as Port);
      expect(real).to.equal(model.bind(caller, remote, of));
    }),
  ),
  fc.tuple(domid, domid).map(([a, b]) =>
    command(`connect(${a}, ${b})`, (model, { hypervisor }) => {
      const real = hypervisor.eventChannels.allocUnbound(a as Domid, a as Domid, b as Domid);
      expect(real).to.equal(model.alloc(a, a, b));
      const bound = hypervisor.eventChannels.bindInterdomain(b as Domid, a as Domid, real as Port);
      expect(bound).to.equal(model.bind(b, a, real));
    }),
  ),
  ...(['close', 'send', 'unmask'] as const).map((name) =>
    fc.tuple(domid, port).map(([caller, of]) =>
      command(`${name}(${caller}, ${of})`, (model, { hypervisor }) => {
        expect(hypervisor.eventChannels[name](caller as Domid, of as Port)).to.equal(model[name](caller, of));
      }),
    ),
  ),
  fc.tuple(domid, port).map(([caller, of]) =>
    command(`mask(${caller}, ${of})`, (model, { hypervisor }) => {
      hypervisor.eventChannels.mask(caller as Domid, of as Port);
      model.mask(caller, of);
    }),
  ),
  domid.map((caller) =>
    command(`scan(${caller})`, (model, { hypervisor }) => {
      const got: number[] = [];
      hypervisor.upcalls.scan(caller as Domid, (of) => got.push(of));
      expect(got.sort((a, b) => a - b)).to.deep.equal(model.scan(caller));
    }),
  ),
  domid.map((caller) =>
    command(`park(${caller})`, (model, { hypervisor }) => {
      hypervisor.doorbell.rest(caller as Domid, parked);
      model.park(caller);
    }),
  ),
  fc.integer({ min: 1, max: 3 }).map((dom) =>
    command(`destroy and create(${dom})`, (model, real) => {
      expect(real.hypervisor.destroyDomain(DOMID_XEN, dom as Domid)).to.equal(0);
      model.destroy(dom);
      createReal(real, dom);
      model.create(dom, options[dom]?.max as number, options[dom]?.wordBits as number);
    }),
  ),
];

describe('event channels against a plain model', () => {
  it('agree in every answer, port, bit and ring, whatever four domains do', () => {
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 80 }), (plan) => {
        const rung: Domid[] = [];
        const real = { hypervisor: Hypervisor.create({ bytes: 2 ** 20, domains: 5 }, (dom) => rung.push(dom)), rung };
        const model = new Model();
        options.forEach(({ max, wordBits }, dom) => {
          createReal(real, dom);
          model.create(dom, max, wordBits);
        });
        fc.modelRun(() => ({ model, real }), plan);
        expectSound(real.hypervisor, 'at the end');
      }),
      { numRuns: 200 },
    );
  });
});
