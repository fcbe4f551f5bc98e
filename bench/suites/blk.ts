import { interleave, ratios, type Subject } from '../lib/measure.js';
import { script, withPeer } from '../lib/programs.js';
import { plainRow, type Row, ratioRow } from '../lib/rows.js';
import { withRandomFile } from './blk-file.js';
import { type Engine, fio, fioHas, withNbdkit } from './blk-peers.js';
import type { Effort } from './ring.js';

/** Reads of a kind: all cases of a row make the same. */
interface Load {
  readonly name: string;
  readonly bytes: number;
  readonly pattern: 'random' | 'sequential';
}

const DEPTH = '32';
const small: Load = { name: '4 KiB random', bytes: 4096, pattern: 'random' };
const large: Load = { name: '64 KiB random', bytes: 65536, pattern: 'random' };
const inOrder: Load = { name: '4 KiB sequential', bytes: 4096, pattern: 'sequential' };

/** A case's rate against that of a peer: of Node's calls, of C, or of fio. */
interface Comparison {
  readonly peer: 'readSync' | 'read' | 'pread' | 'ring-pread' | Engine;
  readonly goal?: number;
}

interface Line {
  readonly load: Load;
  readonly what: string;
  /** Its name in blk-case. */
  readonly id: string;
  readonly against: readonly Comparison[];
}

const onThreads: readonly Comparison[] = [
  { peer: 'readSync', goal: 0.72 },
  { peer: 'read', goal: 3.3 },
  { peer: 'ring-pread', goal: 0.65 },
  { peer: 'nbd', goal: 10 },
  { peer: 'io_uring', goal: 1.5 },
];
const largeOnThreads: readonly Comparison[] = [
  { peer: 'readSync', goal: 0.88 },
  { peer: 'nbd', goal: 4.3 },
];
const inOrderOnThreads: readonly Comparison[] = [
  { peer: 'readSync', goal: 1 },
  { peer: 'read', goal: 6.4 },
];
const later: readonly Comparison[] = [{ peer: 'read', goal: 0.75 }];

const lines: readonly Line[] = [
  {
    load: small,
    what: 'local',
    id: 'local',
    against: [{ peer: 'readSync', goal: 0.95 }, { peer: 'read', goal: 4.2 }, { peer: 'pread' }],
  },
  { load: small, what: 'local, a promise a read', id: 'local-device', against: [{ peer: 'readSync' }] },
  { load: small, what: 'local, mapped for each request', id: 'local-map', against: [{ peer: 'readSync' }] },
  { load: small, what: 'local, no disk at all', id: 'local-none', against: [{ peer: 'readSync' }] },
  { load: small, what: 'threads', id: 'threads', against: onThreads },
  { load: small, what: 'threads, frontend in one too', id: 'workers', against: onThreads },
  { load: small, what: 'threads, no disk at all', id: 'threads-none', against: [{ peer: 'readSync' }] },
  { load: small, what: 'local, async disk', id: 'local-async', against: later },
  { load: small, what: 'threads, async disk', id: 'threads-async', against: later },
  { load: large, what: 'threads', id: 'threads', against: largeOnThreads },
  { load: large, what: 'threads, frontend in one too', id: 'workers', against: largeOnThreads },
  {
    load: inOrder,
    what: 'local',
    id: 'local',
    against: [
      { peer: 'readSync', goal: 2.1 },
      { peer: 'read', goal: 13 },
    ],
  },
  { load: inOrder, what: 'threads', id: 'threads', against: inOrderOnThreads },
  { load: inOrder, what: 'threads, frontend in one too', id: 'workers', against: inOrderOnThreads },
];

const isEngine = (peer: Comparison['peer']): peer is Engine =>
  peer === 'psync' || peer === 'io_uring' || peer === 'nbd';

const peerNames: Readonly<Record<Comparison['peer'], string>> = {
  readSync: 'fs.readSync',
  read: 'fs.read',
  pread: 'C pread',
  'ring-pread': 'C ring',
  psync: 'fio psync',
  io_uring: 'fio io_uring',
  nbd: 'fio, nbdkit',
};

const FILE_BYTES = 1 << 30;
const QUICK_FILE_BYTES = 1 << 28;
const MS = 600;

/** What the suite works with. */
interface Setting {
  readonly effort: Effort;
  readonly file: string;
  readonly socket: string | undefined;
  readonly pread: ((...args: readonly string[]) => number) | undefined;
  readonly ring: ((...args: readonly string[]) => number) | undefined;
  readonly engines: readonly Engine[];
}

