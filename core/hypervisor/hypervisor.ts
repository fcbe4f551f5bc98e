import type { Domid } from '../abi/units.js';
import { Audit } from './audit.js';
import { Domains } from './domains.js';
import { Doorbell, type Ring } from './doorbell.js';
import { EventChannelOps } from './event-channels.js';
import { EventDump } from './event-dump.js';
import { Frames } from './frames.js';
import { GrantCache } from './grant-cache.js';
import { GrantCopy } from './grant-copy.js';
import { GrantDump } from './grant-dump.js';
import { GrantEntries } from './grant-entries.js';
import { GrantMap } from './grant-map.js';
import { GrantPins } from './grant-pins.js';
import { GrantSwap } from './grant-swap.js';
import { GrantTableOps } from './grant-table-ops.js';
import { GrantVersion } from './grant-version.js';
import { type Ledger, LedgerBook } from './ledger.js';
import { Lock, type LockOptions } from './lock.js';
import { Maptrack } from './maptrack.js';
import { MachineMemory, type MachineSize } from './memory.js';
import { Pages } from './pages.js';
import { PirqTable } from './pirq-table.js';
import { Pirqs } from './pirqs.js';
import { Pollers } from './pollers.js';
import { Ports } from './ports.js';
import { Runstates } from './runstate.js';
import { Sched } from './sched.js';
import { SharedInfo } from './shared-info.js';
import { Teardown } from './teardown.js';
import { TimePages } from './time-pages.js';
import { hostTimeSource, type TimeSource } from './time-source.js';
import { Timers } from './timers.js';
import { Traps } from './traps.js';
import { Upcalls } from './upcalls.js';
import { VcpuOps } from './vcpu-ops.js';
import { Vcpus } from './vcpus.js';
import { VirqPorts } from './virq-ports.js';
import { Virqs } from './virqs.js';
import type { SharedMemory } from './web-assembly.js';
import { XenChannels } from './xen-channels.js';

/**
 * Asked in a thread that waits for the lock, every few milliseconds while it does not change hands: `owner` has it, the wait has
 * lasted `ms`. True says that no thread of `owner` runs any more; it is recovered on the spot, and the call that waited goes on.
 * It must be certain, and belongs in the one thread that creates and destroys domains: elsewhere `owner` could be another domain
 * of that number by the time of the answer. It makes no calls; it may end the owner's thread.
 */
export type OnStuck = (owner: Domid, ms: number) => boolean;

/**
 * Our Xen: tables in one shared memory, and the calls that change them. A call is run by the thread that makes it, for the domain
 * that it names as its first argument; it answers as Xen does, and delivers nothing itself. Any number of threads may each have
 * one of these over the same memory; a domain's calls are one thread's.
 *
 * Without the lock go send, mask, unmask and the scan, the doorbell, and what a domain does with its own grant entries, references
 * and pages. A thread may be terminated in any of them, or its domain destroyed while it runs, or its peer's. That is sound because
 * a slot, its tables and whatever its thread has views of stay as they are until the thread has ended (`ownThread` of
 * DomainOptions), and because into another's slot, whoever has it by now, they write hints alone: bits of PENDING, selector and
 * upcall, and the doorbell's two words. A hint too many wakes a domain that finds nothing to do; one that a dead thread was about
 * to give is given by {@link Hypervisor.recover}.
 */
export class Hypervisor {
  readonly memory: MachineMemory;
  readonly domains: Domains;
  readonly pages: Pages;
  readonly eventChannels: EventChannelOps;
  readonly upcalls: Upcalls;
  readonly traps: Traps;
  readonly doorbell: Doorbell;
  readonly vcpus: Vcpus;
  readonly virqs: Virqs;
  readonly pirqs: Pirqs;
  readonly xenChannels: XenChannels;
  readonly grantEntries: GrantEntries;
  readonly grantMap: GrantMap;
  readonly grantCopy: GrantCopy;
  /** The grant-table hypercall. */
  readonly grantTableOps: GrantTableOps;
  /** Debug key `g`. */
  readonly grantDump: GrantDump;
  readonly sharedInfo: SharedInfo;
  readonly frames: Frames;
  readonly time: TimeSource;
  readonly timePages: TimePages;
  readonly runstates: Runstates;
  readonly timers: Timers;
  readonly sched: Sched;
  readonly vcpuOps: VcpuOps;
  readonly eventDump: EventDump;
  readonly #teardown: Teardown;
  readonly #audit: Audit;
  readonly #ledger: LedgerBook;

