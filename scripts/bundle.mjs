// The JavaScript of the published package. As a program it writes the bundle, and a package.json for it, into another folder:
//   node scripts/bundle.mjs FOLDER [MODULE…]      MODULE: one of dist/ that is to be in it too
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { at, jsonOf, NotReady, root, say, since } from './checkout.mjs';
import { keysOf, sharedCode, withSharedScript } from './shared-script.mjs';

/** Node's own modules, packages that a bundle would not make any faster, and one that comes with a binary. */
const EXTERNAL = ['node:*', 'commander', 'koffi'];

const modulesBelow = (dir) =>
  readdirSync(at(dir), { withFileTypes: true }).flatMap((entry) => {
    const path = `${dir}/${entry.name}`;
    if (entry.isDirectory()) return modulesBelow(path);
    return entry.name.endsWith('.js') ? [path] : [];
  });

/** The folders of dist/ that are published: the first part of each path under `files`. */
const publishedFolders = ({ files }) =>
  [...new Set(files.map((path) => /^dist\/([^/.]+)/.exec(path)?.[1]))]
    .filter((folder) => folder !== undefined && existsSync(at('dist', folder)))
    .map((folder) => `dist/${folder}`);

/** The modules that a compiled one names by their URL, and Node or a worker loads: they keep their names. */
const loadedByUrl = (path, text) => [
  ...[...text.matchAll(/new URL\(['"]([^'"]+\.js)['"], import\.meta\.url\)/g)].map(([, to]) =>
    posix.join(posix.dirname(path), to),
  ),
  ...[...text.matchAll(/['"](dist\/[^'"]+\.js)['"]/g)].map(([, to]) => to),
];

/** All modules that somebody outside the bundle may load: they keep their places, and what they share goes into chunks. */
const entryPoints = (manifest, modules, more) => {
  const exported = Object.values(manifest.exports).map((target) => target.default?.slice('./'.length));
  const named = modules.flatMap((path) => loadedByUrl(path, readFileSync(at(path), 'utf8')));
  const machines = modules.filter((path) => /^dist\/examples\/[^/]+\/machine\.js$/.test(path));
  const entries = new Set([...exported.filter(Boolean), 'dist/cli/main.js', ...named, ...machines, ...more]);
  const missing = [...entries].find((path) => !existsSync(at(path)));
  if (missing !== undefined)
    throw new NotReady(`the bundle lacks ${missing}: package.json, or a URL in the code, names it`);
  return [...entries].sort();
};

/** A module that asks where it lies must come to lie where it lay. */
const checkPlaces = ({ outputs }) => {
  for (const [output, { inputs }] of Object.entries(outputs)) {
    for (const input of Object.keys(inputs)) {
      if (dirname(input) === dirname(output)) continue;
      if (!readFileSync(at(input), 'utf8').includes('import.meta.url')) continue;
      throw new NotReady(
        `${input} uses import.meta.url, but the bundle puts it into ${output}: start from import.meta.resolve('splitring/package.json') instead`,
      );
    }
  }
};

/**
 * esbuild writes `var A = class _A` for a class that names itself in its body, and `class A2` for one that a decorator returns; `A` is
 * as good there, and stays its name.
 */
const withClassNames = (text) =>
  [...text.matchAll(/\b([A-Za-z$][\w$]*) = class (_\1|\1\d+)\b/g)].reduce(
    (renamed, [, name, inner]) =>
      renamed.replaceAll(new RegExp(`(?<![\\w$.#])${inner.replaceAll('$', '\\$')}(?![\\w$])`, 'g'), name),
    text,
  );

/** Names that some module declares by `let`, or `var`: they may be assigned to again. */
const variablesOf = (modules) =>
  new Set(
    modules.flatMap((path) =>
      [...readFileSync(at(path), 'utf8').matchAll(/^(?:export )?(?:let|var) ([\w$]+)/gm)].map(([, name]) => name),
    ),
  );

