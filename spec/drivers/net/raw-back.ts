// A backend of class vif made by hand of a domain's own calls, which can say on the frontend's rings whatever it wants.
import { filter, firstValueFrom, switchMap } from 'rxjs';
import {
  asPort,
  connection,
  type Domain,
  type EventChannel,
  EventChannels,
  type GrantRef,
  GrantTable,
  type Page,
  XenStore,
} from '../../../core/index.js';
import type { Machine } from '../../../core/toolstack/index.js';
import { readIfAllowed } from '../../../core/xenbus/state-nodes.js';
import { NetFrontend } from '../../../drivers/net/frontend.js';
import type { Nic } from '../../../drivers/net/nic.js';
import { vifKeys } from '../../../drivers/net/vif-keys.js';

const SRING_WORDS = 16;
const ENTRIES = 256;
const mac = '00:16:3e:00:00:01';

/** Four 16-bit numbers of a response on the rx ring: id, offset, flags, status. */
export type RxNumbers = readonly [id: number, offset: number, flags: number, status: number];

const offered = {
  'feature-rx-copy': '1',
  'feature-sg': '1',
  'feature-gso-tcpv4': '1',
  'feature-gso-tcpv6': '1',
  'feature-ipv6-csum-offload': '1',
};

export class RawBack {
  readonly path: string;
  readonly otherendPath: string;
  readonly #machine: Machine;
  readonly domain: Domain;
  readonly #guest: Domain;
  #tx: Page | undefined;
  #rx: Page | undefined;
  #channel: EventChannel | undefined;
  readonly #answered = new Map<number, GrantRef>();
  #txRsp = 0;
  #rxRsp = 0;

  private constructor(machine: Machine, domain: Domain, guest: Domain) {
    this.#machine = machine;
    this.domain = domain;
    this.#guest = guest;
    this.path = `backend/vif/${guest.domid}/0`;
    this.otherendPath = `/local/domain/${guest.domid}/device/vif/0`;
  }

  /** Attaches an interface, offers it, and does no more; what the frontend makes of it. */
  static async offer(
    machine: Machine,
    guest: Domain,
    keys: Readonly<Record<string, string>> = {},
    name = 'netback',
  ): Promise<{ readonly back: RawBack; readonly nic: Promise<Nic> }> {
    const domain = await machine.guest(name);
    const back = new RawBack(machine, domain, guest);
    await machine.toolstack.attach({
      device: 'vif',
      id: 0,
      frontend: guest.domid,
      backend: domain.domid,
      keys: vifKeys({ mac }),
    });
    const nic = connection(guest, NetFrontend);
    nic.catch(() => {});
    await back.becomes('2', { ...offered, ...keys });
    return { back, nic };
  }

  /** Attaches an interface, and goes through the handshake by hand; also what the frontend made of it. */
  static async connect(
    machine: Machine,
    guest: Domain,
    keys: Readonly<Record<string, string>> = {},
    name = 'netback',
  ): Promise<{ readonly back: RawBack; readonly nic: Nic }> {
    const { back, nic } = await RawBack.offer(machine, guest, keys, name);
    await back.frontendIs('4');
    await back.map();
    await back.becomes('4');
    const found = await nic;
    await machine.idle();
    return { back, nic: found };
  }

  get store(): XenStore {
    return this.domain.get(XenStore);
  }