  /**
   * Attaches to the machine in `memory`.
   * @param ring called for a parked domain that has got an event
   * @param onStuck how this thread finds out that it waits for a dead one; where it cannot, its call ends with StuckLock after
   *   3 seconds, and other threads' after 10
   * @param time where the machine has its time from, the same in all its threads; without it the host's, from now on
   */
  constructor(
    memory: SharedMemory | MachineMemory,
    ring: Ring = () => {},
    onStuck?: OnStuck,
    time: TimeSource = hostTimeSource(),
  ) {
    const machine = memory instanceof MachineMemory ? memory : new MachineMemory(memory);
    const lock = new Lock(machine, onStuck && { onStuck: this.#recoverIf(onStuck) });
    const frames = new Frames(machine);
    const sharedInfo = new SharedInfo(machine);
    const ports = new Ports(machine, frames, sharedInfo);
    const maptrack = new Maptrack(machine, frames);
    const vcpus = new Vcpus(machine);
    const pirqTable = new PirqTable(machine, frames);
    const virqPorts = new VirqPorts(machine, vcpus);
    const doorbell = new Doorbell(machine, sharedInfo, vcpus, ring);
    this.memory = machine;
    this.frames = frames;
    this.sharedInfo = sharedInfo;
    this.vcpus = vcpus;
    this.doorbell = doorbell;
    this.time = time;
    this.timePages = new TimePages(machine, sharedInfo, vcpus, frames, time);
    this.runstates = new Runstates(machine, vcpus, sharedInfo, frames, time);
    const pollers = new Pollers(machine, vcpus, doorbell);
    this.eventChannels = new EventChannelOps(
      machine,
      lock,
      ports,
      sharedInfo,
      vcpus,
      doorbell,
      virqPorts,
      pirqTable,
      pollers,
    );
    this.xenChannels = new XenChannels(machine, lock, ports, vcpus, this.eventChannels);
    this.upcalls = new Upcalls(machine, sharedInfo, vcpus, this.eventChannels);
    this.traps = new Traps(machine, lock, frames, sharedInfo, vcpus, doorbell);
    this.grantEntries = new GrantEntries(machine, lock, frames);
    const pins = new GrantPins(machine, this.grantEntries, frames);
    this.domains = new Domains(machine, lock, frames, ports, this.grantEntries, (slot) => {
      vcpus.init(slot);
      this.runstates.init(slot);
      this.timePages.init(slot);
    });
    this.virqs = new Virqs(machine, lock, ports, vcpus, virqPorts, this.domains, this.eventChannels);
    this.timers = new Timers(machine, vcpus, this.runstates, this.virqs, pollers, time);
    const parts = { memory: machine, lock, domains: this.domains, ports, frames, sharedInfo, vcpus, doorbell, pollers };
    this.sched = new Sched({ ...parts, timers: this.timers, virqs: this.virqs, time });
    const { runstates, timePages, sched } = this;
    this.vcpuOps = new VcpuOps({ ...parts, runstates, timePages, sched, time });
    this.pirqs = new Pirqs(machine, lock, frames, ports, pirqTable, this.domains, this.eventChannels);
    this.pages = new Pages(machine, lock, this.domains, frames);
    this.grantMap = new GrantMap(machine, lock, this.domains, frames, pins, maptrack);
    this.grantCopy = new GrantCopy(machine, lock, frames, pins);
    this.grantTableOps = new GrantTableOps({
      entries: this.grantEntries,
      map: this.grantMap,
      copy: this.grantCopy,
      swap: new GrantSwap(machine, lock, this.grantEntries, pins),
      cache: new GrantCache(machine, lock, frames, this.grantEntries, pins),
      version: new GrantVersion(machine, this.grantEntries),
    });
    this.grantDump = new GrantDump(machine, lock, this.domains, this.grantEntries, pins);
    this.#teardown = new Teardown(
      machine,
      lock,
      this.domains,
      ports,
      this.eventChannels,
      this.grantEntries,
      this.grantMap,
      maptrack,
      this.pages,
      this.virqs,
    );
    this.eventDump = new EventDump({
      memory: machine,
      domains: this.domains,
      ports,
      sharedInfo,
      pollers,
      pirqs: pirqTable,
    });
    this.#ledger = new LedgerBook(machine, this.domains, frames, ports, this.grantEntries, maptrack);
    this.#audit = new Audit({
      memory: machine,
      lock,
      domains: this.domains,
      frames,
      ports,
      events: this.eventChannels,
      doorbell,
      virqPorts,
      pirqs: pirqTable,
      pins,
      maptrack,
      map: this.grantMap,
      teardown: this.#teardown,
    });
  }

  /** Makes an empty machine. */
  static create(size: MachineSize = {}, ring?: Ring, onStuck?: OnStuck, time?: TimeSource): Hypervisor {
    return new Hypervisor(MachineMemory.create(size), ring, onStuck, time);
  }

  /** {@link Teardown.destroy} */
  destroyDomain(caller: Domid, domid: Domid): number {
    return this.#teardown.destroy(caller, domid);
  }

  /** {@link Audit.recover} */
  recover(caller: Domid, dead: Domid): readonly string[] {
    return this.#audit.recover(caller, dead);
  }

  /** {@link LedgerBook.of} */
  ledger(domid?: Domid): Ledger {
    return this.#ledger.of(domid);
  }

  #recoverIf(isGone: OnStuck): NonNullable<LockOptions['onStuck']> {
    return (owner, heir, ms) => {
      if (isGone(owner, ms)) this.#audit.recover(heir, owner);
    };
  }
}
