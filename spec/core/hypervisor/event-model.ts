// Long, since it tells all of Xen's events once more, in the plainest words.
import { errno } from '../../../core/abi/errno.js';

type State = 'free' | 'reserved' | 'unbound' | 'interdomain' | 'virq' | 'pirq' | 'ipi';

/** A port as event_channel.h has it. */
export interface ModelPort {
  readonly state: State;
  readonly vcpu: number;
  readonly remote?: number;
  readonly remotePort?: number;
  /** Of the interrupt that it is bound to. */
  readonly number?: number;
  /** Xen takes its events. */
  readonly xen?: boolean;
}

interface ModelPirq {
  readonly irq: number;
  /** Taken away while it was bound. */
  forced: boolean;
  share: boolean;
  /** Told, and not ended. */
  masked: boolean;
}

interface ModelVcpu {
  readonly selected: Set<number>;
  upcall: boolean;
}

/** A domain, without any shared memory in sight. */
export interface ModelDomain {
  readonly max: number;
  readonly wordBits: number;
  readonly ports: ModelPort[];
  readonly pending: Set<number>;
  readonly mask: Set<number>;
  readonly vcpus: readonly ModelVcpu[];
  readonly pirqs: Map<number, ModelPirq>;
  parked: boolean;
  paused: boolean;
}

/** What a domain of the model is made of. */
export interface ModelOptions {
  readonly max: number;
  readonly wordBits: number;
  readonly vcpus: number;
}

const FREE: ModelPort = { state: 'free', vcpu: 0 };
const perVcpu = new Set([0, 1, 7, 13]);
const ARGO = 11;

/** Events as Xen's headers and event_channel.c tell them, with sets and maps. Domain 0 is privileged, and the hardware domain. */
export class EventModel {
  readonly domains = new Map<number, ModelDomain>();
  readonly rung: number[] = [];
  /** Owners of global interrupts other than the hardware domain. */
  readonly owners = new Map<number, number>();
  /** Lines that are up. */
  readonly up = new Set<number>();
  readonly #levels: ReadonlySet<number>;
  #due: (readonly [number, number])[] = [];

  /** @param levels the host's interrupts that are triggered by their level */
  constructor(levels: readonly number[]) {
    this.#levels = new Set(levels);
  }

  create(domid: number, { max, wordBits, vcpus }: ModelOptions): void {
    this.domains.set(domid, {
      max,
      wordBits,
      ports: Array.from({ length: 64 }, (_, i) => (i === 0 ? { state: 'reserved', vcpu: 0 } : FREE)),
      pending: new Set(),
      mask: new Set(),
      vcpus: Array.from({ length: vcpus }, () => ({ selected: new Set<number>(), upcall: false })),
      pirqs: new Map(),
      parked: false,
      paused: false,
    });
  }

  destroy(domid: number): void {
    const domain = this.domains.get(domid);
    if (domain === undefined) return;
    for (let port = 1; port < domain.ports.length; port++) this.#close(domid, port, false);
    this.domains.delete(domid);
    for (const [virq, owner] of this.owners) if (owner === domid) this.owners.delete(virq);
    this.#raiseDue();
    this.raiseGlobal(3);
  }

  allocUnbound(caller: number, dom: number, remote: number): number {
    const target = this.domains.get(dom);
    if (target === undefined || !this.domains.has(caller)) return -errno.ESRCH;
    const port = this.#free(target);
    if (port < 0) return port;
    if (caller !== dom && caller !== 0) return -errno.EPERM;
    target.ports[port] = { state: 'unbound', vcpu: 0, remote };
    return port;
  }

  bindInterdomain(caller: number, remote: number, remotePort: number): number {
    const own = this.domains.get(caller);
    const peer = this.domains.get(remote);
    if (own === undefined || peer === undefined) return -errno.ESRCH;
    const port = this.#free(own);
    if (port < 0) return port;
    const other = peer.ports[remotePort];
    if (other?.state !== 'unbound' || other.remote !== caller) return -errno.EINVAL;
    own.ports[port] = { state: 'interdomain', vcpu: 0, remote, remotePort };
    peer.ports[remotePort] = { ...other, state: 'interdomain', remote: caller, remotePort: port };
    this.#raise(caller, port);
    return port;
  }

  bindIpi(caller: number, vcpu: number): number {
    const own = this.domains.get(caller);
    if (own === undefined) return -errno.ESRCH;
    if (own.vcpus[vcpu] === undefined) return -errno.ENOENT;
    const port = this.#free(own);
    if (port > 0) own.ports[port] = { state: 'ipi', vcpu };
    return port;
  }

