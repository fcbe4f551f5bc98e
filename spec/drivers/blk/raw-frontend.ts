import { filter, firstValueFrom, switchMap } from 'rxjs';
import {
  type Abi,
  type Domain,
  type Domid,
  type EventChannel,
  EventChannels,
  FrontRing,
  type GrantRef,
  GrantTable,
  layoutOf,
  type SharedPage,
  XenStore,
} from '../../../core/index.js';
import type { Machine } from '../../../core/toolstack/index.js';
import { blk } from '../../../drivers/blk/protocol.js';
import { type VbdConfig, vbdKeys } from '../../../drivers/blk/vbd-keys.js';
import { vdevOf } from '../../../drivers/blk/vdev.js';
import { blkifRequest } from '../../../drivers/blk/wire.js';

/** A request as a spec writes it: anything goes. */
export interface RawRequest {
  readonly operation: number;
  /** In units of 512 bytes, up to 2^64 - 1. */
  readonly sector?: number | bigint;
  readonly segments?: readonly { readonly gref: number; readonly first?: number; readonly last?: number }[];
  /** Instead of the number of `segments`. */
  readonly nrSegments?: number;
}

export interface RawResponse {
  readonly id: number;
  readonly operation: number;
  readonly status: number;
}

export interface RawOptions extends Omit<VbdConfig, 'vdev'> {
  readonly vdev?: string;
  readonly backend: Domid;
  readonly abi?: Abi;
  /** What it writes as `feature-persistent`; without it nothing, as frontends did before there was that key. */
  readonly persistent?: string;
}

/** Words of a ring's page before its first slot (ring.h). */
export const SRING_WORDS = 16;

/** A frontend made by hand of a domain's own calls, which can say on its ring whatever it wants. */
export class RawFrontend {
  /** The device's directory in the guest, and in the backend. */
  readonly path: string;
  readonly otherendPath: string;
  readonly abi: Abi;
  readonly backend: Domid;
  readonly page: SharedPage;
  readonly #guest: Domain;
  readonly #machine: Machine;
  readonly #persistent: string | undefined;
  readonly #channel: EventChannel;
  readonly #ring: FrontRing<typeof blk.ring.request, typeof blk.ring.response, 'id'>;
  readonly #shared: SharedPage[] = [];
  #requests = 0;

  private constructor(machine: Machine, guest: Domain, options: RawOptions) {
    const { vdev = 'xvda', backend, abi = 'x86_64-abi', persistent } = options;
    const id = vdevOf(vdev);
    this.#machine = machine;
    this.#guest = guest;
    this.backend = backend;
    this.#persistent = persistent;
    this.abi = abi;
    this.path = `device/vbd/${id}`;
    this.otherendPath = `/local/domain/${backend}/backend/vbd/${guest.domid}/${id}`;
    this.page = guest.get(GrantTable).share(backend);
    this.#channel = guest.get(EventChannels).allocUnbound(backend);
    this.#ring = new FrontRing(this.page.words, blk.ring, { abi });
  }

  /** Attaches a disk to `guest`, and goes through the handshake by hand. */
  static async connect(machine: Machine, guest: Domain, options: RawOptions): Promise<RawFrontend> {
    const frontend = await RawFrontend.attach(machine, guest, options);
    await frontend.share();
    return frontend;
  }

  /** Attaches a disk to `guest`, and does not begin the handshake. */
  static async attach(machine: Machine, guest: Domain, options: RawOptions): Promise<RawFrontend> {
    const { vdev = 'xvda', backend } = options;
    await machine.toolstack.attach({
      device: 'vbd',
      id: vdevOf(vdev),
      frontend: guest.domid,
      backend,
      keys: vbdKeys({ ...options, vdev }),
    });
    return new RawFrontend(machine, guest, options);
  }

