import { expect } from 'chai';
import { ofGoal, plot } from '../../../bench/lib/plot.js';
import { merged, type Run } from '../../../bench/lib/results.js';
import { boundRow, leftOutRow, plainRow, type Row, ratioRow } from '../../../bench/lib/rows.js';

const run: Run = { time: '2026-02-02T00:00Z', rounds: 5, node: '20.1.0', gcc: undefined, processors: 2, load: 0.1 };
const head = { suite: 'ring', name: 'loop', unit: 'x' } as const;
const ratio = (of: number, more: object = {}): Row => ratioRow({ ...head, peer: 'C', goal: 1, ...more }, [1], [of]);

/** Each element of a document opens and closes in its place, and there is one at the root. @throws where that does not hold */
const wellFormed = (xml: string): void => {
  const open: string[] = [];
  let roots = 0;
  const rest = xml.replace(
    /<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<&]*(?:&\w+;[^"<&]*)*")*)\s*(\/?)>/gi,
    (_, close, name, __, empty) => {
      if (close === '/') {
        if (open.pop() !== name) throw new Error(`</${name}> closes what it did not open`);
      } else if (empty !== '/') {
        if (open.length === 0) roots++;
        open.push(name);
      }
      return '';
    },
  );
  if (open.length > 0 || roots !== 1) throw new Error(`${roots} roots, and ${open.join()} open`);
  if (/[<>]|&(?!(?:amp|lt|gt|quot);)/.test(rest)) throw new Error(`what is no element: ${/[<>&].{0,20}/.exec(rest)}`);
};

describe('the plot of results', () => {
  it('is well-formed XML, whatever the rows are called', () => {
    const xml = plot(merged({}, run, [ratio(1, { name: 'a < b & "c" > d' })]));
    expect(() => wellFormed(xml)).not.to.throw();
    expect(xml).to.include('a &lt; b &amp; &quot;c&quot; &gt; d');
    expect(() => wellFormed('<svg><g></svg></g>')).to.throw();
    expect(() => wellFormed('<svg>a < b</svg>')).to.throw();
  });

  it('has a bar for each row with a goal that was measured, and for no other', () => {
    const xml = plot(
      merged({}, run, [ratio(2), plainRow(head, [1]), leftOutRow({ ...head, goal: 1 }, 'no gcc'), ratio(0.5)]),
    );
    expect(xml.match(/<rect [^>]*class="met"/g)).to.have.length(1);
    expect(xml.match(/<rect [^>]*class="missed"/g)).to.have.length(1);
  });

  it('draws what is better than its goal beyond it, whichever way better lies', () => {
    expect(ofGoal(ratio(2))).to.equal(2);
    expect(ofGoal(ratio(2, { wanted: '<=' }))).to.equal(0.5);
    expect(ofGoal(boundRow({ ...head, goal: 1 }, [0.25]))).to.equal(4);
    expect(ofGoal(boundRow({ ...head, goal: 1, wanted: '=' }, [1.25]))).to.equal(0.8);
    expect(ofGoal(plainRow(head, [1]))).to.equal(undefined);
  });

  it('ends a bar at the edge that is longer, and says how long it is', () => {
    const widths = (of: number): string | undefined =>
      /<rect x="\d+" [^>]*width="([\d.]+)"/.exec(plot(merged({}, run, [ratio(of)])))?.[1];
    expect(widths(30)).to.equal(widths(2));
    expect(widths(1)).not.to.equal(widths(2));
    expect(plot(merged({}, run, [ratio(30)]))).to.include('30× →');
  });
});
