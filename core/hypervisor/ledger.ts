import type { Domid } from '../abi/units.js';
import type { Domains } from './domains.js';
import { type Frames, frameKind } from './frames.js';
import { type GrantEntries, gtf, RESERVED_REFS } from './grant-entries.js';
import { slotPage } from './layout.js';
import type { Maptrack } from './maptrack.js';
import type { MachineMemory } from './memory.js';
import { type Ports, portState, stateOf } from './ports.js';

/** What domains hold, counted from the tables themselves. */
export interface Ledger {
  /** Ports that are not free; port 0 is not counted. */
  readonly ports: Readonly<Record<'unbound' | 'interdomain' | 'pirq' | 'virq' | 'ipi', number>>;
  /** References that the guest has given out, without the reserved ones. */
  readonly refs: number;
  /** Entries that grant access, reserved ones included. */
  readonly grants: number;
  /** Entries that someone maps. */
  readonly grantsInUse: number;
  /** Mappings of others' pages. */
  readonly mappings: number;
  /** Own pages. */
  readonly pages: number;
  /** Own pages, released or of a zombie, that others still map. */
  readonly heldPages: number;
}

type Counts = {
  -readonly [K in keyof Ledger]: Ledger[K] extends number ? number : Record<keyof Ledger['ports'], number>;
};

/** Counts what is in use, so that a test can assert that nothing is left. Exact while no other thread makes calls. */
export class LedgerBook {
  readonly #memory: MachineMemory;
  readonly #domains: Domains;
  readonly #frames: Frames;
  readonly #ports: Ports;
  readonly #entries: GrantEntries;
  readonly #maptrack: Maptrack;

  constructor(
    memory: MachineMemory,
    domains: Domains,
    frames: Frames,
    ports: Ports,
    entries: GrantEntries,
    maptrack: Maptrack,
  ) {
    this.#memory = memory;
    this.#domains = domains;
    this.#frames = frames;
    this.#ports = ports;
    this.#entries = entries;
    this.#maptrack = maptrack;
  }

  /** The ledger of one domain, or of all together. */
  of(domid?: Domid): Ledger {
    const counts: Counts = {
      ports: { unbound: 0, interdomain: 0, pirq: 0, virq: 0, ipi: 0 },
      refs: 0,
      grants: 0,
      grantsInUse: 0,
      mappings: 0,
      pages: 0,
      heldPages: 0,
    };
    for (const slot of this.#domains.slots()) {
      if (domid !== undefined && this.#domains.domid(slot) !== domid) continue;
      this.#countPorts(slot, counts);
      this.#countGrants(slot, counts);
    }
    this.#frames.each((_, owner, kind) => {
      if (domid !== undefined && owner !== domid) return;
      if (kind === frameKind.page) counts.pages++;
      if (kind === frameKind.released) counts.heldPages++;
    });
    return counts;
  }

  #countPorts(slot: number, counts: Counts): void {
    for (let port = 1; port < this.#ports.valid(slot); port++) {
      const state = stateOf(this.#ports.get(slot, port));
      if (state === portState.unbound) counts.ports.unbound++;
      else if (state === portState.interdomain) counts.ports.interdomain++;
      else if (state === portState.pirq) counts.ports.pirq++;
      else if (state === portState.virq) counts.ports.virq++;
      else if (state === portState.ipi) counts.ports.ipi++;
    }
  }

  #countGrants(slot: number, counts: Counts): void {
    const words = this.#memory.words;
    const map = this.#memory.control(slot) + slotPage.refMap;
    for (let ref = 0; ref < this.#entries.count(slot); ref++) {
      const entry = words[this.#entries.entry(slot, ref)] as number;
      if ((entry & gtf.typeMask) !== 0) counts.grants++;
      if ((entry & (gtf.reading | gtf.writing)) !== 0) counts.grantsInUse++;
      if (ref >= RESERVED_REFS && ((words[map + (ref >>> 5)] as number) & (1 << (ref & 31))) !== 0) counts.refs++;
    }
    for (let handle = 0; handle < this.#maptrack.count(slot); handle++) {
      if (this.#maptrack.find(slot, handle) !== 0) counts.mappings++;
    }
  }
}
