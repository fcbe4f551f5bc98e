import { PAGE_SIZE } from '../abi/units.js';
import { moduleOf, wasm } from './assembler.js';
import { gtf } from './grant-entries.js';
import type { MachineMemory } from './memory.js';
import { grantChecks } from './usual-checks.js';
import { Instance, Module } from './web-assembly.js';

/**
 * As UsualCopy, from byte `offset` of what a reference of one domain grants to byte `otherOffset` of what a reference of another does: 1 if
 * that is all there is to it, else 0, and nothing has been done. `from` and `to` are the first bytes of the granters' control pages.
 */
export type UsualForward = (
  from: number,
  to: number,
  caller: number,
  ref: number,
  offset: number,
  other: number,
  otherOffset: number,
  length: number,
) => number;

/** The code of {@link UsualForward}. An entry that is both ends is marked once, seen to have changed, and left to the code for the unusual. */
export const usualForward = (machine: MachineMemory): UsualForward => {
  const { memory } = machine;
  const { localGet, localSet, i32Const, i32AtomicRmwCmpxchg, memoryCopy, gtU, or, ne, brIf, block, ifElse } = wasm;
  const [from, to, caller, ref, offset, other, otherOffset, length] = [0, 1, 2, 3, 4, 5, 6, 7];
  const [entry, seen, marked, frame, address] = [8, 9, 10, 11, 12];
  const [itsEntry, itsSeen, itsMarked, itsFrame, itsAddress] = [13, 14, 15, 16, 17];
  const done = 18;
  const { isAlone, elseLeave, inPage, entryOf, frameOf, addressOf, unmark } = grantChecks(machine, caller);
  /** Sets in-use bits of an entry, or leaves the block around it. */
  const mark = (at: number, as: number, bits: number, isMarked: number): readonly number[] =>
    [
      isAlone,
      ifElse(
        [],
        [
          [localGet(at), localGet(as), localGet(as), i32Const(bits), or].flat(),
          [i32AtomicRmwCmpxchg, localGet(as), ne, brIf(1)].flat(),
          [i32Const(1), localSet(isMarked)].flat(),
        ],
      ),
    ].flat();
  const body = [
    block(
      [localGet(length), i32Const(PAGE_SIZE), gtU, elseLeave].flat(),
      inPage(offset, length),
      inPage(otherOffset, length),
      entryOf(from, ref, entry, seen, i32Const(0)),
      entryOf(to, other, itsEntry, itsSeen, i32Const(gtf.readonly)),
      mark(entry, seen, gtf.reading, marked),
      block(
        mark(itsEntry, itsSeen, gtf.reading | gtf.writing, itsMarked),
        frameOf(from, entry, frame),
        frameOf(to, itsEntry, itsFrame),
        addressOf(frame, offset, address),
        addressOf(itsFrame, otherOffset, itsAddress),
        [localGet(itsAddress), localGet(address), localGet(length), memoryCopy].flat(),
        [i32Const(1), localSet(done)].flat(),
      ),
      unmark(itsMarked, itsEntry),
      unmark(marked, entry),
    ),
    localGet(done),
  ];
  const code = moduleOf(memory.buffer.byteLength, [{ name: 'usualForward', params: 8, results: 1, locals: 11, body }]);
  return new Instance(new Module(code), { xen: { memory } }).exports.usualForward as UsualForward;
};
