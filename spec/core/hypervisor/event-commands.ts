// Long, since every call about events is one command.
import { expect } from 'chai';
import fc from 'fast-check';
import { errno } from '../../../core/abi/errno.js';
import type { PortStatus } from '../../../core/abi/port-status.js';
import type { Domid, Port } from '../../../core/abi/units.js';
import { DOMID_XEN } from '../../../core/hypervisor/domains.js';
import { parked } from '../../../core/hypervisor/doorbell.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { control } from '../../../core/hypervisor/layout.js';
import { BIND_PIRQ_WILL_SHARE, mapPirqType } from '../../../core/hypervisor/pirqs.js';
import { EventModel, type ModelOptions, type ModelPort } from './event-model.js';
import { expectSound } from './invariants.js';
import { bringUp, deliverOn } from './machine.js';

interface Real {
  readonly hypervisor: Hypervisor;
  readonly rung: Domid[];
}

const options: readonly ModelOptions[] = [
  { max: 1023, wordBits: 64, vcpus: 1 },
  { max: 70, wordBits: 64, vcpus: 3 },
  { max: 6, wordBits: 32, vcpus: 2 },
  { max: 200, wordBits: 64, vcpus: 1 },
];
/** The domain of Arm; the others are x86's. */
const ARM = 3;
const levels = [20, 21];

const create = (model: EventModel, { hypervisor }: Real, domid: number): void => {
  const made = options[domid] as ModelOptions;
  model.create(domid, made);
  const result = hypervisor.domains.create(DOMID_XEN, {
    domid: domid as Domid,
    privileged: domid === 0,
    abi: domid === ARM ? 'arm-abi' : made.wordBits === 32 ? 'x86_32-abi' : 'x86_64-abi',
    maxEventChannels: made.max,
    vcpus: made.vcpus,
  });
  expect(result).to.equal(0);
  bringUp(hypervisor, domid as Domid);
};

/** @param ports those that are looked at, of each domain; all of them at the end */
const compare = (model: EventModel, { hypervisor, rung }: Real, ports = 10): void => {
  const wrong: string[] = [];
  const check = (right: boolean, what: string): void => {
    if (!right) wrong.push(what);
  };
  for (const [domid, domain] of model.domains) {
    const id = domid as Domid;
    const slot = hypervisor.memory.slotOf(id);
    const page = hypervisor.sharedInfo.at(slot);
    for (let port = 0; port <= Math.min(domain.ports.length, ports); port++) {
      const what = `port ${port} of domain ${domid}`;
      const found = describeReal(hypervisor.eventChannels.status(id, id, port as Port));
      const wanted = describeModel(domain.ports[port]);
      check(found === wanted, `${what} is ${found}, not ${wanted}`);
      check(hypervisor.sharedInfo.isPending(page, port) === domain.pending.has(port), `PENDING of ${what}`);
      const masked = hypervisor.sharedInfo.isMasked(page, domain.wordBits === 32, port);
      check(masked === domain.mask.has(port), `MASK of ${what}`);
    }
    domain.vcpus.forEach(({ upcall }, vcpu) => {
      check(
        hypervisor.sharedInfo.hasUpcall(hypervisor.sharedInfo.infoOf(slot, vcpu)) === upcall,
        `upcall of vCPU ${vcpu} of domain ${domid}`,
      );
    });
  }
  for (const virq of [2, 8]) check(hypervisor.virqs.owner(virq) === model.owner(virq), `owner of VIRQ ${virq}`);
  expect(wrong).to.deep.equal([]);
  expect(rung).to.deep.equal(model.rung);
};

const describeReal = (found: PortStatus | number): string => {
  if (typeof found === 'number') return `${found}`;
  const { status, vcpu, ...rest } = found;
  return `${status} ${vcpu} ${Object.values(rest).join(' ')}`;
};

const describeModel = (port: ModelPort | undefined): string => {
  if (port === undefined) return `${-errno.EINVAL}`;
  const { state, vcpu, remote, remotePort, number } = port;
  const status = state === 'free' || state === 'reserved' ? 'closed' : state;
  return `${status} ${vcpu} ${[remote, remotePort, number].filter((value) => value !== undefined).join(' ')}`;
};