/**
 * esbuild writes `var` for each constant of a module; V8 takes a `const` for the constant that it is when it compiles what uses it,
 * and requests go through a ring some 10 % quicker. Only for our own modules, which lie in parts that their paths head.
 */
const withConstants = (text, variables) =>
  text
    .split(/^(?=\/\/ \S+\.m?js$)/m)
    .map((part) =>
      part.startsWith('// dist/')
        ? part.replaceAll(/^var ([A-Za-z$_][\w$]*?)(\d*) = /gm, (declaration, name, number) =>
            variables.has(name) || variables.has(name + number) ? declaration : `const ${name}${number} = `,
          )
        : part,
    )
    .join('');

/** What the classes of a module are called. */
const classNames = (text) =>
  [...text.matchAll(/\bclass (?!extends\b)([\w$]+)|\b([\w$]+) = class(?= extends\b| ?\{)/g)].map(
    ([, own, assigned]) => own ?? assigned,
  );

const classesOf = (modules) => new Set(modules.flatMap((path) => classNames(readFileSync(at(path), 'utf8'))));

/** A class that shares its name with something else in a chunk gets a number there. Its name is in messages, so it keeps that. */
const withNames = (text, known) =>
  text.replaceAll(
    /\b(?:class ([A-Za-z$][\w$]*?)(\d+)|([A-Za-z$][\w$]*?)(\d+) = class)(?: extends [\w$.]+)? \{/g,
    (head, declared, its, assigned, number) => {
      const name = declared ?? assigned;
      return known.has(name) && !known.has(name + (its ?? number)) ? `${head}\n  static name = "${name}";` : head;
    },
  );

/** No class may be called otherwise than in its module. */
const checkNames = (outputs, known) => {
  for (const { path, text } of outputs) {
    for (const name of classNames(text)) {
      const own = /^_?(.+?)\d*$/.exec(name)?.[1];
      if (known.has(name) || !known.has(own)) continue;
      if (new RegExp(`\\b${name.replaceAll('$', '\\$')}\\b.*\\{\\n  static name = "${own}";`).test(text)) continue;
      throw new NotReady(`the bundle calls the class ${own} ${name} in ${path}: something else is called ${own} too`);
    }
  }
};

/** The licences of the packages whose code is in the bundle, as they ask for. */
const licences = ({ outputs }) => {
  const inputs = Object.values(outputs).flatMap((output) => Object.keys(output.inputs));
  const packages = new Set(inputs.map((path) => /.*(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]));
  return [...packages]
    .filter((name) => name !== undefined)
    .sort()
    .map((name) => {
      const folder = at('node_modules', name);
      const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
      const { version, license } = jsonOf(join(folder, 'package.json'));
      const text = file === undefined ? `Licence: ${license}` : readFileSync(join(folder, file), 'utf8').trim();
      return `${name} ${version}\n\n${text}\n`;
    })
    .join(`\n${'-'.repeat(80)}\n\n`);
};

/** rxjs offers Node only CommonJS, of which nothing can be left out; reflect-metadata's whole brings a Map of its own. */
const resolution = {
  name: 'resolution',
  setup: (build) => {
    build.onResolve({ filter: /^reflect-metadata$/ }, ({ resolveDir, kind }) =>
      build.resolve('reflect-metadata/lite', { resolveDir, kind }),
    );
  },
};

/**
 * Has our modules import from rxjs's own files what they import from rxjs: its index leads to all of them, and esbuild would put all
 * that `splitring/rxjs` offers into the chunk that each worker loads.
 */
const rxjsFiles = {
  name: 'rxjs files',
  setup: (build) => {
    const folder = at('node_modules/rxjs/dist/esm');
    const index = readFileSync(join(folder, 'index.js'), 'utf8');
    const files = new Map(
      [...index.matchAll(/^export \{ ([^}]+) \} from '([^']+)';/gm)].flatMap(([, names, file]) =>
        names.split(', ').map((name) => [name.split(' as ').at(-1), name.includes(' as ') ? undefined : file]),
      ),
    );
    build.onLoad({ filter: /\.js$/ }, ({ path }) => {
      if (path.includes('node_modules')) return undefined;
      const text = readFileSync(path, 'utf8');
      if (!text.includes("from 'rxjs'")) return undefined;
      const contents = text.replaceAll(/^import \{ ([^}]+) \} from 'rxjs';/gm, (whole, names) => {
        const each = names
          .split(/,\s*/)
          .filter(Boolean)
          .map((name) => [name, files.get(name.split(' as ')[0])]);
        if (each.some(([, file]) => file === undefined)) return whole;
        return each.map(([name, file]) => `import { ${name} } from ${JSON.stringify(join(folder, file))};`).join(' ');
      });
      return { contents };
    });
  },
};

