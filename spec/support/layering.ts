import type { Source } from './sources.js';

/**
 * A layer: the files whose paths begin with `at`, and what they may import, given as beginnings of paths, packages or `node:`.
 * `*` is any one folder, `=` the one that `*` stands for in `at`. A package is meant without its inner files.
 */
interface Layer {
  readonly at: string;
  readonly may: readonly string[];
}

const control = ['rxjs', 'inversify'];
const abi = ['core/abi/', 'core/errors.ts'];
const domain = [...abi, 'core/domain/', ...control];
const xenbus = [...domain, 'core/xenbus/'];
const xenstore = [...domain, 'xenstore/'];
const entries = [
  'core/index.ts',
  'core/rxjs/index.ts',
  'core/toolstack/index.ts',
  'xenstore/index.ts',
  'drivers/*/index.ts',
  'platform/*/index.ts',
  'contract/index.ts',
  'cli/machine.ts',
];
const anything = ['']; // every path begins with it

/** Who may import whom, as CONTRIBUTING.md has it; the first row that fits a file counts. */
const layers: readonly Layer[] = [
  { at: 'core/index.ts', may: [...xenbus, 'reflect-metadata'] },
  { at: 'core/errors.ts', may: ['core/abi/errno.ts', 'core/abi/gntst.ts'] },
  { at: 'core/rxjs/', may: ['rxjs'] },
  { at: 'core/abi/', may: abi },
  { at: 'core/domain/', may: domain },
  { at: 'core/xenbus/', may: xenbus },
  { at: 'core/toolstack/', may: [...xenbus, 'core/toolstack/'] },
  { at: 'core/hypervisor/', may: [...abi, 'core/hypervisor/'] },
  { at: 'xenstore/server', may: [...xenstore, 'node:'] },
  { at: 'xenstore/transports', may: [...xenstore, 'node:'] },
  { at: 'xenstore/persistence', may: [...xenstore, 'node:'] },
  { at: 'xenstore/', may: xenstore },
  { at: 'drivers/*/host/', may: ['drivers/=/', 'core/index.ts', ...control, 'node:'] },
  { at: 'drivers/*/', may: ['drivers/=/', 'core/index.ts', ...control] },
  {
    at: 'platform/xen/',
    may: ['platform/xen/', 'platform/hypervisor/', 'core/', 'xenstore/', ...control, 'koffi', 'node:'],
  },
  { at: 'platform/*/', may: ['platform/=/', 'platform/hypervisor/', 'core/', 'xenstore/', ...control, 'node:'] },
  { at: 'contract/', may: ['contract/', 'core/', 'xenstore/', 'platform/', ...control, 'node:'] },
  { at: 'cli/', may: ['cli/', ...entries, ...control, 'commander', 'node:'] },
  { at: 'examples/*/', may: ['examples/=/', ...entries, ...control, 'node:'] },
  { at: 'bench/', may: anything },
  { at: 'rig/', may: anything },
  { at: 'spec/', may: anything },
];

/** Where a beginning of a path may end: a name ends whole, a package is named and no more. */
const ending = (beginning: string): string => {
  if (/^[a-z-]+$/.test(beginning)) return '$';
  return /[a-z]$/.test(beginning) ? '(?![a-z-])' : '';
};

const pattern = (beginning: string, same = ''): RegExp => {
  const path = beginning.replaceAll('.', '\\.').replace('*', '([^/]+)').replace('=', same);
  return new RegExp(`^${path}${ending(beginning)}`);
};

/** What a file's layer lets it import. */
const allowed = (path: string): readonly RegExp[] | undefined => {
  for (const { at, may } of layers) {
    const found = pattern(at).exec(path);
    if (found !== null) return may.map((beginning) => pattern(beginning, found[1]));
  }
  return undefined;
};

const wrongImports = ({ path, imports }: Source): readonly string[] => {
  const may = allowed(path);
  if (may === undefined) return [`${path} is in no layer`];
  return imports
    .filter((name) => !may.some((beginning) => beginning.test(name)))
    .map((name) => `${path} may not import ${name}`);
};

/** core/index.ts alone brings it in, before any class is decorated. */
const wrongMetadata = ({ path, imports }: Source): readonly string[] =>
  imports.includes('reflect-metadata') && path !== 'core/index.ts' ? [`${path} imports reflect-metadata`] : [];

/** A domain is booted from a module that exports its drivers, and as default its bindings; nothing else has a use for either. */
const wrongExports = ({ path, hasDefaultExport, reExports }: Source): readonly string[] => [
  ...(hasDefaultExport && !/^examples\/|(^|[/.])module\.ts$/.test(path) ? [`${path} has a default export`] : []),
  ...(reExports && !/^examples\/|(^|\/)(index|(.*\.)?module)\.ts$/.test(path)
    ? [`${path} exports what is another file’s`]
    : []),
];

/** Files that load each other in a circle, each circle once; types may, since some are recursive. */
const circlesOf = (sources: readonly Source[]): readonly string[] => {
  const loads = new Map(sources.map((source) => [source.path, source.loads]));
  const circles: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) circles.push([...trail.slice(trail.indexOf(path)), path].join(' → '));
    else if (loads.has(path) && !done.has(path)) {
      for (const next of loads.get(path) ?? []) visit(next, [...trail, path]);
      done.add(path);
    }
  };
  for (const { path } of sources) visit(path, []);
  return circles.map((circle) => `${circle} is a circle`);
};

/** Every way in which the sources break the rules on who imports and exports what, one line each. */
export const violations = (sources: readonly Source[]): readonly string[] => [
  ...sources.flatMap((source) => [...wrongImports(source), ...wrongMetadata(source), ...wrongExports(source)]),
  ...['core/abi/', 'core/domain/', 'core/hypervisor/'].flatMap((folder) =>
    circlesOf(sources.filter(({ path }) => path.startsWith(folder))),
  ),
];
