import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { type Node, type SourceFile, type Statement, SyntaxKind } from 'typescript/unstable/ast';
import {
  isClassDeclaration,
  isExportAssignment,
  isExportDeclaration,
  isFunctionDeclaration,
  isIdentifier,
  isImportDeclaration,
  isLiteralTypeNode,
  isNamedExports,
  isStringLiteral,
} from 'typescript/unstable/ast/is';
import { withProject } from './typescript.js';

/** What the rules on layers need to know of a source file. */
export interface Source {
  /** From the project's folder, with `/`. */
  readonly path: string;
  /**
   * What it imports in any form, types and `import()` of a literal included: a source file by its path, anything else as it is
   * written (`rxjs`, `node:fs`).
   */
  readonly imports: readonly string[];
  /** Those of `imports` that are there when the program runs: `import type` and what is like it leaves nothing behind. */
  readonly loads: readonly string[];
  readonly hasDefaultExport: boolean;
  /** Whether it exports anything straight from another module (`export … from`). */
  readonly reExports: boolean;
}

const exportsDefault = (statement: Statement): boolean => {
  if (isClassDeclaration(statement) || isFunctionDeclaration(statement)) {
    return statement.modifiers?.some(({ kind }) => kind === SyntaxKind.DefaultKeyword) ?? false;
  }
  if (!isExportDeclaration(statement)) return isExportAssignment(statement);
  const names = statement.exportClause;
  return (
    names !== undefined &&
    isNamedExports(names) &&
    names.elements.some(({ name }) => isIdentifier(name) && name.text === 'default')
  );
};

/** Whether the compiler takes out the statement, or the type, in which a module is named. */
const isOfTypes = ({ parent }: Node): boolean => {
  if (isImportDeclaration(parent)) return parent.importClause?.phaseModifier === SyntaxKind.TypeKeyword;
  return isExportDeclaration(parent) ? parent.isTypeOnly : isLiteralTypeNode(parent);
};

const asSource = (root: string, path: string, file: SourceFile, self: ReadonlyMap<string, string>): Source => {
  const resolved = (specifier: string): string => {
    if (!specifier.startsWith('.')) return self.get(specifier) ?? specifier;
    return relative(root, join(root, dirname(path), specifier)).replace(/\.js$/, '.ts');
  };
  const modules = file.imports.filter(isStringLiteral);
  return {
    path,
    imports: [...new Set(modules.map(({ text }) => resolved(text)))],
    loads: [...new Set(modules.filter((node) => !isOfTypes(node)).map(({ text }) => resolved(text)))],
    hasDefaultExport: file.statements.some(exportsDefault),
    reExports: file.statements.some((s) => isExportDeclaration(s) && s.moduleSpecifier !== undefined),
  };
};

interface Manifest {
  readonly name?: string;
  readonly exports?: Readonly<Record<string, string | { readonly default: string }>>;
}

/** The package's own names (`splitring`, `splitring/machine`), and the source files that they stand for. */
const ownEntries = (root: string): ReadonlyMap<string, string> => {
  const path = join(root, 'package.json');
  if (!existsSync(path)) return new Map();
  const { name, exports = {} } = JSON.parse(readFileSync(path, 'utf8')) as Manifest;
  return new Map(
    Object.entries(exports).flatMap(([entry, target]) =>
      typeof target === 'string'
        ? []
        : [[`${name}${entry.slice(1)}`, target.default.replace('./dist/', '').replace(/\.js$/, '.ts')]],
    ),
  );
};

/** The sources that the tsconfig.json in `root` names, as TypeScript's own parser reads them. */
export const sourcesOf = (root: string): readonly Source[] => {
  const self = ownEntries(root);
  return withProject(join(root, 'tsconfig.json'), ({ program, rootFiles }) =>
    rootFiles.flatMap((name) => {
      const file = program.getSourceFile(name);
      return file === undefined ? [] : [asSource(root, relative(root, name), file, self)];
    }),
  );
};
