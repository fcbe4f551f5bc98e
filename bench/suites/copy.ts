import { interleave, ratios, type Subject } from '../lib/measure.js';
import { script, withPeer } from '../lib/programs.js';
import { boundRow, plainRow, type Row, ratioRow } from '../lib/rows.js';
import type { Effort } from '../lib/suite.js';

const SIZES = [64, 1500, 4096] as const;
/** Of memcpy, and of `set(subarray)`, at the sizes that have a goal. */
const GOAL_OF_C = 0.85;
const GOAL_OF_SET = 2;
const hasGoal = (size: number): boolean => size >= 1500;
const C_NOTE = 'what is checked takes some nanoseconds beside so short a copy: docs/performance.md, "Grant copy"';

interface Line {
  readonly name: string;
  /** Its name in copy-case. */
  readonly id: string;
  readonly size: number;
  readonly goals: boolean;
}

const lines: readonly Line[] = SIZES.flatMap((size) => [
  { name: `${size} B from a peer, 32 a call`, id: `from-${size}-32-1`, size, goals: hasGoal(size) },
  { name: `${size} B to a peer, 32 a call`, id: `to-${size}-32-1`, size, goals: hasGoal(size) },
  { name: `${size} B from a peer, one a call`, id: `from-${size}-1-1`, size, goals: false },
  { name: `${size} B from a peer, 32 a call, in-use bits`, id: `from-${size}-32-2`, size, goals: false },
]);
const setId = (size: number): string => `set-${size}-1-1`;
const MAP = 'map-4096-1-1';
/** Bytes that a copy may allocate. */
const ALLOCATION_GOAL = 1;
/** What is counted is the thread's processor time: its garbage is to be collected in it. */
const COLLECTING = ['--single-threaded-gc'];
/** A young generation that no round fills. */
const COUNTING = ['--expose-gc', '--min-semi-space-size=256', '--max-semi-space-size=256'];

/** Grant copies with every check, against memcpy and against what JavaScript has; 256 pages to 256 others, one after the other. */
export const copy = ({ rounds, scale }: Effort, say: (line: string) => void): readonly Row[] =>
  withPeer('bench/peers/memcpy.c', (peer, missing) => {
    if (missing !== undefined) say(missing);
    const suite = 'copy';
    const unit = 'M copies/s';
    const ids = [...lines.map(({ id }) => id), ...SIZES.map(setId), MAP];
    const ours: Subject[] = ids.map((id) => ({
      name: id,
      measure: () => script('suites/copy-case.js', COLLECTING, id, 'rate', String(scale)),
    }));
    const cName = (size: number): string => `memcpy ${size}`;
    const theirs: Subject[] =
      peer === undefined ? [] : SIZES.map((size) => ({ name: cName(size), measure: () => peer(String(size)) }));
    const samples = interleave([...ours, ...theirs], rounds);
    const of = (name: string): readonly number[] => samples.get(name) ?? [];
    const rows = lines.flatMap(({ name, id, size, goals }): readonly Row[] => {
      const head = { suite, name, unit };
      const set = ratioRow(
        { ...head, name: `${name}: against set`, peer: 'set(subarray)', ...(goals ? { goal: GOAL_OF_SET } : {}) },
        of(id),
        ratios(of(id), of(setId(size))),
      );
      if (peer === undefined) return [plainRow({ ...head, note: 'no gcc' }, of(id)), set];
      const compared = { ...head, peer: 'memcpy', ...(goals ? { goal: GOAL_OF_C, missed: C_NOTE } : {}) };
      return [ratioRow(compared, of(id), ratios(of(id), of(cName(size)))), set];
    });
    const map = plainRow({ suite, name: 'map and unmap a page', unit: 'M/s' }, of(MAP));
    const allocated = [...lines.filter(({ size }) => size === 1500), { name: 'map and unmap a page', id: MAP }].map(
      ({ name, id }): Row => {
        const head = { suite, name: `${name}: allocated`, unit: 'B' };
        const bytes = [script('suites/copy-case.js', COUNTING, id, 'alloc')];
        return id === MAP ? plainRow(head, bytes) : boundRow({ ...head, goal: ALLOCATION_GOAL }, bytes);
      },
    );
    return [...rows, map, ...allocated];
  });
