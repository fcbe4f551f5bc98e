/*
 * Grants as grant_table.h and the documents of Xen tell them, for comparison: plain data, and every number written out from the
 * headers. It shares nothing with the hypervisor, neither code nor tables; a frame is whatever number the real one gave a page.
 */

/** Bytes of a page. */
const PAGE = 4096;
/** Entries of version 1 in a frame. */
const ENTRIES = 512;
/** Mappings in a maptrack frame. */
const HANDLES = 256;
/** Mappings of a kind that one grant takes: each counter has 8 bits, and Xen refuses once the highest is set. */
const PER_KIND = 128;
const SELF = 0x7ff0;

type Kind = 'hostRead' | 'hostWrite' | 'deviceRead' | 'deviceWrite';

/** A page that a domain has, or has given up while others map it. */
export interface ModelPage {
  readonly owner: ModelDomain;
  released: boolean;
  /** Mappings of it. */
  holders: number;
  readonly bytes: Uint8Array;
}

/** A grant entry: what the granter wrote, the in-use bits, and who uses it how. */
export interface ModelEntry {
  flags: number;
  /** GTF_reading 8 and GTF_writing 16: Xen's to write, but a granter can. */
  bits: number;
  peer: number;
  frame: number;
  user: number;
  /** The frame that it had when its use began. */
  used: number;
  readonly uses: Record<Kind, number>;
}

/** A mapping, by its mapper's name for it. */
export interface ModelMapping {
  readonly granter: ModelDomain;
  readonly entry: ModelEntry;
  readonly frame: number;
  flags: number;
}

/** A domain that lives, or of which others still map pages. */
export interface ModelDomain {
  readonly id: number;
  readonly privileged: boolean;
  readonly maxFrames: number;
  readonly maxMaptrack: number;
  alive: boolean;
  frames: number;
  readonly entries: Map<number, ModelEntry>;
  readonly mappings: Map<string, ModelMapping>;
}

/** One end of a copy. */
export interface ModelEnd {
  readonly dom: number;
  readonly ref: boolean;
  readonly number: number;
  readonly offset: number;
}

const kinds = (flags: number): readonly Kind[] => {
  const readonly = (flags & 4) !== 0;
  const found: Kind[] = [];
  if ((flags & 2) !== 0) found.push(readonly ? 'hostRead' : 'hostWrite');
  if ((flags & 1) !== 0) found.push(readonly ? 'deviceRead' : 'deviceWrite');
  return found;
};

const isUsed = ({ uses }: ModelEntry): boolean => Object.values(uses).some((count) => count > 0);
const isWritten = ({ uses }: ModelEntry): boolean => uses.hostWrite > 0 || uses.deviceWrite > 0;

/** The machine. Calls answer a status or a negated errno as Xen does, and never name a domain that makes them in vain. */
export class GrantModel {
  readonly domains = new Map<number, ModelDomain>();
  readonly pages = new Map<number, ModelPage>();
  /** Frames that a page has ever had. */
  readonly seen: number[] = [0];
  /** Whether a granter has written in-use bits: then they say nothing of uses any more. */
  forged = false;

  create(id: number, privileged: boolean, maxFrames: number, maxMaptrack: number): void {
    const domain = { id, privileged, maxFrames, maxMaptrack, alive: true, frames: 1 };
    this.domains.set(id, { ...domain, entries: new Map(), mappings: new Map() });
  }

  isAlive(id: number): boolean {
    return this.domains.get(id)?.alive === true;
  }

  entry(domain: ModelDomain, ref: number): ModelEntry {
    let entry = domain.entries.get(ref);
    if (entry === undefined) {
      const uses = { hostRead: 0, hostWrite: 0, deviceRead: 0, deviceWrite: 0 };
      entry = { flags: 0, bits: 0, peer: 0, frame: 0, user: 0, used: 0, uses };
      domain.entries.set(ref, entry);
    }
    return entry;
  }

