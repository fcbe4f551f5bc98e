import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { projectRoot } from './typescript.js';

/** How a script ended: what it told the user on stderr, and what went to stdout. */
export interface Ended {
  readonly code: number | null;
  readonly said: string;
  readonly printed: string;
}

/** How a script ends that found nothing to do. */
export const silent: Ended = { code: 0, said: '', printed: '' };

/** As npm writes its files. */
export const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

const tsc = join(projectRoot, 'node_modules/typescript/bin/tsc');
/** TypeScript's own compiler, which notes each run and waits while there is a file `dawdle`. */
const compiler = `#!/usr/bin/env node
import { appendFileSync, existsSync } from 'node:fs';
appendFileSync('compilations', 'x');
while (existsSync('dawdle')) await new Promise((resolve) => setTimeout(resolve, 10));
process.argv[1] = ${JSON.stringify(tsc)};
await import(${JSON.stringify(pathToFileURL(tsc).href)});
`;

const dependencies = { devDependencies: { typescript: 'file:compiler' } };
const compilerOptions = { module: 'nodenext', target: 'es2022', lib: ['es5'], types: [], rootDir: '.', outDir: 'dist' };
const files: Readonly<Record<string, string>> = {
  'package.json': json({
    name: 'small',
    version: '1.0.0',
    type: 'module',
    engines: { node: '>=20.19' },
    ...dependencies,
  }),
  'package-lock.json': json({
    name: 'small',
    version: '1.0.0',
    lockfileVersion: 3,
    requires: true,
    packages: {
      '': { name: 'small', version: '1.0.0', ...dependencies },
      compiler: { name: 'typescript', version: '1.0.0', dev: true },
      'node_modules/typescript': { resolved: 'compiler', link: true },
    },
  }),
  'compiler/package.json': json({ name: 'typescript', version: '1.0.0', type: 'module' }),
  'compiler/bin/tsc': compiler,
  'tsconfig.json': json({ compilerOptions, include: ['cli'], exclude: ['cli/types'] }),
  'cli/main.ts': 'export const main = 1;\n',
};

/**
 * A checkout of one source with this project's scripts. Its only package is a compiler that lies in its own folder, so that npm
 * installs it without a network.
 */
export class SmallProject {
  readonly #root: string;
  readonly #children: ChildProcess[] = [];

  constructor(root: string) {
    this.#root = root;
    cpSync(join(projectRoot, 'scripts'), this.at('scripts'), { recursive: true });
    for (const [path, text] of Object.entries(files)) this.write(path, text);
  }

  at(path: string): string {
    return join(this.#root, path);
  }

  read(path: string): string {
    return readFileSync(this.at(path), 'utf8');
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    writeFileSync(this.at(path), text);
  }

  remove(path: string): void {
    rmSync(this.at(path), { recursive: true });
  }

  has(path: string): boolean {
    return existsSync(this.at(path));
  }

  /** How often the compiler was started. */
  compilations(): number {
    return this.has('compilations') ? this.read('compilations').length : 0;
  }

  /** Resolves when the compiler has been started `times` times. */
  async compiling(times: number): Promise<void> {
    while (this.compilations() < times) await sleep(10);
  }

  start(script: string, ...args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, [script, ...args], { cwd: this.#root, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.push(child);
    return child;
  }

  /** Runs scripts/ready.mjs to its end. */
  ready(...args: readonly string[]): Promise<Ended> {
    return ended(this.start('scripts/ready.mjs', ...args));
  }

  kill(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }
}

/** Resolves when a script has ended. */
export const ended = async (child: ChildProcess): Promise<Ended> => {
  let said = '';
  let printed = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, said, printed };
};

/** Gives each test of a suite a small project of its own whose package is installed. */
export const smallProjects = (): (() => SmallProject) => {
  let home: string;
  let installed: string;
  let project: SmallProject;

  before(async () => {
    home = mkdtempSync(join(tmpdir(), 'splitring-scripts-'));
    installed = join(home, 'installed');
    const { code, said } = await new SmallProject(installed).ready('--install');
    if (code !== 0) throw new Error(said);
  });
  beforeEach(() => {
    const root = mkdtempSync(join(home, 'project-'));
    cpSync(installed, root, { recursive: true, verbatimSymlinks: true });
    project = new SmallProject(root);
  });
  afterEach(() => project.kill());
  after(() => rmSync(home, { recursive: true }));

  return () => project;
};
