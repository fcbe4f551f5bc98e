import { expect } from 'chai';
import { complete, merged, type Results, type Run, read, written } from '../../../bench/lib/results.js';
import { leftOutRow, plainRow, type Row, ratioRow } from '../../../bench/lib/rows.js';

const run = (time: string): Run => ({ time, rounds: 5, node: '20.20.2', gcc: undefined, processors: 2, load: 0.1 });
const row = (suite: string, name: string, value: number): Row => plainRow({ suite, name, unit: 'x' }, [value]);

describe('the results of benchmarks', () => {
  const former: Results = merged({}, run('2026-01-01T00:00Z'), [
    row('ring', 'a', 1),
    row('ring', 'b', 2),
    row('net', 'c', 3),
  ]);

  it('take the place of the same suite’s former ones, and of no other’s', () => {
    const now = merged(former, run('2026-02-02T00:00Z'), [row('ring', 'a', 9)]);
    expect(now.ring?.run.time).to.equal('2026-02-02T00:00Z');
    expect(now.ring?.rows.map(({ name, value }) => [name, value])).to.deep.equal([['a', 9]]);
    expect(now.net).to.equal(former.net);
  });

  it('keep a row’s former figures, with their time, when it had to be left out', () => {
    const leftOut = leftOutRow({ suite: 'ring', name: 'a', unit: 'x' }, 'machine busy');
    const second = merged(former, run('2026-02-02T00:00Z'), [leftOut, row('ring', 'b', 4)]);
    expect(second.ring?.rows[0]).to.include({ value: 1, time: '2026-01-01T00:00Z' });
    expect(second.ring?.rows[1]).to.include({ value: 4 }).and.not.to.have.property('time');
    const third = merged(second, run('2026-03-03T00:00Z'), [leftOut]);
    expect(third.ring?.rows[0]).to.include({ value: 1, time: '2026-01-01T00:00Z' });
    const fourth = merged(third, run('2026-04-04T00:00Z'), [row('ring', 'a', 7)]);
    expect(fourth.ring?.rows[0]).to.include({ value: 7 }).and.not.to.have.property('time');
  });

  it('are the same after they were written and read', () => {
    const results = merged(former, { ...run('2026-02-02T00:00Z'), gcc: '12.2.0' }, [
      ratioRow({ suite: 'ring', name: 'a', unit: 'x', peer: 'C', goal: 1, cores: 2 }, [1, 2], [0.5, 2]),
      leftOutRow({ suite: 'ring', name: 'd', unit: 'x' }, 'no gcc'),
    ]);
    expect(read(written(results))).to.deep.equal(results);
  });

  it('are whole in JSON: what is not there is null', () => {
    expect(complete(row('ring', 'a', 1))).to.deep.equal({
      suite: 'ring',
      name: 'a',
      value: 1,
      unit: 'x',
      peer: null,
      ratio: null,
      min: 1,
      max: 1,
      goal: null,
      wanted: null,
      met: null,
      cores: null,
      note: null,
    });
  });
});
