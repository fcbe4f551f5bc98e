import {
  Disconnected,
  type Draft,
  type FrontGrants,
  type FrontLink,
  PAGE_SIZE,
  type Page,
  type SharedPage,
  type Slot,
  type View,
} from '../../core/index.js';
import { type Checksum, checksum, type Frame } from './frame.js';
import type { vif } from './protocol.js';
import {
  extraType,
  type GsoType,
  gsoType,
  netifRsp,
  type netifTxRequest,
  type netifTxResponse,
  txFlag,
} from './wire.js';

/** The ring of packets to send, at the frontend. */
export type NicTxRing = FrontLink<typeof vif>['queues'][number]['tx'];

/** Puts `size` bytes of a frame, from its byte `from` on, at `at` of a granted page's memory. */
export type WritePart = (memory: Uint8Array, at: number, from: number, size: number) => void;

/** What happened to packets that were sent. */
export interface NicTxStatistics {
  readonly sent: number;
  readonly sentBytes: number;
  /** Slots of data that they took, and how many of them were large packets, to be cut by others. */
  readonly slots: number;
  readonly large: number;
  /** Answered by another status than okay. */
  readonly refused: number;
}

/** Sends a guest's frames on one ring. Each slot has a granted page of its own, by the id of its request. */
export class NicTx implements Disposable, NicTxStatistics {
  // What is read for each frame is declared, not made here: see FrontRing.
  declare private readonly ring: NicTxRing;
  declare private readonly pages: SharedPage;
  declare private readonly bytes: Uint8Array;
  declare private readonly refs: SharedPage['refs'];
  declare sent: number;
  declare sentBytes: number;
  declare slots: number;
  declare large: number;
  declare refused: number;
  /** The frame that is being put on the ring. */
  declare private length: number;
  declare private done: number;
  declare private checksum: Checksum;
  declare private gsoType: GsoType;
  declare private gsoSize: number;
  declare private write: WritePart;
  /** What is put into a slot: one object, as the compiler does not always do without one for each. */
  declare private readonly request: { gref: SharedPage['ref']; readonly offset: 0; flags: number; size: number };
  /** Copies from the page that frames were sent from last, and where in it the frame begins. */
  #copier: { readonly page: Page; readonly copy: (from: number, to: number, length: number) => void } | undefined;
  declare private begin: number;
  readonly #grants: FrontGrants;
  /** Who waits for room. */
  readonly #waiting = new Set<(error: Error) => void>();
  #ended = false;

  constructor(ring: NicTxRing, grants: FrontGrants) {
    this.ring = ring;
    this.#grants = grants;
    // The backend only reads.
    this.pages = grants.share(ring.entries, { readonly: true });
    this.bytes = this.pages.bytes;
    this.refs = this.pages.refs;
    this.sent = this.sentBytes = this.slots = this.large = this.refused = 0;
    this.length = this.done = this.gsoSize = this.begin = 0;
    this.checksum = checksum.unknown;
    this.gsoType = gsoType.none;
    this.write = this.#copyPart;
    this.request = { gref: 0 as SharedPage['ref'], offset: 0, flags: 0, size: 0 };
  }

  /** Frames of one page that can be sent now. */
  get free(): number {
    return this.ring.free;
  }

