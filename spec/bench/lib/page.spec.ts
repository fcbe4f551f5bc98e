import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { section, withResults } from '../../../bench/lib/page.js';
import { plot } from '../../../bench/lib/plot.js';
import { merged, type Results, type Run, readFile } from '../../../bench/lib/results.js';
import { plainRow, type Row } from '../../../bench/lib/rows.js';

const docs = new URL('docs/', import.meta.resolve('splitring/package.json'));
const run: Run = { time: '2026-02-02T00:00Z', rounds: 5, node: '20.1.0', gcc: '12.2.0', processors: 2, load: 0.1 };
const row = (suite: string): Row => plainRow({ suite, name: 'a', unit: 'x' }, [1]);
const resultsOf = (results: Results, suite: string) => {
  const its = results[suite];
  if (its === undefined) throw new Error(`no results of ${suite}`);
  return its;
};

describe('the page of results', () => {
  const results = merged({}, run, [row('ring')]);
  const ring = resultsOf(results, 'ring');

  it('gets a suite’s table between its markers, and nothing else changes', () => {
    const page =
      'before\n<!-- bench:ring -->\nold\n<!-- /bench:ring -->\nafter <!-- bench:net --><!-- /bench:net -->\n';
    const once = withResults(page, 'ring', ring);
    expect(once).to.equal(
      `before\n<!-- bench:ring -->\n${section(ring)}\n<!-- /bench:ring -->\nafter <!-- bench:net --><!-- /bench:net -->\n`,
    );
    expect(withResults(once, 'ring', ring)).to.equal(once);
  });

  it('says where and when the figures are from', () => {
    expect(section(ring)).to.match(
      /^2026-02-02T00:00Z, Node 20\.1\.0, gcc 12\.2\.0, 2 processors, 5 rounds, load 0\.1\.\n\n\|/,
    );
  });

  it('says of what run a figure is that was kept from an earlier one', () => {
    expect(section({ run, rows: [{ ...row('ring'), time: '2026-01-01T00:00Z' }] })).to.include('of 2026-01-01T00:00Z');
  });

  it('is refused when it has no place for a suite', () => {
    expect(() => withResults('<!-- /bench:ring --><!-- bench:ring -->', 'ring', ring)).to.throw(
      'no place for ring: it takes a line <!-- bench:ring -->',
    );
  });

  it('that is published shows the results that are kept, and so does the plot', () => {
    const kept = readFile(new URL('performance.json', docs).pathname);
    let page = readFileSync(new URL('performance.md', docs), 'utf8');
    expect(Object.keys(kept)).to.include('ring');
    for (const [suite, its] of Object.entries(kept)) {
      expect(withResults(page, suite, its)).to.equal(page);
      page = withResults(page, suite, its);
    }
    expect(readFileSync(new URL('performance.svg', docs), 'utf8')).to.equal(plot(kept));
  });
});
