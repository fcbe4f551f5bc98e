import { DOMID_FIRST_RESERVED, type Domid, PAGE_SIZE } from '../abi/units.js';
import { type CopyCode, copyCode, copyModule } from './copy.js';
import { control, header, life, MAGIC, MAX_SLOTS, PAGE_WORDS, SLOT_PAGES } from './layout.js';
import { Memory, type SharedMemory } from './web-assembly.js';

/** How large a machine is. */
export interface MachineSize {
  /** Bytes of memory of all domains and of our Xen's own tables; a multiple of 64 KiB. Default 256 MiB, taken as it is touched. */
  readonly bytes?: number;
  /** Domains that can exist at once, 1 … 256. Default 64. */
  readonly domains?: number;
}

/** Whether a number can name a domain: a domid indexes a table, and the compiler lets any number pass for one. */
export const namesDomain = (domid: number): boolean => domid >>> 0 === domid && domid < DOMID_FIRST_RESERVED;

/** What a thread needs to reach the machine's memory; made once per thread. */
export class MachineMemory {
  /** The memory as words: what all of our Xen's tables are written through. */
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  readonly code: CopyCode;
  /** The code, compiled. */
  readonly copyModule: object;
  /** Number of frames, this layout's own included. */
  readonly frames: number;
  readonly slots: number;
  /** The first word of the table from domid to slot + 1; DOMID_SELF and above stay 0. */
  readonly domids: number = PAGE_WORDS;
  /** The first word of the frame table. */
  readonly frameTable: number;
  /** The first word of slot 0. */
  readonly firstSlot: number;
  /** The first frame that can be allocated. */
  readonly firstFrame: number;

  /**
   * @param module {@link MachineMemory.copyModule} of a machine over the same memory, which spares this thread to compile it
   * @throws TypeError when the memory is not shared or holds no machine
   */
  constructor(
    readonly memory: SharedMemory,
    module?: object,
  ) {
    if (!(memory.buffer instanceof SharedArrayBuffer))
      throw new TypeError('a machine needs a shared WebAssembly.Memory');
    this.words = new Int32Array(memory.buffer);
    this.bytes = new Uint8Array(memory.buffer);
    if (this.words[header.magic] !== MAGIC)
      throw new TypeError('this memory holds no machine: make one with MachineMemory.create');
    this.copyModule = module ?? copyModule(memory.buffer.byteLength);
    this.code = copyCode(this.copyModule, memory);
    this.frames = this.words[header.frames] as number;
    this.slots = this.words[header.slots] as number;
    this.frameTable = this.domids + 32 * PAGE_WORDS;
    this.firstSlot = this.frameTable + Math.ceil((this.frames * 2) / PAGE_WORDS) * PAGE_WORDS;
    this.firstFrame = this.firstSlot / PAGE_WORDS + this.slots * SLOT_PAGES;
  }

  /** Reserves the memory of a machine and lays an empty one out. @throws RangeError on a size that cannot be */
  static create({ bytes = 256 * 2 ** 20, domains = 64 }: MachineSize = {}): MachineMemory {
    const pages = bytes / 65536;
    if (!Number.isInteger(pages) || pages < 16 || pages > 65535) {
      throw new RangeError(
        `a machine's memory must be a multiple of 64 KiB from 1 MiB to less than 4 GiB, not ${bytes}`,
      );
    }
    if (!Number.isInteger(domains) || domains < 1 || domains > MAX_SLOTS) {
      throw new RangeError(`a machine holds 1 to ${MAX_SLOTS} domains, not ${domains}`);
    }
    const memory = new Memory({ initial: pages, maximum: pages, shared: true });
    const words = new Int32Array(memory.buffer);
    words[header.frames] = bytes / PAGE_SIZE;
    words[header.slots] = domains;
    words[header.magic] = MAGIC;
    const machine = new MachineMemory(memory);
    if (machine.firstFrame >= machine.frames) throw new RangeError(`${bytes} bytes are too few for ${domains} domains`);
    return machine;
  }

  /** The slot of a domain that exists, dying ones included, or -1; also for a number that names no domain, NaN and 0.5 included. */
  slotOf(domid: number): number {
    return namesDomain(domid) ? (this.words[this.domids + domid] as number) - 1 : -1;
  }

  /** The slot of a domain that can make calls, or -1: one that was destroyed makes none, even while it is a zombie. */
  callerOf(domid: number): number {
    const slot = this.slotOf(domid);
    return slot >= 0 && this.words[this.control(slot) + control.life] === life.alive ? slot : -1;
  }

  /** The first word of a slot's control page. */
  control(slot: number): number {
    return this.firstSlot + slot * (SLOT_PAGES * PAGE_WORDS);
  }

  /** The domid in a slot. */
  domidIn(slot: number): Domid {
    return this.words[this.control(slot) + control.domid] as Domid;
  }

  /** Writes zeros over whole frames. */
  zero(frame: number, frames: number): void {
    this.code.fill(frame * PAGE_SIZE, 0, frames * PAGE_SIZE);
  }
}