/** A call with its arguments, and what both say to it. */
const command = <A extends readonly number[]>(
  name: string,
  args: { readonly [K in keyof A]: fc.Arbitrary<A[K]> },
  model: (model: EventModel, ...args: A) => unknown,
  real: (real: Real, ...args: A) => unknown,
): fc.Arbitrary<fc.Command<EventModel, Real>> =>
  fc.tuple<number[]>(...args).map((values) => ({
    check: () => true,
    run: (m, r) => {
      const given = values as unknown as A;
      expect(real(r, ...given), 'the answer').to.deep.equal(model(m, ...given));
      compare(m, r);
    },
    toString: () => `${name}(${values.join(', ')})`,
  }));

const dom = fc.oneof({ weight: 12, arbitrary: fc.integer({ min: 0, max: 3 }) }, fc.constant(4));
const vcpu = fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 0, max: 2 }) }, fc.constantFrom(3, 40));
const port = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 0, max: 6 }) },
  fc.constantFrom(63, 64, 70, 4096, 0xffffffff),
);
const virq = fc.constantFrom(0, 0, 0, 1, 2, 2, 2, 8, 11, 24);
const pirq = fc.oneof({ weight: 8, arbitrary: fc.constantFrom(20, 21, 30) }, fc.constantFrom(16, 17, 300));
const irq = fc.constantFrom(20, 20, 21, 30);
const bool = fc.constantFrom(0, 1);
const of = (domid: number): Domid => domid as Domid;
const at = (number: number): Port => number as Port;

