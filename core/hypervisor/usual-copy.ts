import { PAGE_SIZE } from '../abi/units.js';
import { type Bytes, moduleOf, wasm } from './assembler.js';
import { gtf } from './grant-entries.js';
import type { MachineMemory } from './memory.js';
import { grantChecks } from './usual-checks.js';
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

/**
 * The code of {@link UsualCopy}, in WebAssembly, where Atomics are instructions, not calls, and accesses need no check of their own. V8
 * terminates a thread at a function's beginning and at a loop's end: here is neither once it has begun.
 *
 * No pin is counted, since who reads pins holds the lock. The in-use bits are for the granter, who takes none: they are set as the entry is
 * believed and before its frame is read, and go when the bytes are there. While the machine has one thread nobody can look.
 */
export const usualCopy = (machine: MachineMemory): UsualCopy => {
  const { memory } = machine;
  const { localGet, localSet, i32Const, i32AtomicRmwCmpxchg } = wasm;
  const { memoryCopy, gtU, or, shl, ne, brIf, block, ifElse } = wasm;
  const [table, caller, toPeer, ref, offset, frame, frameOffset, length] = [0, 1, 2, 3, 4, 5, 6, 7];
  const [entry, seen, granted, marked, done, theirs, own] = [8, 9, 10, 11, 12, 13, 14];
  const { isAlone, elseLeave, inPage, pageOf, entryOf, frameOf, addressOf, unmark } = grantChecks(machine, caller);
  /** The bits that an entry must not have besides: one that is readonly cannot be written. */
  const forbidden: Bytes = [localGet(toPeer), i32Const(2), shl].flat();
  const body = [
    block(
      [localGet(length), i32Const(PAGE_SIZE), gtU, elseLeave].flat(),
      inPage(offset, length),
      inPage(frameOffset, length),
      pageOf(frame, localGet(caller)),
      entryOf(table, ref, entry, seen, forbidden),
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
        frameOf(table, entry, granted),
        addressOf(granted, offset, theirs),
        addressOf(frame, frameOffset, own),
        [
          localGet(toPeer),
          ifElse(
            [localGet(theirs), localGet(own), localGet(length), memoryCopy],
            [localGet(own), localGet(theirs), localGet(length), memoryCopy],
          ),
        ].flat(),
        [i32Const(1), localSet(done)].flat(),
      ),
      unmark(marked, entry),
    ),
    localGet(done),
  ];
  const code = moduleOf(memory.buffer.byteLength, [{ name: 'usualCopy', params: 8, results: 1, locals: 7, body }]);
  return new Instance(new Module(code), { xen: { memory } }).exports.usualCopy as UsualCopy;
};
