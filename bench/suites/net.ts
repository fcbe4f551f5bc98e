import { tapProblem } from '../../drivers/net/index.js';
import type { ClockName } from '../lib/clocks.js';
import { unpinned } from '../lib/cores.js';
import { interleave, ratios, type Subject } from '../lib/measure.js';
import { number, script, withCompiled } from '../lib/programs.js';
import { leftOutRow, plainRow, type Row, ratioRow } from '../lib/rows.js';
import type { Effort } from '../lib/suite.js';
import type { NetLoad } from './net/load.js';

const suite = 'net';
const unit = 'k frames/s';
/** Milliseconds of each case that are measured, in a full run. */
const LENGTH = 300;

const C = 'C rings, futex';
const UDP = 'Node UDP';
const PORT = 'MessagePort transfer';
const TAP = 'C write';

/** Frames of one size, and what the rings are to reach of each peer, and with payload copied in too of C. */
interface Frames {
  readonly bytes: number;
  readonly name: string;
  readonly goals: { readonly c: number; readonly udp: number; readonly port: number; readonly copied: number };
}

const sizes: readonly Frames[] = [
  { bytes: 64, name: '64 B', goals: { c: 0.42, udp: 110, port: 30, copied: 0.47 } },
  { bytes: 1500, name: '1500 B', goals: { c: 0.7, udp: 60, port: 19, copied: 0.69 } },
  { bytes: 65000, name: '65000 B, GSO', goals: { c: 0.68, udp: 17, port: 3.6, copied: 0.57 } },
];

const clock: ClockName = unpinned === undefined ? 'core' : 'wall';
const k = (rate: number): number => rate / 1e3;

const ringRows = ({ bytes, name, goals }: Frames, effort: Effort, c: string | undefined): readonly Row[] => {
  const length = LENGTH * effort.scale;
  const ms = String(length);
  const ours = (rest: 'blocking' | 'loop', payload: boolean): Subject => {
    const options: NetLoad = { size: bytes, length, clock, payload };
    return {
      name: `${rest} ${payload}`,
      measure: () => k(script('suites/net/case.js', [], rest, JSON.stringify(options))),
    };
  };
  const peer = (mode: 'udp' | 'port', its: string): Subject => ({
    name: its,
    measure: () => k(script('suites/net/node-peers.js', [], mode, String(bytes), ms, clock)),
  });
  const subjects = [
    ours('blocking', false),
    ours('blocking', true),
    ours('loop', false),
    peer('udp', UDP),
    peer('port', PORT),
    ...(c === undefined ? [] : [{ name: C, measure: () => k(number(c, 'ring', String(bytes), ms, clock)) }]),
  ];
  const samples = interleave(subjects, effort.rounds);
  const of = (its: string): readonly number[] => samples.get(its) ?? [];
  const row = (what: string, its: string, against: string, goal?: number): Row => {
    const head = { suite, name: `${name}, ${what}`, unit, peer: against, ...(goal === undefined ? {} : { goal }) };
    if (of(against).length === 0) return leftOutRow(head, 'gcc is not installed');
    return ratioRow(head, of(its), ratios(of(its), of(against)));
  };
  return [
    row('two rings', 'blocking false', C, goals.c),
    row('two rings', 'blocking false', UDP, goals.udp),
    row('two rings', 'blocking false', PORT, goals.port),
    row('two rings, payload copied in', 'blocking true', C, goals.copied),
    row('two rings, loop domains', 'loop false', 'blocking false', 0.7),
    ...[C, UDP, PORT]
      .filter((its) => of(its).length > 0)
      .map((its) => plainRow({ suite, name: `${name}, ${its}`, unit }, of(its))),
  ];
};

const tapRows = (effort: Effort, c: string | undefined): readonly Row[] => {
  const problem = tapProblem({ name: 'srbench0' });
  const ms = String(LENGTH * effort.scale);
  return sizes.map(({ bytes }) => {
    const head = { suite, name: `${bytes} B, written to a TAP device`, unit, peer: TAP, goal: 0.6 };
    if (problem !== undefined || c === undefined) return leftOutRow(head, problem ?? 'gcc is not installed');
    const samples = interleave(
      [
        {
          name: 'ours',
          measure: () => k(script('suites/net/node-peers.js', [], 'tap', String(bytes), ms, 'srbench0')),
        },
        { name: TAP, measure: () => k(number(c, 'tap', String(bytes), ms, 'srbench1')) },
      ],
      effort.rounds,
    );
    const ours = samples.get('ours') ?? [];
    return ratioRow(head, ours, ratios(ours, samples.get(TAP) ?? []));
  });
};

/** Frames from one interface to another, through the bridge, against the same rings in C and what Node has for it; and to a TAP device. */
export const net = (effort: Effort, say: (line: string) => void): readonly Row[] =>
  withCompiled('bench/peers/net.c', (c, missing) => {
    if (missing !== undefined) say(missing);
    return [...sizes.flatMap((frames) => ringRows(frames, effort, c)), ...tapRows(effort, c)];
  });
