// A frontend of class vif made by hand of a domain's own calls, which can say on its rings whatever it wants.
import { filter, firstValueFrom, switchMap } from 'rxjs';
import {
  type Domain,
  type Domid,
  type EventChannel,
  EventChannels,
  GrantTable,
  type SharedPage,
  XenStore,
} from '../../../core/index.js';
import type { Machine } from '../../../core/toolstack/index.js';
import { readIfAllowed } from '../../../core/xenbus/state-nodes.js';
import { type VifConfig, vifKeys } from '../../../drivers/net/vif-keys.js';

/** A slot of the tx ring as a spec writes it. */
export interface TxSlot {
  readonly gref: number;
  readonly offset?: number;
  readonly flags?: number;
  readonly size: number;
}

/** An extra: its eight bytes. */
export type Extra = readonly number[];

/** A response on the tx ring, with the four bytes that lie behind it. */
export interface TxResponse {
  readonly id: number;
  readonly status: number;
  readonly rest: readonly number[];
}

/** A response on the rx ring, by its words too: an extra has other fields. */
export interface RxResponse {
  readonly id: number;
  readonly offset: number;
  readonly flags: number;
  readonly status: number;
  readonly words: readonly [number, number];
}

const SRING_WORDS = 16;
const ENTRIES = 256;

/** What a hand-made frontend says in the store. */
export interface RawVifOptions extends Partial<VifConfig> {
  readonly backend: Domid;
  /** More keys, or others; undefined to leave one out. */
  readonly said?: Readonly<Record<string, string | undefined>>;
}

const features = {
  'request-rx-copy': '1',
  'feature-rx-notify': '1',
  'feature-sg': '1',
  'feature-gso-tcpv4': '1',
  'feature-gso-tcpv6': '1',
  'feature-ipv6-csum-offload': '1',
};

export class RawVif {
  readonly path: string;
  readonly otherendPath: string;
  readonly tx: SharedPage;
  readonly rx: SharedPage;
  readonly channel: EventChannel;
  readonly #guest: Domain;
  readonly #machine: Machine;
  readonly #said: RawVifOptions['said'];
  readonly #backend: Domid;
  readonly #shared: SharedPage[] = [];
  /** Indices, as the frontend keeps them for itself. */
  txProd = 0;
  rxProd = 0;
  #txCons = 0;
  #rxCons = 0;

  private constructor(machine: Machine, guest: Domain, { backend, devid = 0, said }: RawVifOptions) {
    this.#machine = machine;
    this.#guest = guest;
    this.#backend = backend;
    this.#said = said;
    this.path = `device/vif/${devid}`;
    this.otherendPath = `/local/domain/${backend}/backend/vif/${guest.domid}/${devid}`;
    const grants = guest.get(GrantTable);
    this.tx = grants.share(backend);
    this.rx = grants.share(backend);
    for (const page of [this.tx, this.rx]) page.words[1] = page.words[3] = 1;
    this.channel = guest.get(EventChannels).allocUnbound(backend);
  }

  /** Attaches an interface to `guest`, and does not begin the handshake. */
  static async attach(machine: Machine, guest: Domain, options: RawVifOptions): Promise<RawVif> {
    const { devid = 0, mac = '00:16:3e:66:66:66' } = options;
    const keys = vifKeys({ ...options, mac });
    await machine.toolstack.attach({ device: 'vif', id: devid, frontend: guest.domid, backend: options.backend, keys });
    return new RawVif(machine, guest, options);
  }

  /** Attaches an interface to `guest`, and goes through the handshake by hand. */
  static async connect(machine: Machine, guest: Domain, options: RawVifOptions): Promise<RawVif> {
    const vif = await RawVif.attach(machine, guest, options);
    await vif.share();
    await vif.backendIs('4');
    return vif;
  }

  get store(): XenStore {
    return this.#guest.get(XenStore);
  }

  /** Writes the keys and goes right to Connected, as netfront does. */
  async share(): Promise<void> {
    await this.backendIs('2');
    const keys: Readonly<Record<string, string | undefined>> = {
      'tx-ring-ref': String(this.tx.ref),
      'rx-ring-ref': String(this.rx.ref),
      'event-channel': String(this.channel.port),
      ...features,
      ...this.#said,
    };
    await this.store.transaction(async (store) => {
      for (const [key, text] of Object.entries(keys))
        if (text !== undefined) await store.write(`${this.path}/${key}`, text);
      await store.write(`${this.path}/state`, '4');
    });
  }