  /**
   * Puts a frame of `length` bytes on the ring, for the backend to see after {@link push}; false when there is no room. `write` puts its
   * bytes where they go, part by part.
   */
  transmit(length: number, write: WritePart, sum: Checksum, type: GsoType, size: number): boolean {
    const extras = type === gsoType.none ? 0 : 1;
    this.length = length;
    this.done = 0;
    const slots = Math.ceil(length / PAGE_SIZE);
    this.checksum = sum;
    this.gsoType = type;
    this.gsoSize = size;
    this.write = write;
    if (!this.ring.chain(slots + extras, extras, this.#fill, this.#answered)) return false;
    this.sent++;
    this.sentBytes += length;
    this.slots += slots;
    this.large += extras;
    return true;
  }

  /**
   * As {@link transmit}, for a frame that lies in a page of this domain's own, one that was received among them: its bytes are copied from
   * page to page, which is several times as fast as from JavaScript's own memory.
   * @throws TypeError for a page that is none of the domain's, or has been disposed
   */
  transmitFrame({ page, offset, length, checksum: sum, gsoType: type, gsoSize: size }: Frame): boolean {
    if (this.#copier?.page !== page) this.#copier = { page, copy: this.#grants.copier(page, this.pages) };
    this.begin = offset;
    return this.transmit(length, this.#copyPart, sum, type, size);
  }

  push(): void {
    this.ring.push();
  }

  /** Slots of the ring. */
  get entries(): number {
    return this.ring.entries;
  }

  /** Resolves when there is room for a frame of `length` bytes. @throws Disconnected when the link ends first */
  room(length: number): Promise<void> {
    return this.slotsFree(Math.ceil(length / PAGE_SIZE) + 1);
  }

  /** Resolves when so many slots are free. @throws Disconnected when the link ends first; RangeError for more than there are */
  slotsFree(slots: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(ended());
        return;
      }
      this.#waiting.add(reject);
      this.ring.space(() => {
        this.#waiting.delete(reject);
        resolve();
      }, slots);
    });
  }

  /** Joins a group, or leaves it; resolves to whether the backend did as told. */
  group(mac: Uint8Array, join: boolean): Promise<boolean> {
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac;
    const type = join ? extraType.mcastAdd : extraType.mcastDel;
    return new Promise((resolve, reject) => {
      const sent = this.ring.chain(
        2,
        1,
        (slot, _id, i) => {
          if (i === 0) slot.set({ gref: 0 as SharedPage['ref'], offset: 0, flags: txFlag.extraInfo, size: 0 });
          else writeExtra(slot, type | (a << 16) | (b << 24), c | (d << 8), e | (f << 8));
        },
        ({ status }) => resolve(status === netifRsp.okay),
        reject,
      );
      if (sent) this.ring.push();
      else resolve(this.room(1).then(() => this.group(mac, join)));
    });
  }

  [Symbol.dispose](): void {
    this.#ended = true;
    this.pages[Symbol.dispose]();
    for (const reject of this.#waiting) reject(ended());
    this.#waiting.clear();
  }

  readonly #copyPart: WritePart = (_memory, at, from, size) => this.#copier?.copy(this.begin + from, at, size);

  readonly #fill = (slot: Slot<typeof netifTxRequest, 'id'>, id: number, i: number): void => {
    if (id < 0) {
      writeExtra(slot, extraType.gso | (this.gsoSize << 16), this.gsoType, 0);
      return;
    }
    const from = this.done;
    const size = Math.min(this.length - from, PAGE_SIZE);
    this.write(this.bytes, id * PAGE_SIZE, from, size);
    this.done = from + size;
    let flags: number = this.done < this.length ? txFlag.moreData : 0;
    if (i === 0) {
      if (this.checksum === checksum.blank) flags |= txFlag.csumBlank | txFlag.dataValidated;
      else if (this.checksum === checksum.validated) flags |= txFlag.dataValidated;
      if (this.gsoType !== gsoType.none) flags |= txFlag.extraInfo;
    }
    const { request } = this;
    request.gref = this.refs[id] as SharedPage['ref'];
    request.flags = flags;
    // The first slot names the whole packet's size.
    request.size = i === 0 ? this.length : size;
    slot.set(request);
  };

  readonly #answered = ({ status }: View<typeof netifTxResponse, 'id'>): void => {
    if (status !== netifRsp.okay) this.refused++;
  };
}

const ended = (): Disconnected => new Disconnected('the interface’s link has ended');

/** Writes a netif_extra_info, which lies over a netif_tx_request: its first word, then the two halves of its second. */
const writeExtra = (
  slot: Pick<Draft<typeof netifTxRequest, 'id'>, 'set'>,
  word: number,
  low: number,
  high: number,
): void => slot.set({ gref: word as SharedPage['ref'], offset: low, flags: high, size: 0 });
