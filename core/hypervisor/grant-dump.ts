import type { Domid } from '../abi/units.js';
import { DOMID_XEN, type Domains } from './domains.js';
import type { GrantEntries } from './grant-entries.js';
import type { GrantPins } from './grant-pins.js';
import { GRANT_VERSION } from './grant-version.js';
import { control } from './layout.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';

/** A domain's name, for people; undefined where it has none. */
export type NameOf = (domid: Domid) => string | undefined;

/** An entry that somebody uses: Xen's record of it, and what the granter has written. */
interface Use {
  readonly ref: number;
  readonly localdom: Domid;
  readonly mfn: number;
  readonly pin: number;
  readonly domid: Domid;
  readonly gmfn: number;
  readonly flags: number;
}

/** References that are looked at before others get the lock. */
const REFS_A_STEP = 2048;

const hex = (value: number, digits: number): string => `0x${(value >>> 0).toString(16).padStart(digits, '0')}`;
const dec = (value: number): string => String(value).padStart(5);

/**
 * Debug key `g` of Xen's console: each domain's grant table, with every entry that somebody maps (grant_table.c
 * `gnttab_usage_print_all`), and behind it the names of its owner and of who uses it.
 */
export class GrantDump {
  readonly #memory: MachineMemory;
  readonly #lock: Lock;
  readonly #domains: Domains;
  readonly #entries: GrantEntries;
  readonly #pins: GrantPins;

  constructor(memory: MachineMemory, lock: Lock, domains: Domains, entries: GrantEntries, pins: GrantPins) {
    this.#memory = memory;
    this.#lock = lock;
    this.#domains = domains;
    this.#entries = entries;
    this.#pins = pins;
  }

  /**
   * What Xen prints, line by line, domains in the order of their numbers, zombies too. Columns of an entry are the reference; who uses
   * it, through which frame, and how often, as four counters (GNTPIN_*); whom the entry names, its frame and its flags.
   * @throws StuckLock where the lock is held for good: it is taken for some entries at a time
   * @param nameOf domains' names; the owner's stands behind each entry, an arrow, and its user's. Without a name it is `d1`
   */
  text(nameOf: NameOf = () => undefined): string {
    const lines = ["gnttab_usage_print_all [ key 'g' pressed"];
    const domids = this.#domains.slots().map((slot) => this.#domains.domid(slot));
    for (const domid of domids.sort((a, b) => a - b)) this.#print(domid, nameOf, lines);
    lines.push('gnttab_usage_print_all ] done');
    return `${lines.join('\n')}\n`;
  }

  #print(domid: Domid, nameOf: NameOf, lines: string[]): void {
    const { slot, sizes, uses } = this.#collect(domid);
    // It has gone since its number was taken down.
    if (slot < 0) return;
    const name = (of: Domid): string => nameOf(of) ?? `d${of}`;
    lines.push(
      '      -------- active --------       -------- shared --------',
      '[ref] localdom mfn      pin          localdom gmfn     flags',
      `grant-table for remote d${domid} (v${GRANT_VERSION})`,
      `  ${sizes[0]} frames (${sizes[1]} max), ${sizes[2]} maptrack frames (${sizes[3]} max)`,
      ...uses.map(
        (use) =>
          `[${hex(use.ref, 3)}]  ${dec(use.localdom)} ${hex(use.mfn, 5)} ${hex(use.pin, 8)}      ` +
          `${dec(use.domid)} ${hex(use.gmfn, 6)} ${hex(use.flags, 2)}  ${name(domid)} -> ${name(use.localdom)}`,
      ),
    );
    if (uses.length === 0) lines.push('no active grant table entries');
  }

  /** What is printed of a domain: its slot, or -1; frames now and at most, of grants and of mappings; entries in use. */
  #collect(domid: Domid): { readonly slot: number; readonly sizes: readonly number[]; readonly uses: readonly Use[] } {
    const { words } = this.#memory;
    const uses: Use[] = [];
    for (let from = 0; ; from += REFS_A_STEP) {
      this.#lock.acquire(DOMID_XEN);
      const slot = this.#memory.slotOf(domid);
      const at = this.#memory.control(slot);
      const count = slot < 0 ? 0 : this.#entries.count(slot);
      for (let ref = from; ref < Math.min(count, from + REFS_A_STEP); ref++) {
        const use = this.#pins.useOf(slot, ref);
        if (use === undefined) continue;
        const entry = this.#entries.entry(slot, ref);
        const word = words[entry] as number;
        uses.push({
          ref,
          localdom: use.domid,
          mfn: use.frame,
          pin: use.pin,
          domid: (word >>> 16) as Domid,
          gmfn: words[entry + 1] as number,
          flags: word & 0xffff,
        });
      }
      const sizes = [control.grantFrames, control.maxGrantFrames, control.maptrackFrames, control.maxMaptrackFrames];
      const values = slot < 0 ? [] : sizes.map((field) => words[at + field] as number);
      this.#lock.release();
      if (from + REFS_A_STEP >= count) return { slot, sizes: values, uses };
    }
  }
}
