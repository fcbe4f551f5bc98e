import type { Results } from './results.js';
import { figureOf, isLeftOut, type Row, wantedOf } from './rows.js';

const WIDTH = 1110;
const LEFT = 560;
const RIGHT = 130;
const LINE = 22;
const BAR = 14;
const TOP = 64;
/** Times the goal, at the right edge; a longer bar ends there, and its label says how long it is. */
const MOST = 2;

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** How far a row is beyond its goal: above 1 it is better than the goal, whichever way better lies; undefined without a goal. */
export const ofGoal = (row: Row): number | undefined => {
  const { goal } = row;
  if (goal === undefined || isLeftOut(row)) return undefined;
  const figure = figureOf(row);
  switch (wantedOf(row)) {
    case '>=':
      return figure / goal;
    case '=':
      return Math.min(figure, goal) / Math.max(figure, goal);
    default:
      return goal / figure;
  }
};

const x = (times: number): number => LEFT + (Math.min(times, MOST) / MOST) * (WIDTH - LEFT - RIGHT);

const times = (of: number): string => `${of >= 10 ? of.toFixed(0) : of.toFixed(2)}×`;

const text = (at: number, y: number, kind: string, content: string): string =>
  `<text x="${at.toFixed(1)}" y="${y}" class="${kind}">${escaped(content)}</text>`;

/** A row may stand there several times, each against another peer. */
const label = ({ name, peer, cores }: Row): string =>
  `${name}${peer === undefined ? '' : `, of ${peer}`}${cores === 2 ? ' (two cores)' : ''}`;

const bar = (row: Row, of: number, y: number): readonly string[] => {
  const kind = row.met === true ? 'met' : 'missed';
  return [
    text(LEFT - 8, y + 11, 'name', label(row)),
    `<rect x="${LEFT}" y="${y}" width="${(x(of) - LEFT).toFixed(1)}" height="${BAR}" rx="2" class="${kind}"/>`,
    text(x(of) + 6, y + 11, 'value', `${times(of)}${of > MOST ? ' →' : ''}${row.met === true ? '' : ' missed'}`),
  ];
};

/** One bar for each row that has a goal, relative to it, grouped by suite; as SVG that is readable on light and on dark. */
export const plot = (results: Results): string => {
  const parts: string[] = [];
  let y = TOP;
  for (const [suite, { rows }] of Object.entries(results)) {
    const bars = rows.flatMap((row) => {
      const of = ofGoal(row);
      return of === undefined ? [] : [{ row, of }];
    });
    if (bars.length === 0) continue;
    parts.push(text(16, y + 11, 'suite', suite));
    y += LINE;
    for (const { row, of } of bars) {
      parts.push(...bar(row, of, y));
      y += LINE;
    }
    y += LINE / 2;
  }
  const bottom = y - LINE / 2;
  const axis = [0, 0.5, 1, 1.5, MOST].flatMap((at) => [
    `<line x1="${x(at)}" y1="${TOP - 10}" x2="${x(at)}" y2="${bottom}" class="${at === 1 ? 'goal' : 'grid'}"/>`,
    text(x(at), TOP - 16, at === 1 ? 'tick at-goal' : 'tick', at === 1 ? 'goal' : `${at}×`),
  ]);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + 16}" width="${WIDTH}" height="${bottom + 16}" role="img" aria-label="Each row of the benchmarks relative to its goal">
<style>
svg { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
.back { fill: #ffffff } text { fill: #1f2328 } .name, .value { font-size: 12px } .name { text-anchor: end }
.suite { font-weight: 600; font-size: 13px } .title { font-weight: 600; font-size: 15px } .tick { text-anchor: middle; fill: #59636e }
.at-goal { font-weight: 600; fill: #1f2328 } .met { fill: #2f81c7 } .missed { fill: #d9722a }
.grid { stroke: #d1d9e0 } .goal { stroke: #1f2328; stroke-dasharray: 4 3 }
.value { stroke: #ffffff; stroke-width: 4px; paint-order: stroke }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .back { fill: #0d1117 } .tick { fill: #9198a1 } .at-goal { fill: #e6edf3 } .met { fill: #4493d8 } .missed { fill: #e8894a }
.grid { stroke: #30363d } .goal { stroke: #e6edf3 } .value { stroke: #0d1117 }
}
</style>
<rect width="100%" height="100%" class="back"/>
${text(16, 24, 'title', 'Relative to the goal: longer is better')}
${[...axis, ...parts].join('\n')}
</svg>
`;
};