  /** Writes the frontend's keys, and waits until the backend is Connected. */
  async share(): Promise<void> {
    const { path, page, abi } = this;
    const persistent = this.#persistent;
    await this.backendIs('2');
    await this.store.transaction(async (store) => {
      await store.write(`${path}/ring-ref`, String(page.ref));
      await store.write(`${path}/event-channel`, String(this.#channel.port));
      await store.write(`${path}/protocol`, abi);
      if (persistent !== undefined) await store.write(`${path}/feature-persistent`, persistent);
      await store.write(`${path}/state`, '3');
    });
    await this.backendIs('4');
    await this.store.write(`${path}/state`, '4');
  }

  get store(): XenStore {
    return this.#guest.get(XenStore);
  }

  /** The offset of a member of a request, in bytes. */
  offset(member: string): number {
    const offset = layoutOf(blkifRequest, this.abi).offsets[member];
    if (offset === undefined) throw new Error(`a blkif_request has no ${member}`);
    return offset;
  }

  /** The first word of a slot on the ring's page. */
  slot(index: number): number {
    return SRING_WORDS + (index & 31) * (layoutOf(blkifRequest, this.abi).size / 4);
  }

  /** Resolves when the backend's state is this one. */
  async backendIs(state: string): Promise<void> {
    const node = `${this.otherendPath}/state`;
    await firstValueFrom(
      this.store.watch$(node).pipe(
        switchMap(() => this.store.read(node)),
        filter((found) => found === state),
      ),
    );
  }

  /** Pages granted to the backend, until the frontend is closed. */
  shareMore(pages = 1, options: { readonly readonly?: boolean; readonly to?: Domid } = {}): SharedPage {
    const page = this.#guest.get(GrantTable).share(options.to ?? this.backend, pages, options);
    this.#shared.push(page);
    return page;
  }

  /** Puts a request into the next slot; its id, by which it is answered. */
  submit({ operation, sector = 0, segments = [], nrSegments = segments.length }: RawRequest): number {
    const id = this.#requests++;
    const at = this.slot(this.#ring.nextRequest);
    const { rw } = this.#ring.draft(id);
    rw.set({ operation, nr_segments: nrSegments, handle: 0, sector_number: 0 as never });
    segments.slice(0, 11).forEach(({ gref, first = 0, last = 7 }, i) => {
      rw.seg.at(i).set({ gref: gref as GrantRef, first_sect: first, last_sect: last });
    });
    this.#ring.putDraft();
    const word = at + this.offset('rw.sector_number') / 4;
    this.page.words[word] = Number(BigInt.asIntN(32, BigInt(sector)));
    this.page.words[word + 1] = Number(BigInt.asIntN(32, BigInt(sector) >> 32n));
    return id;
  }

  /** Publishes what was submitted, whether the backend wants to be notified or not. */
  push(): void {
    this.#ring.push();
    this.#channel.notify();
  }

  /** Publishes `req_prod` as it never should be. */
  publish(reqProd: number): void {
    Atomics.store(this.page.words, 0, reqProd);
    this.#channel.notify();
  }

  /** The responses that there are, in their order. */
  responses(): readonly RawResponse[] {
    const found: RawResponse[] = [];
    for (let count = this.#ring.unconsumed(); count > 0; count--) {
      const rsp = this.#ring.take();
      found.push({ id: rsp.$lo, operation: rsp.operation, status: rsp.status });
    }
    this.#ring.finalCheck();
    return found;
  }

  /** Publishes requests as one batch; the statuses that they are answered with, in their order. */
  async statuses(...requests: readonly RawRequest[]): Promise<readonly number[]> {
    const ids = requests.map((request) => this.submit(request));
    this.push();
    await this.#machine.idle();
    const responses = new Map(this.responses().map((response) => [response.id, response]));
    return ids.map((id, i) => {
      const response = responses.get(id);
      if (response === undefined) throw new Error(`request ${i} was not answered`);
      if (response.operation !== requests[i]?.operation) throw new Error(`request ${i} was answered as another's`);
      return response.status;
    });
  }

  /** Closes from this end, and gives all back. */
  async close(): Promise<void> {
    await this.store.write(`${this.path}/state`, '6');
    await this.backendIs('6');
    this.release();
  }

  /** Gives all back at once. */
  release(): void {
    this.#channel[Symbol.dispose]();
    for (const page of this.#shared.splice(0)) page[Symbol.dispose]();
    this.page[Symbol.dispose]();
  }
}
