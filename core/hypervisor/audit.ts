import type { Domid } from '../abi/units.js';
import type { Domains } from './domains.js';
import type { Doorbell } from './doorbell.js';
import type { EventChannelOps } from './event-channels.js';
import { type Frames, frameKind } from './frames.js';
import type { GrantMap } from './grant-map.js';
import type { GrantPins } from './grant-pins.js';
import { control, life, MAX_VCPUS, PAGE_WORDS, slotPage, VCPU_WORDS, vcpuWord } from './layout.js';
import type { Lock } from './lock.js';
import { flagsOf, granterOf, type Maptrack, mapping } from './maptrack.js';
import type { MachineMemory } from './memory.js';
import type { PirqTable } from './pirq-table.js';
import {
  interdomainPort,
  irqOf,
  type Ports,
  peerPortOf,
  peerSlotOf,
  pirqPort,
  plainPort,
  portState,
  stateOf,
  virqPort,
} from './ports.js';
import type { Teardown } from './teardown.js';
import type { VirqPorts } from './virq-ports.js';

/**
 * What follows the death of a domain's thread, at whatever store it died. Of each relation one side is the truth: the port that
 * both ends agree on, the maptrack entry, the frame's owner. Everything else is made to agree with it, and everybody is woken,
 * for the dead may have been about to wake them.
 */
export class Audit {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #lock: Lock;
  readonly #domains: Domains;
  readonly #frames: Frames;
  readonly #ports: Ports;
  readonly #events: EventChannelOps;
  readonly #doorbell: Doorbell;
  readonly #virqs: VirqPorts;
  readonly #pirqs: PirqTable;
  readonly #pins: GrantPins;
  readonly #maptrack: Maptrack;
  readonly #map: GrantMap;
  readonly #teardown: Teardown;

  constructor(parts: {
    readonly memory: MachineMemory;
    readonly lock: Lock;
    readonly domains: Domains;
    readonly frames: Frames;
    readonly ports: Ports;
    readonly events: EventChannelOps;
    readonly doorbell: Doorbell;
    readonly virqPorts: VirqPorts;
    readonly pirqs: PirqTable;
    readonly pins: GrantPins;
    readonly maptrack: Maptrack;
    readonly map: GrantMap;
    readonly teardown: Teardown;
  }) {
    this.#memory = parts.memory;
    this.#words = parts.memory.words;
    this.#lock = parts.lock;
    this.#domains = parts.domains;
    this.#frames = parts.frames;
    this.#ports = parts.ports;
    this.#events = parts.events;
    this.#doorbell = parts.doorbell;
    this.#virqs = parts.virqPorts;
    this.#pirqs = parts.pirqs;
    this.#pins = parts.pins;
    this.#maptrack = parts.maptrack;
    this.#map = parts.map;
    this.#teardown = parts.teardown;
  }

