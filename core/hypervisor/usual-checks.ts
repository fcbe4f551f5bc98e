import { PAGE_SIZE } from '../abi/units.js';
import { type Bytes, wasm } from './assembler.js';
import { frameKind } from './frames.js';
import { gtf } from './grant-entries.js';
import { active } from './grant-pins.js';
import { ACTIVE_PER_FRAME, control, GRANTS_PER_FRAME, header, PAIRS_SHIFT, QUADS_SHIFT } from './layout.js';
import type { MachineMemory } from './memory.js';

const PAGE_SHIFT = 12;

/** What the code of a usual copy is put together from; each piece is named by the locals that it works on. */
export interface GrantChecks {
  /** Pushes whether the machine has one thread. */
  readonly isAlone: Bytes;
  /** Leaves the block around it if the top of the stack is not 0. */
  readonly elseLeave: Bytes;
  /** Leaves unless so many bytes, at most a page's, lie in a page from `offset` on. */
  readonly inPage: (offset: number, length: number) => Bytes;
  /** Leaves unless a frame is a page of the domain that `domid` pushes. */
  readonly pageOf: (frame: number, ...domid: readonly Bytes[]) => Bytes;
  /**
   * Leaves unless entry `ref` of the table whose control page begins at byte `table` grants to the caller, and nobody uses it; sets `entry` to
   * its address and `seen` to its first word. `forbidden` pushes flags that it must not have.
   */
  readonly entryOf: (table: number, ref: number, entry: number, seen: number, forbidden: Bytes) => Bytes;
  /** Sets `granted` to the frame of an entry, and leaves unless it is a page of the granter's. */
  readonly frameOf: (table: number, entry: number, granted: number) => Bytes;
  /** Sets `to` to the address of a byte of a frame. */
  readonly addressOf: (frame: number, offset: number, to: number) => Bytes;
  /** Takes the in-use bits off an entry, if it was `marked`. */
  readonly unmark: (marked: number, entry: number) => Bytes;
}

/** The pieces for one machine; `caller` is the local that holds the caller's domid. */
export const grantChecks = (machine: MachineMemory, caller: number): GrantChecks => {
  const { frames } = machine;
  const frameTable = machine.frameTable * 4;
  const { localGet, localSet, localTee, i32Const, i32Load, i32AtomicLoad, i32AtomicRmwAnd } = wasm;
  const { eqz, ne, gtU, geU, add, sub, and, or, shl, shrU, drop, brIf, ifElse } = wasm;
  const word = (index: number): Bytes => i32Load(index * 4);
  const elseLeave = brIf(0);
  const pageOf: GrantChecks['pageOf'] = (frame, ...domid) => [
    ...[localGet(frame), i32Const(frames), geU, elseLeave].flat(),
    ...[localGet(frame), i32Const(3), shl, i32Load(frameTable)].flat(),
    ...[...domid, i32Const(1 | (frameKind.page << 16)), add, ne, elseLeave].flat(),
  ];
  /** The address of an entry of 1 << `size` bytes, `perFrame` of them in each frame of a list. */
  const at = (
    table: number,
    ref: number,
    list: number,
    shift: number,
    perFrame: number,
    size: number,
  ): readonly number[] => [
    ...[localGet(table), localGet(ref), i32Const(shift), shrU, i32Const(2), shl, add, word(list)].flat(),
    ...[i32Const(PAGE_SHIFT), shl, localGet(ref), i32Const(perFrame - 1), and, i32Const(size), shl, add].flat(),
  ];
  return {
    isAlone: [i32Const(0), i32AtomicLoad(header.attached * 4), i32Const(1), sub, eqz].flat(),
    elseLeave,
    pageOf,
    inPage: (offset, length) => [localGet(offset), i32Const(PAGE_SIZE), localGet(length), sub, gtU, elseLeave].flat(),
    entryOf: (table, ref, entry, seen, forbidden) => [
      ...[localGet(ref), localGet(table), word(control.grantFrames), i32Const(PAIRS_SHIFT), shl, geU, elseLeave].flat(),
      ...at(table, ref, control.activeFrameList, QUADS_SHIFT, ACTIVE_PER_FRAME, 4),
      ...[word(active.pin), elseLeave].flat(),
      ...at(table, ref, control.grantFrameList, PAIRS_SHIFT, GRANTS_PER_FRAME, 3),
      ...[localTee(entry), i32Load(), localTee(seen)].flat(),
      // Type, in-use bits and domid as they must be, and of the other flags none that is forbidden.
      ...[i32Const(-65536 | gtf.typeMask | gtf.reading | gtf.writing), ...forbidden, or, and].flat(),
      ...[localGet(caller), i32Const(16), shl, i32Const(gtf.permitAccess), or, ne, elseLeave].flat(),
    ],
    frameOf: (table, entry, granted) => [
      ...[localGet(entry), i32Load(4), localSet(granted)].flat(),
      ...pageOf(granted, localGet(table), word(control.domid)),
    ],
    addressOf: (frame, offset, to) =>
      [localGet(frame), i32Const(PAGE_SHIFT), shl, localGet(offset), add, localSet(to)].flat(),
    unmark: (marked, entry) =>
      [
        localGet(marked),
        ifElse([localGet(entry), i32Const(~(gtf.reading | gtf.writing)), i32AtomicRmwAnd, drop], []),
      ].flat(),
  };
};