  bindVirq(caller: number, virq: number, vcpu: number): number {
    const own = this.domains.get(caller);
    if (own === undefined) return -errno.ESRCH;
    if (virq >= 24) return -errno.EINVAL;
    if (!perVcpu.has(virq) && vcpu !== 0) return -errno.EINVAL;
    if (own.vcpus[vcpu] === undefined) return -errno.ENOENT;
    if (!perVcpu.has(virq) && virq !== ARGO && this.owner(virq) !== caller) return -errno.EBUSY;
    if (this.#virqPort(own, virq, vcpu) > 0) return -errno.EEXIST;
    const port = this.#free(own);
    if (port > 0) own.ports[port] = { state: 'virq', vcpu, number: virq };
    return port;
  }

  owner(virq: number): number {
    return this.owners.get(virq) ?? 0;
  }

  setHandler(caller: number, domid: number, virq: number): number {
    if (!this.domains.has(domid)) return -errno.ESRCH;
    if (caller !== 0) return -errno.EPERM;
    if (virq >= 24 || perVcpu.has(virq) || virq === ARGO) return -errno.EINVAL;
    const owner = this.domains.get(this.owner(virq));
    if (this.owner(virq) === domid) return 0;
    if (owner !== undefined && this.#virqPort(owner, virq, 0) > 0) return -errno.EBUSY;
    this.owners.set(virq, domid);
    return 0;
  }

  raiseVirq(domid: number, vcpu: number, virq: number): void {
    const domain = this.domains.get(domid);
    const port = domain === undefined ? 0 : this.#virqPort(domain, virq, vcpu);
    if (port > 0) this.#raise(domid, port);
  }

  raiseGlobal(virq: number): void {
    this.raiseVirq(this.owner(virq), 0, virq);
  }

  mapPirq(caller: number, domid: number, index: number, pirq: number): number {
    const domain = this.domains.get(domid);
    if (domain === undefined) return -errno.ESRCH;
    if (caller !== 0) return -errno.EPERM;
    if (index >= 128) return -errno.EINVAL;
    const own = this.domains.get(caller)?.pirqs.get(index);
    const irq = own === undefined || own.forced || own.irq === 0 ? index : own.irq;
    if (irq === 0) return -errno.EPERM;
    const has = [...domain.pirqs].find(([, entry]) => entry.irq === irq);
    if (has !== undefined) {
      if (has[1].forced) return pirq < 0 ? -errno.EBUSY : -errno.EEXIST;
      return pirq < 0 || pirq === has[0] ? has[0] : -errno.EEXIST;
    }
    let number = pirq;
    if (pirq < 0) for (number = 16; domain.pirqs.has(number); number++);
    if (number >= 256) return -errno.EINVAL;
    if (domain.pirqs.has(number)) return -errno.EEXIST;
    domain.pirqs.set(number, { irq, forced: false, share: false, masked: false });
    return number;
  }

  unmapPirq(caller: number, domid: number, pirq: number): number {
    const domain = this.domains.get(domid);
    if (domain === undefined) return -errno.ESRCH;
    if (caller !== 0) return -errno.EPERM;
    const entry = domain.pirqs.get(pirq);
    if (entry === undefined || entry.forced) return -errno.EINVAL;
    if (this.#pirqPort(domain, pirq) > 0) {
      entry.forced = true;
      entry.masked = false;
    } else domain.pirqs.delete(pirq);
    this.#proceed(entry.irq);
    this.#raiseDue();
    return 0;
  }

  bindPirq(caller: number, pirq: number, share: boolean): number {
    const own = this.domains.get(caller);
    if (own === undefined) return -errno.ESRCH;
    if (pirq >= 256) return -errno.EINVAL;
    const entry = own.pirqs.get(pirq);
    const mapped = entry !== undefined && !entry.forced;
    if (!mapped) return -errno.EPERM;
    if (this.#pirqPort(own, pirq) > 0) return -errno.EEXIST;
    const port = this.#free(own);
    if (port < 0) return port;
    const guests = this.#guests(entry.irq);
    if (guests.length > 0 && !(share && guests.every(({ entry: other }) => other.share))) return -errno.EBUSY;
    own.ports[port] = { state: 'pirq', vcpu: 0, number: pirq };
    entry.share = share;
    this.#proceed(entry.irq);
    this.#raiseDue();
    return port;
  }

  eoi(caller: number, pirq: number): number {
    const own = this.domains.get(caller);
    if (own === undefined) return -errno.ESRCH;
    const entry = own.pirqs.get(pirq);
    if (entry === undefined) return -errno.EINVAL;
    if (entry.masked) {
      entry.masked = false;
      this.#proceed(entry.irq);
      this.#raiseDue();
    }
    return 0;
  }

  irqStatusQuery(caller: number, pirq: number): number {
    const own = this.domains.get(caller);
    if (own === undefined) return -errno.ESRCH;
    if (pirq >= 256) return -errno.EINVAL;
    const entry = own.pirqs.get(pirq);
    return entry !== undefined && !entry.forced && this.#guests(entry.irq).length > 1 ? 3 : 1;
  }

  setLine(irq: number, up: boolean): void {
    if (this.#levels.has(irq)) {
      if (up) this.up.add(irq);
      else this.up.delete(irq);
      this.#proceed(irq);
    } else if (up) this.#due = this.#guests(irq).map(({ domid, port }) => [domid, port]);
    this.#raiseDue();
  }

  close(caller: number, port: number): number {
    if (!this.domains.has(caller)) return -errno.ESRCH;
    const result = this.#close(caller, port, true);
    this.#raiseDue();
    return result;
  }

  reset(caller: number, domid: number): number {
    const domain = this.domains.get(domid);
    if (domain === undefined || !this.domains.has(caller)) return -errno.ESRCH;
    if (caller !== domid && caller !== 0) return -errno.EPERM;
    if (caller !== domid && !domain.paused) return -errno.EINVAL;
    for (let port = 1; port < domain.ports.length; port++) this.#close(domid, port, true);
    this.#raiseDue();
    return 0;
  }

  send(caller: number, port: number): number {
    const own = this.domains.get(caller);
    if (own === undefined) return -errno.ESRCH;
    const at = own.ports[port];
    if (at === undefined || at.xen) return -errno.EINVAL;
    if (at.state === 'unbound') return 0;
    if (at.state === 'ipi') this.#raise(caller, port);
    else if (at.state !== 'interdomain') return -errno.EINVAL;
    else {
      const remote = at.remote as number;
      const peer = this.domains.get(remote) as ModelDomain;
      if (peer.ports[at.remotePort as number]?.xen) this.#kick(remote, peer);
      else this.#raise(remote, at.remotePort as number);
    }
    return 0;
  }

  bindVcpu(caller: number, port: number, vcpu: number): number {
    const own = this.domains.get(caller);
    if (own === undefined) return -errno.ESRCH;
    if (own.vcpus[vcpu] === undefined) return -errno.ENOENT;
    const at = own.ports[port];
    const stays = at === undefined || at.xen || at.state === 'free' || at.state === 'reserved' || at.state === 'ipi';
    if (stays || (at.state === 'virq' && perVcpu.has(at.number as number))) return -errno.EINVAL;
    own.ports[port] = { ...at, vcpu };
    return 0;
  }

  unmask(caller: number, port: number): number {
    const own = this.domains.get(caller);
    if (own === undefined) return -errno.ESRCH;
    const at = own.ports[port];
    if (at === undefined) return -errno.EINVAL;
    if (at.xen || at.state === 'free' || at.state === 'reserved') return 0;
    if (own.mask.delete(port) && own.pending.has(port)) this.#select(caller, own, port);
    return 0;
  }

  setMask(caller: number, port: number): void {
    const own = this.domains.get(caller);
    if (own !== undefined && port < own.ports.length) own.mask.add(port);
  }

  xenAlloc(domid: number, vcpu: number, remote: number): number {
    const domain = this.domains.get(domid);
    if (domain === undefined) return -errno.ESRCH;
    if (domain.vcpus[vcpu] === undefined) return -errno.ENOENT;
    const port = this.#free(domain);
    if (port > 0) domain.ports[port] = { state: 'unbound', vcpu, remote, xen: true };
    return port;
  }

  xenNotify(domid: number, port: number): number {
    const domain = this.domains.get(domid);
    if (domain === undefined) return -errno.ESRCH;
    const at = domain.ports[port];
    if (!at?.xen) return -errno.EINVAL;
    if (at.state === 'interdomain') this.#raise(at.remote as number, at.remotePort as number);
    return 0;
  }

  xenFree(domid: number, port: number): number {
    const domain = this.domains.get(domid);
    if (domain === undefined) return -errno.ESRCH;
    return domain.ports[port]?.xen ? this.#close(domid, port, false) : -errno.EINVAL;
  }

  /** What a vCPU's guest finds: its own; what was selected here and has moved, it hands on. */
  scan(caller: number, vcpu: number): readonly number[] {
    const own = this.domains.get(caller);
    const at = own?.vcpus[vcpu];
    if (own === undefined || at === undefined) return [];
    const found = [...own.pending].filter((port) => !own.mask.has(port) && at.selected.has(this.#word(own, port)));
    at.upcall = false;
    at.selected.clear();
    const got = found.filter((port) => own.ports[port]?.vcpu === vcpu);
    for (const port of got) own.pending.delete(port);
    for (const port of found) if (!got.includes(port)) this.#select(caller, own, port);
    return got.sort((a, b) => a - b);
  }

  park(caller: number): void {
    const own = this.domains.get(caller);
    if (own !== undefined && !own.paused) own.parked = !own.vcpus.some(({ upcall }) => upcall);
  }

  #free(domain: ModelDomain): number {
    const port = domain.ports.findIndex(({ state }) => state === 'free');
    const lowest = port < 0 ? domain.ports.length : port;
    if (lowest > domain.max) return -errno.ENOSPC;
    if (port < 0) for (let i = 0; i < 64; i++) domain.ports.push(FREE);
    return lowest;
  }

  #close(domid: number, port: number, guest: boolean): number {
    const own = this.domains.get(domid) as ModelDomain;
    const at = own.ports[port];
    if (at === undefined || at.state === 'free' || at.state === 'reserved' || (at.xen && guest)) return -errno.EINVAL;
    if (at.state === 'interdomain') {
      const peer = this.domains.get(at.remote as number) as ModelDomain;
      const { vcpu, xen } = peer.ports[at.remotePort as number] as ModelPort;
      peer.ports[at.remotePort as number] = { state: 'unbound', vcpu, remote: domid, ...(xen && { xen }) };
    }
    own.ports[port] = FREE;
    own.pending.delete(port);
    const pirq = at.state === 'pirq' ? (at.number as number) : -1;
    const entry = own.pirqs.get(pirq);
    if (entry !== undefined) {
      entry.masked = false;
      entry.share = false;
      if (entry.forced) own.pirqs.delete(pirq);
      else this.#proceed(entry.irq);
    }
    return 0;
  }

  #virqPort(domain: ModelDomain, virq: number, vcpu: number): number {
    return domain.ports.findIndex(
      (port) => port.state === 'virq' && port.number === virq && (!perVcpu.has(virq) || port.vcpu === vcpu),
    );
  }

  #pirqPort(domain: ModelDomain, pirq: number): number {
    return domain.ports.findIndex((port) => port.state === 'pirq' && port.number === pirq);
  }

  /** The domains that have an interrupt bound, lowest first. */
  #guests(irq: number): readonly { readonly domid: number; readonly port: number; readonly entry: ModelPirq }[] {
    return [...this.domains.keys()]
      .sort((a, b) => a - b)
      .flatMap((domid) => {
        const domain = this.domains.get(domid) as ModelDomain;
        return [...domain.pirqs].flatMap(([pirq, entry]) => {
          const port = entry.irq === irq && !entry.forced ? this.#pirqPort(domain, pirq) : -1;
          return port > 0 ? [{ domid, port, entry }] : [];
        });
      });
  }