  /**
   * Takes the lock from a domain whose thread is gone, if it held it, and repairs what it left half done; destroying the domain
   * is the caller's next step, or is finished here where that came first. Returns what was mended, in words. To be called once no
   * thread of `dead` runs any more, and before another domain gets its domid. @throws StuckLock, before it changes anything
   */
  recover(caller: Domid, dead: Domid): readonly string[] {
    const mended: string[] = [];
    if (this.#lock.takeOver(dead, caller)) mended.push(`domain ${dead} held the lock`);
    this.#domains.threadEnded(dead);
    for (const slot of this.#domains.slots()) {
      if (this.#isUnborn(slot)) {
        mended.push(`domain ${this.#domains.domid(slot)} was not built to the end`);
        this.#domains.vacate(slot);
      }
    }
    this.#mendPorts(mended, dead);
    this.#mendGrants(mended);
    this.#mendFrames(mended);
    let ended = false;
    for (const slot of this.#domains.slots()) {
      const now = this.#domains.lifeIn(slot);
      if (now === life.dying) {
        ended = true;
        mended.push(`domain ${this.#domains.domid(slot)} was not destroyed to the end`);
        this.#teardown.tearDown(slot);
      } else if (now === life.zombie && !this.#domains.hasThread(slot)) {
        // What its thread's end, or a caller who died, has left to do.
        this.#teardown.tearDown(slot);
      }
    }
    const alive = this.#domains.slots().filter((slot) => this.#domains.lifeIn(slot) === life.alive);
    this.#lock.release();
    this.#events.raiseDue();
    if (ended) this.#teardown.announce();
    for (const slot of alive) {
      this.#events.selectAllPending(slot);
      this.#doorbell.kickAnyway(slot);
    }
    return mended;
  }

  #isUnborn(slot: number): boolean {
    const now = this.#domains.lifeIn(slot);
    return now === life.building || (now === life.alive && this.#memory.slotOf(this.#domains.domid(slot)) !== slot);
  }

  #mendPorts(mended: string[], dead: Domid): void {
    for (const slot of this.#domains.slots()) {
      const at = this.#memory.control(slot);
      this.#words[at + control.freePortHint] = 0;
      if (this.#words[at + control.resetBy] === dead + 1) {
        mended.push(`domain ${this.#domains.domid(slot)} was not reset to the end`);
        this.#words[at + control.resetBy] = 0;
      }
      this.#virqs.mend(slot, (port, virq) => this.#ports.get(slot, port) === virqPort(virq));
      this.#pirqs.mend(slot, (port, pirq) => this.#ports.get(slot, port) === pirqPort(pirq));
      for (let port = 1; port < this.#ports.valid(slot); port++) {
        const isFree = this.#ports.get(slot, port) === portState.free;
        if (isFree && this.#ports.vcpu(slot, port) !== 0) this.#ports.setVcpu(slot, port, 0);
        if (this.#isWhole(slot, port)) continue;
        mended.push(`port ${port} of domain ${this.#domains.domid(slot)} was bound on one side only`);
        this.#ports.free(slot, port);
      }
    }
    this.#pirqs.proceedAll();
  }

  /** Whether what a port is bound to is bound to the port. */
  #isWhole(slot: number, port: number): boolean {
    const word = this.#ports.get(slot, port);
    switch (stateOf(word)) {
      case portState.interdomain:
        return plainPort(this.#ports.get(peerSlotOf(word), peerPortOf(word))) === interdomainPort(slot, port);
      case portState.virq:
        return this.#virqs.isBound(slot, irqOf(word), port);
      case portState.pirq:
        return this.#pirqs.port(slot, irqOf(word)) === port;
      default:
        return true;
    }
  }

  #mendGrants(mended: string[]): void {
    const slots = this.#domains.slots();
    for (const slot of slots) this.#pins.reset(slot);
    this.#frames.resetMappings();
    for (const slot of slots) {
      for (let handle = 0; handle < this.#maptrack.count(slot); handle++) {
        const entry = this.#maptrack.find(slot, handle);
        if (entry === 0) continue;
        const word = this.#words[entry] as number;
        const pins = this.#map.pinsOf(flagsOf(word), flagsOf(word));
        this.#pins.count(granterOf(word), this.#words[entry + mapping.ref] as number, pins);
        this.#frames.hold(this.#words[entry + mapping.frame] as number);
      }
    }
    for (const slot of slots) {
      for (const ref of this.#pins.recount(slot)) {
        mended.push(`grant ${ref} of domain ${this.#domains.domid(slot)} was marked in use by nobody`);
      }
    }
  }

  #mendFrames(mended: string[]): void {
    const slots = new Map<Domid, { readonly slot: number; readonly tables: ReadonlySet<number>; pages: number }>();
    for (const slot of this.#domains.slots()) {
      slots.set(this.#domains.domid(slot), { slot, tables: this.#tablesOf(slot), pages: 0 });
    }
    this.#frames.each((frame, owner, kind) => {
      const of = slots.get(owner);
      const isTable = kind === frameKind.table || kind === frameKind.grant;
      const lost = of === undefined || (isTable && !of.tables.has(frame));
      if (lost || (kind === frameKind.released && this.#frames.mappings(frame) === 0)) {
        mended.push(`frame ${frame} of domain ${owner} was used for nothing`);
        this.#frames.free(frame);
      } else if (!isTable) of.pages++;
    });
    for (const [domid, { slot, pages }] of slots) {
      const counted = this.#memory.control(slot) + control.pages;
      if (this.#words[counted] === pages) continue;
      mended.push(`domain ${domid} has ${pages} pages and counted ${this.#words[counted]}`);
      this.#words[counted] = pages;
    }
  }

  #tablesOf(slot: number): ReadonlySet<number> {
    const at = this.#memory.control(slot);
    return new Set([
      ...this.#words.subarray(at + control.grantFrameList, at + PAGE_WORDS),
      ...this.#words.subarray(at + slotPage.maptrackFrameList, at + slotPage.maptrackFrameList + PAGE_WORDS),
      ...this.#contextsOf(at),
    ]);
  }

  /** Each vCPU's two frames of its virtual IDT and its context. */
  *#contextsOf(at: number): Iterable<number> {
    for (let vcpu = 0; vcpu < MAX_VCPUS; vcpu++) {
      const frame = this.#words[at + slotPage.vcpus + vcpu * VCPU_WORDS + vcpuWord.trapTable] as number;
      yield frame;
      yield frame + 1;
    }
  }
}
