import { interleave, ratios, type Subject } from '../lib/measure.js';
import { script, withPeer } from '../lib/programs.js';
import { boundRow, plainRow, type Row, ratioRow } from '../lib/rows.js';
import type { Effort } from '../lib/suite.js';

export type { Effort };

interface Line {
  readonly name: string;
  /** Its name in ring-cases. */
  readonly id: string;
  /** The C peer's arguments. */
  readonly peer: readonly string[];
  /** Of the same loop in C. */
  readonly goal?: number;
}

const C = 'gcc -O2';
const lines: readonly Line[] = [
  { name: 'blkif, cursor with packed writes', id: 'blk-cursor-1', peer: ['blk', '1'], goal: 0.25 },
  { name: 'blkif, set() and private copy', id: 'blk-ring-1', peer: ['blk', '1'], goal: 0.17 },
  { name: 'blkif, submit, serve, complete', id: 'blk-pumps-1', peer: ['blk', '1'], goal: 0.12 },
  { name: 'blkif, decoding to objects', id: 'blk-objects-1', peer: ['blk', '1'] },
  { name: 'blkif 11 segments, cursor', id: 'blk-cursor-11', peer: ['blk', '11'] },
  { name: 'blkif 11 segments, set() and copy', id: 'blk-ring-11', peer: ['blk', '11'] },
  { name: 'blkif 11 segments, submit to complete', id: 'blk-pumps-11', peer: ['blk', '11'] },
  { name: 'netif tx, cursor with packed writes', id: 'net-cursor', peer: ['net', '1'], goal: 0.2 },
  { name: 'netif tx, set() and private copy', id: 'net-ring', peer: ['net', '1'] },
  { name: 'netif tx, submit, serve, complete', id: 'net-pumps', peer: ['net', '1'] },
];
/** How much faster than decoding to objects the cursor is to be. */
const OBJECTS_GOAL = 4.5;
const OBJECTS_NOTE = 'the objects are quicker than the goal supposed: docs/performance.md, "Cursor against objects"';
/** Bytes that a request may allocate. */
const ALLOCATION_GOAL = 1;
/** What is counted is the thread's processor time: the garbage that it makes is to be collected in it, not beside it. */
const COLLECTING = ['--single-threaded-gc'];
/** A young generation that no round fills, so that what is allocated is still there to be counted. */
const COUNTING = ['--expose-gc', '--min-semi-space-size=256', '--max-semi-space-size=256'];

/** Requests through a ring in one thread, 32 a batch, against the same loops in C and against decoding to objects. */
export const ring = ({ rounds, scale }: Effort, say: (line: string) => void): readonly Row[] =>
  withPeer('bench/peers/ring.c', (peer, missing) => {
    if (missing !== undefined) say(missing);
    const suite = 'ring';
    const unit = 'M req/s';
    const peerName = (args: readonly string[]): string => `C ${args.join(' ')}`;
    const ours: Subject[] = lines.map(({ id }) => ({
      name: id,
      measure: () => script('suites/ring-case.js', COLLECTING, id, 'rate', String(scale)),
    }));
    const peers = new Map(lines.map(({ peer: args }) => [peerName(args), args]));
    const theirs: Subject[] =
      peer === undefined ? [] : [...peers].map(([name, args]) => ({ name, measure: () => peer(...args) }));
    const samples = interleave([...ours, ...theirs], rounds);
    const of = (name: string): readonly number[] => samples.get(name) ?? [];
    const rows = lines.map(({ name, id, peer: args, goal }): Row => {
      const head = { suite, name, unit };
      if (peer === undefined) return plainRow({ ...head, note: 'no gcc' }, of(id));
      const compared = { ...head, peer: C, ...(goal === undefined ? {} : { goal }) };
      return ratioRow(compared, of(id), ratios(of(id), of(peerName(args))));
    });
    const objects = ratioRow(
      { suite, name: 'blkif, cursor against objects', unit, peer: 'objects', goal: OBJECTS_GOAL, missed: OBJECTS_NOTE },
      of('blk-cursor-1'),
      ratios(of('blk-cursor-1'), of('blk-objects-1')),
    );
    const allocation = lines
      .filter(({ id }) => !id.includes('objects'))
      .map(({ name, id }) =>
        boundRow({ suite, name: `${name}: allocated`, unit: 'B/req', goal: ALLOCATION_GOAL }, [
          script('suites/ring-case.js', COUNTING, id, 'alloc'),
        ]),
      );
    return [...rows, objects, ...allocation];
  });