  #proceed(irq: number): void {
    const guests = this.#guests(irq);
    if (!this.#levels.has(irq) || !this.up.has(irq) || guests.some(({ entry }) => entry.masked)) return;
    for (const { domid, port, entry } of guests) {
      entry.masked = true;
      this.#due.push([domid, port]);
    }
  }

  #raiseDue(): void {
    const due = this.#due;
    this.#due = [];
    for (const [domid, port] of due) if (this.domains.has(domid)) this.#raise(domid, port);
  }

  #raise(domid: number, port: number): void {
    const domain = this.domains.get(domid) as ModelDomain;
    if (domain.pending.has(port)) return;
    domain.pending.add(port);
    if (!domain.mask.has(port)) this.#select(domid, domain, port);
  }

  #word(domain: ModelDomain, port: number): number {
    return Math.trunc(port / domain.wordBits);
  }

  #select(domid: number, domain: ModelDomain, port: number): void {
    const vcpu = domain.vcpus[domain.ports[port]?.vcpu ?? 0] as ModelVcpu;
    const word = this.#word(domain, port);
    if (vcpu.selected.has(word)) return;
    vcpu.selected.add(word);
    if (vcpu.upcall) return;
    vcpu.upcall = true;
    this.#kick(domid, domain);
  }

  #kick(domid: number, domain: ModelDomain): void {
    if (domain.parked) this.rung.push(domid);
    domain.parked = false;
  }
}