  populate(id: number, frame: number): void {
    this.pages.set(frame, { owner: this.#of(id), released: false, holders: 0, bytes: new Uint8Array(PAGE) });
    if (!this.seen.includes(frame)) this.seen.push(frame);
  }

  release(id: number, frame: number): number {
    if (!this.#has(this.#of(id), frame)) return -22;
    this.#giveUp(frame);
    return 0;
  }

  /** Ends everything of a domain; its pages that others map stay, and it with them. */
  destroy(id: number): void {
    const domain = this.#of(id);
    for (const name of [...domain.mappings.keys()]) this.#end(domain, name, 3);
    for (const entry of domain.entries.values()) Object.assign(entry, { flags: entry.flags & 4, peer: 0 });
    domain.alive = false;
    for (const [frame, page] of [...this.pages]) if (page.owner === domain && !page.released) this.#giveUp(frame);
    this.#bury(domain);
  }

  /** The guest's own end of an access: not while Xen says that it is used. */
  endAccess(id: number, ref: number): boolean {
    const entry = this.entry(this.#of(id), ref);
    if (entry.bits !== 0) return false;
    Object.assign(entry, { flags: 0, peer: 0 });
    return true;
  }

  map(caller: number, dom: number, ref: number, flags: number): ModelMapping | number {
    if ((flags & 3) === 0) return -3;
    if ((flags & 24) !== 0) return -1;
    const granter = this.domains.get(dom);
    if (granter === undefined) return -2;
    const mapper = this.#of(caller);
    if (mapper.mappings.size >= mapper.maxMaptrack * HANDLES) return -13;
    const entry = this.#pin(mapper, granter, ref, flags, false);
    if (typeof entry === 'number') return entry;
    (this.pages.get(entry.used) as ModelPage).holders++;
    return { granter, entry, frame: entry.used, flags: flags & 7 };
  }

  unmap(caller: number, name: string, host: number, device: number, replacement = 0): number {
    const mapper = this.#of(caller);
    const mapping = mapper.mappings.get(name);
    if (mapping === undefined) return -4;
    let halves = 0;
    if (device !== 0 && (mapping.flags & 1) !== 0) {
      if (device !== mapping.frame * PAGE) return -6;
      halves |= 1;
    }
    if (host !== 0 && (mapping.flags & 2) !== 0) {
      if (replacement !== 0 || host !== mapping.frame * PAGE) return -1;
      halves |= 2;
    }
    if (halves !== 0) this.#end(mapper, name, halves);
    return 0;
  }

  copy(caller: number, source: ModelEnd, dest: ModelEnd, length: number): number {
    if (length === 0) return 0;
    const self = this.#of(caller);
    const domains: ModelDomain[] = [];
    for (const { dom, ref } of [source, dest]) {
      if (!ref && dom !== SELF) return -8;
      const domain = dom === SELF ? self : this.domains.get(dom);
      if (domain === undefined) return -2;
      domains.push(domain);
    }
    const from = this.#claim(self, domains[0] as ModelDomain, source, false);
    if (typeof from === 'number') return from;
    const to = this.#claim(self, domains[1] as ModelDomain, dest, true);
    let status = 0;
    if (typeof to === 'number') status = to;
    else if (source.offset + length > PAGE || dest.offset + length > PAGE) status = -10;
    else to.page.bytes.set(from.page.bytes.slice(source.offset, source.offset + length), dest.offset);
    if (from.entry !== undefined) this.#unpin(from.entry, ['hostRead']);
    if (typeof to !== 'number' && to.entry !== undefined) this.#unpin(to.entry, ['hostWrite']);
    return status;
  }

  swap(caller: number, a: number, b: number): number {
    const domain = this.#of(caller);
    const count = domain.frames * ENTRIES;
    if (a >= count || b >= count) return -3;
    if (a === b) return 0;
    const [one, two] = [this.entry(domain, a), this.entry(domain, b)];
    if (isUsed(one) || isUsed(two)) return -12;
    const { flags, bits, peer, frame } = one;
    Object.assign(one, { flags: two.flags, bits: two.bits, peer: two.peer, frame: two.frame });
    Object.assign(two, { flags, bits, peer, frame });
    return 0;
  }

  setupTable(caller: number, dom: number, frames: number): number {
    const domain = this.#target(caller, dom);
    if (typeof domain === 'number') return domain;
    if (frames > domain.maxFrames) return -1;
    domain.frames = Math.max(domain.frames, frames);
    return 0;
  }

  querySize(caller: number, dom: number): { status: number; nrFrames?: number; maxNrFrames?: number } {
    const domain = this.#target(caller, dom);
    if (typeof domain === 'number') return { status: domain };
    return { status: 0, nrFrames: domain.frames, maxNrFrames: domain.maxFrames };
  }

  getVersion(caller: number, dom: number): number {
    const domain = this.#target(caller, dom);
    return typeof domain !== 'number' ? 1 : domain === -8 ? -1 : -3;
  }

  setVersion(version: number): number {
    return version === 1 ? 0 : version === 2 ? -38 : -22;
  }

  statusFrames(caller: number, dom: number, frames: number): number {
    const domain = this.#target(caller, dom);
    return typeof domain === 'number' ? domain : frames === 0 ? 0 : -1;
  }

  /** Of a frame that some page has had; one that nobody has may be Xen's by now, or nobody's: both answer alike. */
  cacheFlush(caller: number, frame: number, offset: number, length: number, op: number): number {
    if (offset >= PAGE || length > PAGE || offset + length > PAGE || op > 3) return -22;
    if (length === 0 || op === 0) return 0;
    const page = this.pages.get(frame);
    if (page === undefined) return -1;
    const maps = [...page.owner.entries.values()].some(
      (entry) => isUsed(entry) && entry.user === caller && entry.used === frame,
    );
    if (page.owner.id !== caller && !maps) return -22;
    return (op & 1) === 0 ? -95 : 0;
  }

  #of(id: number): ModelDomain {
    const domain = this.domains.get(id);
    if (domain === undefined) throw new Error(`the model has no domain ${id}`);
    return domain;
  }

  #has(domain: ModelDomain, frame: number): boolean {
    const page = this.pages.get(frame);
    return page?.owner === domain && !page.released;
  }

  #target(caller: number, dom: number): ModelDomain | number {
    const self = this.#of(caller);
    const domain = dom === SELF ? self : this.domains.get(dom);
    if (domain === undefined) return -2;
    return domain === self || self.privileged ? domain : -8;
  }

  #claim(
    self: ModelDomain,
    domain: ModelDomain,
    end: ModelEnd,
    write: boolean,
  ): { readonly page: ModelPage; readonly entry?: ModelEntry } | number {
    if (!end.ref) return this.#has(self, end.number) ? { page: this.pages.get(end.number) as ModelPage } : -9;
    const entry = this.#pin(self, domain, end.number, write ? 2 : 6, true);
    return typeof entry === 'number' ? entry : { page: this.pages.get(entry.used) as ModelPage, entry };
  }

