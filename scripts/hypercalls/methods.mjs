import { join, relative } from 'node:path';
import { SyntaxKind } from 'typescript/unstable/ast';
import { isClassDeclaration, isMethodDeclaration, isPrivateIdentifier } from 'typescript/unstable/ast/is';
import { API } from 'typescript/unstable/sync';
import { at } from '../checkout.mjs';

/** The text of a `/** … *\/` before a node, its lines joined where a paragraph goes on; '' without one. */
const docOf = (source, node) => {
  const before = source.text.slice(node.pos, node.getStart(source));
  const comment = before.match(/\/\*\*[\s\S]*?\*\//g)?.at(-1) ?? '';
  return comment
    .replace(/^\/\*\*|\*\/$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trim())
    .join('\n')
    .trim();
};

/** A method's name, parameters and result as they are written, without its body. */
const signatureOf = (source, method) => {
  const from = method.name.getStart(source);
  const to = method.body === undefined ? method.end : method.body.getStart(source);
  return source.text
    .slice(from, to)
    .replace(/;\s*$/, '')
    .replace(/\s+/g, ' ')
    .replace(/([([]) /g, '$1')
    .replace(/,? ([)\]])/g, '$1')
    .trim();
};

/** `.close`, `[Symbol.dispose]`. */
const nameOf = (source, { name }) =>
  name.text === undefined ? source.text.slice(name.getStart(source), name.end) : `.${name.text}`;

const isHidden = (method) =>
  isPrivateIdentifier(method.name) ||
  (method.modifiers ?? []).some(
    ({ kind }) => kind === SyntaxKind.PrivateKeyword || kind === SyntaxKind.ProtectedKeyword,
  );

/**
 * The public methods that have a doc comment, of every class in some folders, as TypeScript's own parser reads them:
 * `{ path, owner, ownerDoc, name, signature, doc }`, the name with its dot.
 */
export const methodsOf = (folders) => {
  const config = at('tsconfig.json');
  const root = at('.');
  const api = new API({ cwd: root });
  try {
    const project = api.updateSnapshot({ openProjects: [config] }).getProject(config);
    if (project === undefined) throw new Error(`TypeScript finds no project at ${config}`);
    const { program, rootFiles } = project;
    return rootFiles
      .map((file) => ({ file, path: relative(root, file) }))
      .filter(({ path }) => folders.some((folder) => path.startsWith(join(folder, '/'))))
      .sort((a, b) => (a.path < b.path ? -1 : 1))
      .flatMap(({ file, path }) => {
        const source = program.getSourceFile(file);
        return source.statements.filter(isClassDeclaration).flatMap((owner) =>
          owner.members
            .filter((member) => isMethodDeclaration(member) && !isHidden(member))
            .map((method) => ({
              path,
              owner: owner.name.text,
              ownerDoc: docOf(source, owner),
              name: nameOf(source, method),
              signature: signatureOf(source, method),
              doc: docOf(source, method),
            }))
            .filter(({ doc }) => doc !== ''),
        );
      });
  } finally {
    api.close();
  }
};