  get tx(): Page {
    if (this.#tx === undefined) throw new Error('the tx ring is not mapped');
    return this.#tx;
  }

  get rx(): Page {
    if (this.#rx === undefined) throw new Error('the rx ring is not mapped');
    return this.#rx;
  }

  async becomes(state: string, keys: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.store.transaction(async (store) => {
      for (const [key, text] of Object.entries(keys)) await store.write(`${this.path}/${key}`, text);
      await store.write(`${this.path}/state`, state);
    });
  }

  async frontendIs(...states: readonly string[]): Promise<void> {
    await firstValueFrom(
      this.store.watch$(`${this.otherendPath}/state`).pipe(
        switchMap(() => readIfAllowed(this.store, `${this.otherendPath}/state`)),
        filter((text) => states.includes(text ?? '0')),
      ),
    );
  }

  async key(name: string): Promise<number> {
    return Number(await this.store.read(`${this.otherendPath}/${name}`));
  }

  async map(): Promise<void> {
    const grants = this.domain.get(GrantTable);
    const map = (ref: number): Page => grants.map(this.#guest.domid, [ref as GrantRef]);
    this.#tx = map(await this.key('tx-ring-ref'));
    this.#rx = map(await this.key('rx-ring-ref'));
    const port = asPort(await this.key('event-channel'));
    this.#channel = this.domain.get(EventChannels).bindInterdomain(this.#guest.domid, port);
  }

  unmap(): void {
    this.#tx?.[Symbol.dispose]();
    this.#rx?.[Symbol.dispose]();
    this.#channel?.[Symbol.dispose]();
    this.#tx = this.#rx = this.#channel = undefined;
  }

  /** The reference of the buffer that is, or was last, posted in a slot. */
  buffer(slot: number): GrantRef {
    const i = slot & (ENTRIES - 1);
    return this.#answered.get(i) ?? (this.rx.words[SRING_WORDS + (slot & (ENTRIES - 1)) * 2 + 1] as GrantRef);
  }

  /** Buffers that were posted since the ring began. */
  get posted(): number {
    return Atomics.load(this.rx.words, 0);
  }

  /** Writes bytes into the buffer posted in a slot. */
  fill(slot: number, bytes: Uint8Array, offset = 0): void {
    const grants = this.domain.get(GrantTable);
    const page = grants.alloc();
    page.bytes.set(bytes);
    const segment = { ref: this.buffer(slot), offset, page, pageOffset: 0, length: bytes.length };
    grants.copyTo(this.#guest.domid, [segment]);
    page[Symbol.dispose]();
  }

  /** Puts a response on the rx ring; the slot that it went to. */
  put([id, offset, flags, status]: RxNumbers): number {
    const slot = this.#rxRsp++ & (ENTRIES - 1);
    const word = SRING_WORDS + slot * 2;
    // The response lies where the request did.
    this.#answered.set(slot, this.rx.words[word + 1] as GrantRef);
    this.rx.words[word] = (id & 0xffff) | (offset << 16);
    this.rx.words[word + 1] = (flags & 0xffff) | (status << 16);
    return slot;
  }

  /** Puts a response on the tx ring. */
  putTx(id: number, status: number): void {
    this.tx.words[SRING_WORDS + (this.#txRsp++ & (ENTRIES - 1)) * 3] = (id & 0xffff) | (status << 16);
  }

  /** A request of the tx ring. */
  request(slot: number): { readonly gref: number; readonly flags: number; readonly id: number; readonly size: number } {
    const word = SRING_WORDS + (slot & (ENTRIES - 1)) * 3;
    const [gref = 0, second = 0, third = 0] = this.tx.words.slice(word, word + 3);
    return { gref, flags: second >>> 16, id: third & 0xffff, size: third >>> 16 };
  }

  /** Publishes what was put on both rings, notifies, and resolves when the frontend has done what it can. */
  async turn(rx = this.#rxRsp, tx = this.#txRsp): Promise<void> {
    Atomics.store(this.rx.words, 2, rx);
    Atomics.store(this.tx.words, 2, tx);
    this.notify();
    await this.#machine.idle();
    this.#answered.clear();
  }

  notify(): void {
    this.#channel?.notify();
  }

  /** Goes along with a frontend that closes. */
  async closes(): Promise<void> {
    await this.frontendIs('5', '6');
    await this.becomes('5');
    await this.frontendIs('6');
    this.unmap();
    await this.becomes('6');
  }
}