  /** Counts a use of an entry, which is believed only when nobody uses it yet, or nobody writes and this one will. */
  #pin(user: ModelDomain, granter: ModelDomain, ref: number, flags: number, copy: boolean): ModelEntry | number {
    if (ref >= granter.frames * ENTRIES) return -3;
    const entry = this.entry(granter, ref);
    const first = !isUsed(entry);
    if (!first && (entry.user !== user.id || kinds(flags).some((kind) => entry.uses[kind] >= PER_KIND))) return -1;
    const writes = (flags & 4) === 0;
    if (first || (writes && !isWritten(entry))) {
      const type = entry.flags & (copy ? 3 : 3 | 256);
      if (first && (type !== 1 || entry.peer !== user.id)) return -1;
      if (writes && (entry.flags & 4) !== 0) return -1;
      entry.bits |= writes ? 24 : 8;
      if (first && !this.#has(granter, entry.frame)) {
        this.#unpin(entry, []);
        return -9;
      }
      if (!first && copy && entry.frame !== entry.used) {
        this.#unpin(entry, []);
        return -1;
      }
    } else if (copy && !granter.alive) return -2;
    if (first) Object.assign(entry, { user: user.id, used: entry.frame });
    for (const kind of kinds(flags)) entry.uses[kind]++;
    return entry;
  }

  /** What is over is counted down; the bits go with the last writer and the last user. */
  #unpin(entry: ModelEntry, over: readonly Kind[]): void {
    for (const kind of over) entry.uses[kind]--;
    if (!isWritten(entry)) entry.bits &= 8;
    if (!isUsed(entry)) entry.bits = 0;
  }

  #end(mapper: ModelDomain, name: string, halves: number): void {
    const mapping = mapper.mappings.get(name) as ModelMapping;
    this.#unpin(mapping.entry, kinds((mapping.flags & halves) | (mapping.flags & 4)));
    mapping.flags &= ~halves;
    if ((mapping.flags & 3) !== 0) return;
    mapper.mappings.delete(name);
    const page = this.pages.get(mapping.frame) as ModelPage;
    page.holders--;
    if (!page.released || page.holders > 0) return;
    this.pages.delete(mapping.frame);
    this.#bury(page.owner);
  }

  #giveUp(frame: number): void {
    const page = this.pages.get(frame) as ModelPage;
    if (page.holders > 0) page.released = true;
    else this.pages.delete(frame);
  }

  #bury(domain: ModelDomain): void {
    if (domain.alive || [...this.pages.values()].some(({ owner }) => owner === domain)) return;
    this.domains.delete(domain.id);
  }
}
