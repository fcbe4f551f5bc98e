import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import { projectRoot, withProject } from './support/typescript.js';

/** Something that must not compile: what a comment says of the line below it. */
interface Misuse {
  readonly rule: string;
  readonly line: number;
}

/** What the compiler has against a line, as `TS2322: Type …`. */
interface Complaint {
  readonly file: string;
  readonly line: number;
  readonly code: number;
  readonly text: string;
}

const folder = join(projectRoot, 'spec/types');
const EXPECTED = /^\s*\/\/ @ts-expect-error\b ?/;

const misuses = (text: string): readonly Misuse[] => {
  const lines = text.split('\n');
  return lines.flatMap((comment, i) => {
    if (!EXPECTED.test(comment)) return [];
    const below = lines.findIndex((line, at) => at > i && !/^\s*(\/\/|$)/.test(line));
    return [{ rule: comment.replace(EXPECTED, ''), line: below + 1 }];
  });
};

/** What the compiler has against spec/types when its files' texts are changed by `edit`. */
const complaints = (edit: (text: string) => string): readonly Complaint[] =>
  withProject(
    join(folder, 'tsconfig.json'),
    ({ program }) =>
      [
        ...program.getProgramDiagnostics(),
        ...program.getSyntacticDiagnostics(),
        ...program.getSemanticDiagnostics(),
      ].map(({ fileName = '', pos, code, text }) => {
        const line = (program.getSourceFile(fileName)?.getLineAndCharacterOfPosition(pos).line ?? -1) + 1;
        return { file: basename(fileName), line, code, text };
      }),
    (path) => (path.startsWith(folder) && path.endsWith('.ts') ? edit(readFileSync(path, 'utf8')) : undefined),
  );

/** A line that is only ill-written fails for a reason that has nothing to do with the rule. */
const isSlip = (code: number): boolean => code < 1200 || [2304, 2305, 2307, 2552, 2724].includes(code);

const files = readdirSync(folder).filter((name) => name.endsWith('.ts'));

describe('misuse', () => {
  it('is all that keeps spec/types from compiling', () => {
    expect(complaints((text) => text)).to.deep.equal([]);
  });

  describe('without the comments that expect it', () => {
    let found: readonly Complaint[];

    before(() => {
      found = complaints((text) => text.replaceAll('@ts-expect-error', 'expected:'));
    });

    for (const file of files) {
      const expected = misuses(readFileSync(join(folder, file), 'utf8'));

      for (const { rule, line } of expected) {
        it(`is refused: ${rule} (${file}:${line})`, () => {
          expect(rule).not.to.equal('');
          const here = found.filter((complaint) => complaint.file === file && complaint.line === line);
          expect(here).to.have.length(1);
          expect(here.filter(({ code }) => isSlip(code))).to.deep.equal([]);
        });
      }

      it(`is what ${file} is about`, () => {
        expect(expected).not.to.deep.equal([]);
        const elsewhere = found.filter((complaint) => complaint.file === file).map(({ line }) => line);
        expect([...new Set(elsewhere)]).to.have.members(expected.map(({ line }) => line));
      });
    }
  });
});