/**
 * What the published package's JavaScript is made of: its modules, rxjs, inversify and reflect-metadata in one graph, so that each
 * class is there once in a process whichever entry it comes from, and few files have to be loaded. Names of classes stay.
 * @param more other modules of dist/ that are to be entries
 * @throws NotReady when a module cannot be moved into it
 */
const bundleOf = async (more = []) => {
  const { build } = await import('esbuild');
  const manifest = jsonOf(at('package.json'));
  const modules = [...publishedFolders(manifest).flatMap(modulesBelow), ...more];
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: entryPoints(manifest, modules, more),
    outbase: 'dist',
    outdir: 'dist',
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'neutral',
    target: `node${manifest.engines.node.replace(/^\D*/, '')}`,
    conditions: ['es2015', 'module', 'import'],
    mainFields: ['module', 'main'],
    external: EXTERNAL,
    plugins: [resolution, sharedCode, rxjsFiles],
    legalComments: 'none',
    logLevel: 'warning',
    write: false,
    metafile: true,
  });
  checkPlaces(metafile);
  const variables = variablesOf(Object.keys(metafile.inputs).filter((path) => path.startsWith('dist/')));
  const known = classesOf(modules);
  const outputs = outputFiles.map(({ path, text }) => ({
    path: relative(root, path).split(sep).join('/'),
    text: withNames(withConstants(withClassNames(text), variables), known),
  }));
  checkNames(outputs, known);
  const shared = withSharedScript(outputs, metafile, loadedInThreads(metafile), variables);
  return {
    modules,
    inputs: Object.keys(metafile.inputs).filter((path) => path.startsWith('dist/')),
    inScript: keysOf(loadedInThreads(metafile)),
    outputs: [...shared, { path: 'dist/licences.txt', text: licences(metafile) }],
  };
};

const write = (folder, outputs) => {
  for (const { path, text } of outputs) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
};

/** What the threads of domains load: their own program, and the drivers that come with the package. */
const loadedInThreads = ({ outputs }) => [
  'dist/platform/threads/worker.js',
  ...Object.keys(outputs).filter((path) => /^dist\/drivers\/[^/]+\/module\.js$/.test(path)),
];

/** Puts the bundle in the place of the compiled modules in dist/; the types stay. Returns the paths of what it consists of. */
export const bundle = async () => {
  const start = performance.now();
  const { modules, outputs } = await bundleOf();
  rmSync(at('dist/.stamp'), { force: true }); // dist/ is not what the compiler makes any more: the next command compiles
  for (const path of modules) {
    rmSync(at(path));
    rmSync(at(`${path}.map`), { force: true });
  }
  write(root, outputs);
  say(`bundled in ${since(start)}`);
  return outputs.map(({ path }) => path);
};

/**
 * Writes the bundle into a folder that has nothing in it, with a package.json.
 * @param more other modules of dist/ that are to be in it
 * @returns the modules of dist/ that it was made of, and the keys of those in the script
 */
export const bundleInto = async (folder, more) => {
  const { outputs, inputs, inScript } = await bundleOf(more);
  write(folder, [...outputs, { path: 'package.json', text: readFileSync(at('package.json'), 'utf8') }]);
  return { inputs, inScript };
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder, ...more] = process.argv.slice(2);
  await bundleInto(folder, more);
}
