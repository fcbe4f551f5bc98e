import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { interleave, ratios, type Subject } from '../lib/measure.js';
import { boundRow, plainRow, type Row } from '../lib/rows.js';
import type { Effort } from './ring.js';

/** A file of the checkout. */
const inCheckout = (path: string): string =>
  fileURLToPath(new URL(path, import.meta.resolve('splitring/package.json')));

const DEMO = 'dist/bench/programs/demo/main.js';
const WORKERS = 'dist/bench/programs/workers.js';
const programs = [DEMO, WORKERS, 'dist/bench/programs/bare-worker.js'];

/** Of bare Node, and of a bare worker. */
const DEMO_GOAL = 1.35;
const WORKER_GOAL = 1.5;
/** MiB of a domain's thread beyond a bare worker's. */
const MEMORY_GOAL = 1.5;
/** Workers that start at once. */
const MANY = 8;

const node = (...args: readonly string[]): string =>
  execFileSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

/** Milliseconds of a process from its start to its end. */
const lifetime = (name: string, ...args: readonly string[]): Subject => ({
  name,
  measure: () => {
    const start = performance.now();
    node(...args);
    return performance.now() - start;
  },
});

/** Starts workers in a process of their own. Their milliseconds are what is measured; `mib` gets the memory. */
const workers = (name: string, program: string, kind: string, count: number, mib: number[] = []): Subject => ({
  name,
  measure: () => {
    const taken = JSON.parse(node(program, kind, String(count))) as { readonly ms: number; readonly mib: number };
    mib.push(taken.mib);
    return taken.ms;
  },
});

/**
 * How soon a program that uses the published bundle runs, and a domain's thread, against Node's own. Each domain is the first of a process
 * that has a machine already, and is measured from `boot` to its promise; a bare worker from `new Worker` to its message. The domain
 * serves disks, by a module of the package, which is a part of what all threads load; or what an author's module says, which is a file.
 */
export const start = ({ rounds }: Effort, say: (line: string) => void): readonly Row[] => {
  const folder = mkdtempSync(join(tmpdir(), 'splitring-bench-'));
  try {
    say('bundling');
    node(inCheckout('scripts/bundle.mjs'), folder, ...programs);
    const bundled = join(folder, WORKERS);
    const mib: Record<'bare' | 'domain', number[]> = { bare: [], domain: [] };
    const samples = interleave(
      [
        lifetime('node', '-e', '0'),
        lifetime('demo', join(folder, DEMO)),
        lifetime('demo in modules', inCheckout(DEMO)),
        workers('bare 1', bundled, 'bare', 1),
        workers('domain 1', bundled, 'domain', 1),
        workers('authors 1', bundled, 'authors', 1),
        workers('modules 1', inCheckout(WORKERS), 'domain', 1),
        workers(`bare ${MANY}`, bundled, 'bare', MANY, mib.bare),
        workers(`domain ${MANY}`, bundled, 'domain', MANY, mib.domain),
      ],
      rounds,
    );
    const of = (name: string): readonly number[] => samples.get(name) ?? [];
    const suite = 'start';
    const times = (name: string, subject: string, peer: string, unit: string, goal: number): readonly Row[] => [
      plainRow({ suite, name, unit: 'ms' }, of(subject)),
      boundRow({ suite, name: `${name}, of bare`, unit, goal }, ratios(of(subject), of(peer))),
    ];
    return [
      plainRow({ suite, name: 'node -e 0', unit: 'ms' }, of('node')),
      ...times('a guest, a backend, one request', 'demo', 'node', 'x', DEMO_GOAL),
      plainRow({ suite, name: 'the same in modules', unit: 'ms' }, of('demo in modules')),
      plainRow({ suite, name: 'bare worker', unit: 'ms' }, of('bare 1')),
      ...times('domain that boots', 'domain 1', 'bare 1', 'x', WORKER_GOAL),
      ...times("domain that boots an author's module", 'authors 1', 'bare 1', 'x', WORKER_GOAL),
      plainRow({ suite, name: 'the same in modules', unit: 'ms' }, of('modules 1')),
      plainRow({ suite, name: `bare worker, of ${MANY} at once`, unit: 'ms' }, of(`bare ${MANY}`)),
      ...times(`domain that boots, of ${MANY} at once`, `domain ${MANY}`, `bare ${MANY}`, 'x', WORKER_GOAL),
      boundRow(
        { suite, name: `a domain's memory beyond a bare worker's, of ${MANY}`, unit: 'MiB', goal: MEMORY_GOAL },
        mib.domain.map((value, round) => value - (mib.bare[round] ?? Number.NaN)),
      ),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};