const k = (rate: number): number => rate / 1e3;

/** A case of ours, or of Node alone; by the processor's time, or by the clock as fio. */
const ownSubject = (
  { effort, file }: Setting,
  id: string,
  { bytes, pattern }: Load,
  mode: 'processor' | 'clock',
): Subject => ({
  name: `${id} ${mode}`,
  measure: () =>
    k(script('suites/blk-case.js', [], id, file, String(bytes), pattern, DEPTH, String(MS * effort.scale), mode)),
});

const peerSubject = (setting: Setting, peer: Comparison['peer'], load: Load): Subject | undefined => {
  const { effort, file, socket, pread, ring, engines } = setting;
  const { bytes, pattern } = load;
  const ms = MS * effort.scale;
  const name = peer;
  if (peer === 'readSync' || peer === 'read') return { ...ownSubject(setting, peer, load, 'processor'), name };
  if (isEngine(peer)) {
    const from = peer === 'nbd' ? socket : file;
    if (from === undefined || !engines.includes(peer)) return undefined;
    return { name, measure: () => k(fio(peer, from, bytes, pattern === 'sequential', Number(DEPTH), ms)) };
  }
  const run = peer === 'pread' ? pread : ring;
  const args = [file, String(bytes), pattern, String(ms), ...(peer === 'pread' ? [] : [DEPTH])];
  return run && { name, measure: () => k(run(...args)) };
};

/** Each case reads the right bytes, or nothing of it counts. */
const check = ({ file }: Setting, say: (line: string) => void): void => {
  const seen = new Set<string>();
  for (const { id, load } of lines) {
    const what = `${id} ${load.name}`;
    if (id.endsWith('-none') || seen.has(what)) continue;
    seen.add(what);
    script('suites/blk-case.js', [], id, file, String(load.bytes), load.pattern, DEPTH, '0', 'check');
  }
  say(`blk: the ${seen.size} cases read what the file holds`);
};

const measureLoad = (setting: Setting, load: Load): readonly Row[] => {
  const own = lines.filter((line) => line.load === load);
  const subjects = new Map<string, Subject>();
  const add = (subject: Subject | undefined): boolean => {
    if (subject !== undefined) subjects.set(subject.name, subject);
    return subject !== undefined;
  };
  const there = own.flatMap(({ id, what, against }) =>
    against.flatMap((comparison) => {
      const mode = isEngine(comparison.peer) ? 'clock' : 'processor';
      if (!add(peerSubject(setting, comparison.peer, load))) return [];
      add(ownSubject(setting, id, load, mode));
      return [{ what, ours: `${id} ${mode}`, ...comparison }];
    }),
  );
  const samples = interleave([...subjects.values()], setting.effort.rounds);
  const of = (name: string): readonly number[] => samples.get(name) ?? [];
  const suite = 'blk';
  const unit = 'k reads/s';
  const peers = [...new Set(there.map(({ peer }) => peer))].map((peer) =>
    plainRow({ suite, name: `${load.name}, ${peerNames[peer]}`, unit }, of(peer)),
  );
  const ours = there.map(({ what, ours, peer, goal }) =>
    ratioRow(
      {
        suite,
        name: `${load.name}, ${what}`,
        unit,
        peer: peerNames[peer],
        ...(goal === undefined ? {} : { goal }),
      },
      of(ours),
      ratios(of(ours), of(peer)),
    ),
  );
  return [...ours, ...peers];
};

/** Reads of a file in memory through both ends of a vbd, against Node's own calls, C, fio and nbdkit. */
export const blk = (effort: Effort, say: (line: string) => void): readonly Row[] =>
  withRandomFile(effort.scale < 1 ? QUICK_FILE_BYTES : FILE_BYTES, (file, missing) => {
    if (file === undefined) {
      say(`blk: ${missing}: the suite is left out`);
      return [];
    }
    const engines = (['io_uring', 'nbd'] as const).filter(fioHas);
    if (engines.length === 0) say('blk: fio is not installed: the rows that compare with it are left out');
    return withPeer('bench/peers/pread.c', (pread, noC) =>
      withPeer('bench/peers/ring-pread.c', (ring) =>
        withNbdkit(file, (socket) => {
          if (noC !== undefined) say(noC);
          if (socket === undefined) say('blk: nbdkit is not installed: the rows that compare with it are left out');
          const setting: Setting = { effort, file, socket, pread, ring, engines };
          check(setting, say);
          return [small, large, inOrder].flatMap((load) => measureLoad(setting, load));
        }),
      ),
    );
  });