  /** Waits until the backend is in one of some states. */
  async backendIs(...states: readonly string[]): Promise<string> {
    const state = await firstValueFrom(
      this.store.watch$(`${this.otherendPath}/state`).pipe(
        switchMap(() => readIfAllowed(this.store, `${this.otherendPath}/state`)),
        filter((text) => states.includes(text ?? '0')),
      ),
    );
    return state ?? '0';
  }

  /** Pages to send from, or to receive into. */
  share1(pages = 1): SharedPage {
    const page = this.#guest.get(GrantTable).share(this.#backend, pages);
    this.#shared.push(page);
    return page;
  }

  /** Puts a request on the tx ring; its id. */
  put({ gref, offset = 0, flags = 0, size }: TxSlot): number {
    const id = this.txProd & (ENTRIES - 1);
    const word = SRING_WORDS + id * 3;
    this.tx.words[word] = gref;
    this.tx.words[word + 1] = offset | (flags << 16);
    this.tx.words[word + 2] = id | (size << 16);
    this.txProd++;
    return id;
  }

  /** Puts an extra on the tx ring, with something left behind it. */
  putExtra(bytes: Extra): void {
    const at = (SRING_WORDS + (this.txProd & (ENTRIES - 1)) * 3) * 4;
    this.tx.bytes.fill(0xa5, at, at + 12);
    this.tx.bytes.set(bytes, at);
    this.txProd++;
  }

  /** Posts a buffer. */
  post(gref: number, id = this.rxProd & (ENTRIES - 1)): void {
    const word = SRING_WORDS + (this.rxProd & (ENTRIES - 1)) * 2;
    this.rx.words[word] = id;
    this.rx.words[word + 1] = gref;
    this.rxProd++;
  }

  /** Publishes what was put on both rings, and notifies. */
  push(tx = this.txProd, rx = this.rxProd): void {
    Atomics.store(this.tx.words, 0, tx);
    Atomics.store(this.rx.words, 0, rx);
    this.channel.notify();
  }

  /** Publishes, and resolves when the backend has done what it can. */
  async turn(): Promise<void> {
    this.push();
    await this.#machine.idle();
  }

  /** The responses on the tx ring that were not read yet. */
  answers(): readonly TxResponse[] {
    const found: TxResponse[] = [];
    for (const prod = Atomics.load(this.tx.words, 2); this.#txCons !== prod; this.#txCons++) {
      const word = SRING_WORDS + (this.#txCons & (ENTRIES - 1)) * 3;
      const first = this.tx.words[word] as number;
      found.push({ id: first & 0xffff, status: first >> 16, rest: [...this.tx.words.slice(word + 1, word + 3)] });
    }
    return found;
  }

  /** Their statuses alone. */
  statuses(): readonly number[] {
    return this.answers().map(({ status }) => status);
  }

  /** The responses on the rx ring that were not read yet. */
  arrivals(): readonly RxResponse[] {
    const found: RxResponse[] = [];
    for (const prod = Atomics.load(this.rx.words, 2); this.#rxCons !== prod; this.#rxCons++) {
      const word = SRING_WORDS + (this.#rxCons & (ENTRIES - 1)) * 2;
      const [first, second] = [this.rx.words[word] as number, this.rx.words[word + 1] as number];
      found.push({
        id: first & 0xffff,
        offset: first >>> 16,
        flags: second & 0xffff,
        status: second >> 16,
        words: [first, second],
      });
    }
    return found;
  }

  /** The backend's state now. */
  state(): Promise<string | undefined> {
    return readIfAllowed(this.store, `${this.otherendPath}/state`);
  }

  /** Why the backend closed. */
  async why(): Promise<string | undefined> {
    const backend = this.otherendPath.replace(/^\/local\/domain\/\d+\//, '');
    return this.#machine.dom0.get(XenStore).read(`/local/domain/${this.#backend}/error/${backend}/error`);
  }

  /** Closes, whatever state the backend is in, and gives back all that was shared. */
  async close(): Promise<void> {
    await this.store.write(`${this.path}/state`, '6');
    await this.backendIs('6');
    this.free();
  }

  free(): void {
    for (const page of [this.tx, this.rx, ...this.#shared.splice(0)]) page[Symbol.dispose]();
    this.channel[Symbol.dispose]();
  }
}