const commands = [
  command(
    'alloc_unbound',
    [dom, dom, dom],
    (m, caller, target, remote) => m.allocUnbound(caller, target, remote),
    ({ hypervisor: h }, caller, target, remote) => h.eventChannels.allocUnbound(of(caller), of(target), of(remote)),
  ),
  command(
    'fill',
    [dom, dom],
    (m, target, remote) => Array.from({ length: 60 }, () => m.allocUnbound(target, target, remote)),
    ({ hypervisor: h }, target, remote) =>
      Array.from({ length: 60 }, () => h.eventChannels.allocUnbound(of(target), of(target), of(remote))),
  ),
  command(
    'bind_interdomain',
    [dom, dom, port],
    (m, caller, remote, number) => m.bindInterdomain(caller, remote, number),
    ({ hypervisor: h }, caller, remote, number) => h.eventChannels.bindInterdomain(of(caller), of(remote), at(number)),
  ),
  command(
    'connect',
    [dom, dom],
    (m, a, b) => m.bindInterdomain(b, a, m.allocUnbound(a, a, b)),
    ({ hypervisor: h }, a, b) =>
      h.eventChannels.bindInterdomain(of(b), of(a), at(h.eventChannels.allocUnbound(of(a), of(a), of(b)))),
  ),
  command(
    'connect to Xen',
    [dom, dom],
    (m, a, b) => m.bindInterdomain(b, a, m.xenAlloc(a, 0, b)),
    ({ hypervisor: h }, a, b) =>
      h.eventChannels.bindInterdomain(of(b), of(a), at(h.xenChannels.allocUnbound(of(a), 0, of(b)))),
  ),
  command(
    'bind_ipi',
    [dom, vcpu],
    (m, caller, number) => m.bindIpi(caller, number),
    ({ hypervisor: h }, caller, number) => h.eventChannels.bindIpi(of(caller), number),
  ),
  command(
    'bind_virq',
    [dom, virq, vcpu],
    (m, caller, number, on) => m.bindVirq(caller, number, on),
    ({ hypervisor: h }, caller, number, on) => h.virqs.bind(of(caller), number, on),
  ),
  command(
    'set_virq_handler',
    [fc.constantFrom(0, 0, 0, 1), dom, fc.oneof({ weight: 3, arbitrary: fc.constantFrom(2, 8) }, virq)],
    (m, caller, target, number) => m.setHandler(caller, target, number),
    ({ hypervisor: h }, caller, target, number) => h.virqs.setHandler(of(caller), of(target), number),
  ),
  command(
    'a virtual interrupt',
    [fc.integer({ min: 0, max: 3 }), vcpu, fc.constantFrom(0, 1)],
    (m, target, on, number) => m.raiseVirq(target, on, number),
    ({ hypervisor: h }, target, on, number) => h.virqs.raise(h.memory.slotOf(target), on, number),
  ),
  command(
    'a domain’s virtual interrupt',
    [fc.integer({ min: 0, max: 3 })],
    (m, target) => m.raiseVirq(target, 0, 11),
    ({ hypervisor: h }, target) => h.virqs.raise(h.memory.slotOf(target), 0, 11),
  ),
  command(
    'a global virtual interrupt',
    [fc.constantFrom(2, 8)],
    (m, number) => m.raiseGlobal(number),
    ({ hypervisor: h }, number) => h.virqs.raiseGlobal(number),
  ),
  command(
    'map_pirq',
    [
      fc.constantFrom(0, 0, 0, 1),
      dom,
      fc.constantFrom(20, 20, 21, 30, 0, 128),
      fc.oneof(pirq, fc.constantFrom(-1, 20)),
    ],
    (m, caller, target, index, number) => m.mapPirq(caller, target, index, number),
    ({ hypervisor: h }, caller, target, index, number) =>
      h.pirqs.map(of(caller), of(target), mapPirqType.gsi, index, number),
  ),
  command(
    'share',
    [fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }), irq, fc.constantFrom(3, 3, 3, 1, 2, 0)],
    (m, a, b, number, flags) =>
      [a, b].map((id, i) => [m.mapPirq(0, id, number, number), m.bindPirq(id, number, (flags & (1 << i)) !== 0)]),
    ({ hypervisor: h }, a, b, number, flags) =>
      [a, b].map((id, i) => [
        h.pirqs.map(of(0), of(id), mapPirqType.gsi, number, number),
        h.pirqs.bind(of(id), number, (flags & (1 << i)) !== 0 ? BIND_PIRQ_WILL_SHARE : 0),
      ]),
  ),
  command(
    'an interrupt that moves before it is found',
    [fc.constantFrom(1, 2), vcpu],
    (m, id, on) => {
      const bound = m.bindVirq(id, 11, 0);
      m.raiseVirq(id, 0, 11);
      return [bound, m.bindVcpu(id, bound, on), m.scan(id, 0)];
    },
    ({ hypervisor: h }, id, on) => {
      const bound = h.virqs.bind(of(id), 11, 0);
      h.virqs.raise(h.memory.slotOf(id), 0, 11);
      const moved = h.eventChannels.bindVcpu(of(id), at(bound), on);
      return [bound, moved, [...deliverOn(h, of(id), 0)].sort((a, b) => a - b)];
    },
  ),
  command(
    'unmap_pirq',
    [fc.constantFrom(0, 0, 0, 1), dom, pirq],
    (m, caller, target, number) => m.unmapPirq(caller, target, number),
    ({ hypervisor: h }, caller, target, number) => h.pirqs.unmap(of(caller), of(target), number),
  ),
  command(
    'bind_pirq',
    [dom, pirq, bool],
    (m, caller, number, share) => m.bindPirq(caller, number, share === 1),
    ({ hypervisor: h }, caller, number, share) => h.pirqs.bind(of(caller), number, share * BIND_PIRQ_WILL_SHARE),
  ),
  ...[0, 1].map(() =>
    command(
      'eoi',
      [dom, pirq],
      (m, caller, number) => m.eoi(caller, number),
      ({ hypervisor: h }, caller, number) => h.pirqs.eoi(of(caller), number),
    ),
  ),
  command(
    'irq_status_query',
    [dom, pirq],
    (m, caller, number) => m.irqStatusQuery(caller, number),
    ({ hypervisor: h }, caller, number) => h.pirqs.irqStatusQuery(of(caller), number),
  ),
  ...[0, 1].map(() =>
    command(
      'the line',
      [irq, bool],
      (m, number, up) => m.setLine(number, up === 1),
      ({ hypervisor: h }, number, up) => h.pirqs.setLine(number, up === 1),
    ),
  ),
  ...(['close', 'send', 'unmask'] as const).map((name) =>
    command(
      name,
      [dom, port],
      (m, caller, number) => m[name](caller, number),
      ({ hypervisor: h }, caller, number) => h.eventChannels[name](of(caller), at(number)),
    ),
  ),
  command(
    'mask',
    [dom, port],
    (m, caller, number) => m.setMask(caller, number),
    ({ hypervisor: h }, caller, number) => h.eventChannels.mask(of(caller), at(number)),
  ),
  command(
    'bind_vcpu',
    [dom, port, vcpu],
    (m, caller, number, on) => m.bindVcpu(caller, number, on),
    ({ hypervisor: h }, caller, number, on) => h.eventChannels.bindVcpu(of(caller), at(number), on),
  ),
  command(
    'reset',
    [dom, dom],
    (m, caller, target) => m.reset(caller, target),
    ({ hypervisor: h }, caller, target) => h.eventChannels.reset(of(caller), of(target)),
  ),
  command(
    'pause or unpause',
    [fc.integer({ min: 0, max: 3 }), bool],
    (m, target, paused) => {
      const domain = m.domains.get(target);
      if (domain !== undefined) domain.paused = paused === 1;
    },
    ({ hypervisor: { memory } }, target, paused) => {
      memory.words[memory.control(memory.slotOf(target)) + control.pauseCount] = paused;
    },
  ),
  command(
    'alloc_unbound_xen_event_channel',
    [dom, vcpu, dom],
    (m, target, on, remote) => m.xenAlloc(target, on, remote),
    ({ hypervisor: h }, target, on, remote) => h.xenChannels.allocUnbound(of(target), on, of(remote)),
  ),
  command(
    'notify_via_xen_event_channel',
    [dom, port],
    (m, target, number) => m.xenNotify(target, number),
    ({ hypervisor: h }, target, number) => h.xenChannels.notify(of(target), at(number)),
  ),
  command(
    'free_xen_event_channel',
    [dom, port],
    (m, target, number) => m.xenFree(target, number),
    ({ hypervisor: h }, target, number) => h.xenChannels.free(of(target), at(number)),
  ),
  ...[0, 1].map(() =>
    command(
      'scan',
      [dom, fc.integer({ min: 0, max: 2 })],
      (m, caller, on) => m.scan(caller, on),
      ({ hypervisor: h }, caller, on) => {
        // A guest enters no vCPU that it has not.
        const has = h.vcpus.has(Math.max(h.memory.slotOf(caller), 0), on);
        return has ? [...deliverOn(h, of(caller), on)].sort((a, b) => a - b) : [];
      },
    ),
  ),
  command(
    'park',
    [dom],
    (m, caller) => m.park(caller),
    ({ hypervisor: h }, caller) => {
      const slot = h.memory.slotOf(caller);
      // One that is paused rests whatever waits for it: that is the scheduler's rule, not the events'.
      const isPaused = slot >= 0 && h.memory.words[h.memory.control(slot) + control.pauseCount] !== 0;
      if (!isPaused) h.doorbell.rest(of(caller), parked);
    },
  ),
  fc.integer({ min: 1, max: 3 }).map((target) => ({
    check: () => true,
    run: (m: EventModel, r: Real) => {
      expect(r.hypervisor.destroyDomain(DOMID_XEN, of(target))).to.equal(0);
      m.destroy(target);
      create(m, r, target);
      compare(m, r);
    },
    toString: () => `destroy and create(${target})`,
  })),
];

/** Has random plans run against the model and our Xen, and compares them after each call. @throws what fast-check found, shrunk */
export const agree = (runs: number, seed: number, isShrunk = true): void => {
  fc.assert(
    fc.property(fc.commands(commands, { maxCommands: 120, size: 'max' }), (plan) => {
      const rung: Domid[] = [];
      const real = { hypervisor: Hypervisor.create({ bytes: 2 ** 20, domains: 5 }, (domid) => rung.push(domid)), rung };
      const model = new EventModel(levels);
      for (const line of levels) real.hypervisor.pirqs.setTrigger(line, 'level');
      for (let domid = 0; domid < options.length; domid++) create(model, real, domid);
      fc.modelRun(() => ({ model, real }), plan);
      compare(model, real, Number.POSITIVE_INFINITY);
      expectSound(real.hypervisor, 'at the end');
    }),
    { numRuns: runs, seed, endOnFailure: !isShrunk },
  );
};
