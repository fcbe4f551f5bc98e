import { PAGE_SIZE } from '../abi/units.js';
import { moduleOf, wasm } from './assembler.js';
import { frameKind } from './frames.js';
import { gtf } from './grant-entries.js';
import { active } from './grant-pins.js';
import { ACTIVE_PER_FRAME, control, GRANTS_PER_FRAME, header, PAIRS_SHIFT, QUADS_SHIFT } from './layout.js';
import type { MachineMemory } from './memory.js';
import { Instance, Module } from './web-assembly.js';

/**
 * Copies `length` bytes between byte `offset` of what a reference grants and byte `frameOffset` of a frame of the caller's, and answers
 * 1, if that is all there is to it: the entry grants, nobody uses it, and all is in its place. Else 0, and nothing has been done. The lock
 * is held. `control` is the first byte of the granter's control page; `toPeer` is 1 to write what is granted, 0 to read it.
 */
export type UsualCopy = (
  control: number,
  caller: number,
  toPeer: number,
  ref: number,
  offset: number,
  frame: number,
  frameOffset: number,
  length: number,
) => number;

const PAGE_SHIFT = 12;

/**
 * The code of {@link UsualCopy}, in WebAssembly, where Atomics are instructions, not calls, and accesses need no check of their own. V8
 * terminates a thread at a function's beginning and at a loop's end: here is neither once it has begun.
 *
 * No pin is counted, since who reads pins holds the lock. The in-use bits are for the granter, who takes none: they are set as the entry is
 * believed and before its frame is read, and go when the bytes are there. While the machine has one thread nobody can look.
 */
export const usualCopy = (machine: MachineMemory): UsualCopy => {
  const { memory, frames } = machine;
  const frameTable = machine.frameTable * 4;
  const { localGet, localSet, localTee, i32Const, i32Load, i32AtomicLoad, i32AtomicRmwAnd, i32AtomicRmwCmpxchg } = wasm;
  const { memoryCopy, eqz, ne, gtU, geU, add, sub, and, or, shl, shrU, drop, brIf, block, ifElse } = wasm;
  const [table, caller, toPeer, ref, offset, frame, frameOffset, length] = [0, 1, 2, 3, 4, 5, 6, 7];
  const [entry, seen, granted, marked, done, theirs, own] = [8, 9, 10, 11, 12, 13, 14];
  const word = (index: number): readonly number[] => i32Load(index * 4);
  /** Leaves the block around it if the top of the stack is not 0. */
  const elseLeave = brIf(0);
  /** Whether the frame on the stack is no page of the domain whose domid `domid` pushes. */
  const leaveUnlessPage = (local: number, ...domid: readonly (readonly number[])[]): readonly number[] => [
    ...[localGet(local), i32Const(frames), geU, elseLeave].flat(),
    ...[localGet(local), i32Const(3), shl, i32Load(frameTable)].flat(),
    ...[...domid, i32Const(1 | (frameKind.page << 16)), add, ne, elseLeave].flat(),
  ];
  /** The address of an entry of 1 << `size` bytes, `perFrame` of them in each frame of a list. */
  const at = (list: number, shift: number, perFrame: number, size: number): readonly number[] => [
    ...[localGet(table), localGet(ref), i32Const(shift), shrU, i32Const(2), shl, add, word(list)].flat(),
    ...[i32Const(PAGE_SHIFT), shl, localGet(ref), i32Const(perFrame - 1), and, i32Const(size), shl, add].flat(),
  ];
  const isAlone = [i32Const(0), i32AtomicLoad(header.attached * 4), i32Const(1), sub, eqz].flat();
  const body = [
    block(
      [localGet(length), i32Const(PAGE_SIZE), gtU, elseLeave].flat(),
      [localGet(offset), i32Const(PAGE_SIZE), localGet(length), sub, gtU, elseLeave].flat(),
      [localGet(frameOffset), i32Const(PAGE_SIZE), localGet(length), sub, gtU, elseLeave].flat(),
      leaveUnlessPage(frame, localGet(caller)),
      [localGet(ref), localGet(table), word(control.grantFrames), i32Const(PAIRS_SHIFT), shl, geU, elseLeave].flat(),
      [at(control.activeFrameList, QUADS_SHIFT, ACTIVE_PER_FRAME, 4), word(active.pin), elseLeave].flat(),
      [at(control.grantFrameList, PAIRS_SHIFT, GRANTS_PER_FRAME, 3), localTee(entry), i32Load(), localTee(seen)].flat(),
      // Type, in-use bits and domid as they must be, and not readonly for a write.
      [i32Const(-65536 | gtf.typeMask | gtf.reading | gtf.writing), localGet(toPeer), i32Const(2), shl, or, and].flat(),
      [localGet(caller), i32Const(16), shl, i32Const(gtf.permitAccess), or, ne, elseLeave].flat(),
      [
        isAlone,
        ifElse(
          [],
          [
            [localGet(entry), localGet(seen), localGet(seen), i32Const(gtf.reading), or].flat(),
            [localGet(toPeer), i32Const(4), shl, or, i32AtomicRmwCmpxchg, localGet(seen), ne, brIf(1)].flat(),
            [i32Const(1), localSet(marked)].flat(),
          ],
        ),
      ].flat(),
      block(
        [localGet(entry), i32Load(4), localSet(granted)].flat(),
        leaveUnlessPage(granted, localGet(table), word(control.domid)),
        [localGet(granted), i32Const(PAGE_SHIFT), shl, localGet(offset), add, localSet(theirs)].flat(),
        [localGet(frame), i32Const(PAGE_SHIFT), shl, localGet(frameOffset), add, localSet(own)].flat(),
        [
          localGet(toPeer),
          ifElse(
            [localGet(theirs), localGet(own), localGet(length), memoryCopy],
            [localGet(own), localGet(theirs), localGet(length), memoryCopy],
          ),
        ].flat(),
        [i32Const(1), localSet(done)].flat(),
      ),
      [
        localGet(marked),
        ifElse([localGet(entry), i32Const(~(gtf.reading | gtf.writing)), i32AtomicRmwAnd, drop], []),
      ].flat(),
    ),
    localGet(done),
  ];
  const code = moduleOf(memory.buffer.byteLength, [{ name: 'usualCopy', params: 8, results: 1, locals: 7, body }]);
  return new Instance(new Module(code), { xen: { memory } }).exports.usualCopy as UsualCopy;
};
