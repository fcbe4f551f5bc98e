import { interleave, ratios, type Subject } from '../lib/measure.js';
import { script } from '../lib/programs.js';
import { boundRow, plainRow, type Row, ratioRow } from '../lib/rows.js';
import type { Effort } from '../lib/suite.js';

/** An event through the domain's channels to an RxJS subscriber may cost so much more than to a function: in all, and in nanoseconds. */
const BATCH_GOAL = 1 / 1.1;
const EVENT_GOAL = 50;
/** One event among 1000 channels, in the rate of one among 10 and of one alone, and of a loop over all ports. */
const OF_10 = 1 / 1.8;
const OF_1 = 1 / 1.25;
const OF_LINEAR = 65;

const IDS = [
  'bare-1',
  'observed-1',
  'bare-32',
  'observed-32',
  'scan-1',
  'scan-10',
  'scan-1000',
  'scan-4000',
  'linear-1000',
];
const COLLECTING = ['--single-threaded-gc'];
const COUNTING = ['--expose-gc', '--min-semi-space-size=256', '--max-semi-space-size=256'];

/** Nanoseconds each, of millions a second. */
const nanoseconds = (rates: readonly number[]): readonly number[] => rates.map((rate) => 1e3 / rate);

/** Raising an event, the scan that finds it and what is called for it, in one thread. */
export const events = ({ rounds, scale }: Effort): readonly Row[] => {
  const suite = 'events';
  const unit = 'M events/s';
  const subjects: Subject[] = IDS.map((id) => ({
    name: id,
    measure: () => script('suites/events-case.js', COLLECTING, id, 'rate', String(scale)),
  }));
  const samples = interleave(subjects, rounds);
  const of = (id: string): readonly number[] => samples.get(id) ?? [];
  const against = (name: string, id: string, peer: string, peerId: string, goal: number, rate = unit): Row =>
    ratioRow({ suite, name, unit: rate, peer, goal }, of(id), ratios(of(id), of(peerId)));
  const bare = nanoseconds(of('bare-1'));
  const more = nanoseconds(of('observed-1')).map((each, round) => each - (bare[round] ?? Number.NaN));
  return [
    plainRow({ suite, name: 'send, scan, function', unit }, of('bare-1')),
    plainRow({ suite, name: 'notify, upcall, RxJS subscriber', unit }, of('observed-1')),
    boundRow({ suite, name: 'RxJS and channels, for each event', unit: 'ns', goal: EVENT_GOAL }, more),
    against('32 requests an event, RxJS', 'observed-32', 'functions', 'bare-32', BATCH_GOAL, 'M req/s'),
    against('1 pending among 1000, of 1 channel', 'scan-1000', '1 channel', 'scan-1', OF_1),
    against('1 pending among 1000, of 10', 'scan-1000', '10 channels', 'scan-10', OF_10),
    against('1 pending among 1000, of a loop over all', 'scan-1000', 'Atomics.load of each', 'linear-1000', OF_LINEAR),
    plainRow({ suite, name: '1 pending among 4000', unit }, of('scan-4000')),
    plainRow({ suite, name: 'notify, upcall, RxJS subscriber: allocated', unit: 'B' }, [
      script('suites/events-case.js', COUNTING, 'observed-1', 'alloc'),
    ]),
  ];
};
