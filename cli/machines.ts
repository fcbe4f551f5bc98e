import { existsSync, readdirSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { messageOf, RunError, UsageError } from './errors.js';
import type { MachineDefinition } from './machine.js';

/** The compiled examples: each folder with a machine.js is a machine by that name. */
const examples = new URL('../examples/', import.meta.url);

const moduleOf = (name: string): URL => new URL(`${name}/machine.js`, examples);

/** The names of the machines that come along. */
export const machineNames = (): readonly string[] =>
  readdirSync(examples, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(moduleOf(entry.name)))
    .map(({ name }) => name)
    .sort();

/** The machines that come along, one line each with what it does. */
export const listOfMachines = async (): Promise<string> => {
  const names = machineNames();
  const width = Math.max(...names.map((name) => name.length));
  const lines = names.map(async (name) => `  ${name.padEnd(width)}  ${(await load(name, moduleOf(name))).summary}`);
  return ['Machines:', ...(await Promise.all(lines))].join('\n');
};

/**
 * The machine of a name, or of a module by its path; or of several names with + between them, which run one after another on one machine.
 * @throws UsageError when there is none, or it is TypeScript that this Node does not run; RunError when it does not load or is no machine
 */
export const findMachine = async (machine: string): Promise<MachineDefinition> => {
  const names = machine.split('+');
  if (names.length === 1 || !names.every((name) => /^[\w-]+$/.test(name))) return findOne(machine);
  return inTurn(names, await Promise.all(names.map(findOne)));
};

/** @throws RunError when two have the same option */
const inTurn = (names: readonly string[], machines: readonly MachineDefinition[]): MachineDefinition => {
  const options: Record<string, MachineDefinition['options'][string]> = {};
  for (const one of machines) {
    for (const [name, option] of Object.entries(one.options)) {
      if (name in options)
        throw new RunError(`${names.join(' and ')} both have an option --${name}: run them by themselves`);
      options[name] = option;
    }
  }
  return {
    summary: machines.map(({ summary }) => summary).join('; '),
    options,
    async check(values) {
      for (const one of machines) await one.check?.(values);
    },
    async run(run) {
      for (const one of machines) if (!(await one.run(run))) return false;
      return true;
    },
  };
};

const findOne = async (machine: string): Promise<MachineDefinition> => {
  if (!/[/\\]|\.[cm]?[jt]s$/.test(machine)) {
    if (machineNames().includes(machine)) return load(machine, moduleOf(machine));
    throw new UsageError(
      `there is no machine ${machine}; name one of these, or a module by its path`,
      await listOfMachines(),
    );
  }
  const path = resolve(machine);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new UsageError(
      `there is no module ${machine}: name a compiled module, or one of ${machineNames().join(', ')}`,
    );
  if (stat.isDirectory()) throw new UsageError(`${machine} is a folder: name the module in it`);
  if (/\.[cm]?ts$/.test(machine) && !runsTypeScript()) {
    throw new UsageError(
      `${machine} is TypeScript, which Node ${process.versions.node} does not run: compile it and name the .js, or use Node 22.18 or newer`,
    );
  }
  return load(machine, pathToFileURL(path));
};

/** Whether this Node strips types; Node 20 does not know the question. */
const runsTypeScript = (): boolean => 'typescript' in process.features && Boolean(process.features.typescript);

const isMachine = (candidate: unknown): candidate is MachineDefinition => {
  if (typeof candidate !== 'object' || candidate === null) return false;
  const { summary, options, run } = candidate as Partial<Record<keyof MachineDefinition, unknown>>;
  return typeof summary === 'string' && typeof options === 'object' && options !== null && typeof run === 'function';
};

const load = async (machine: string, url: URL): Promise<MachineDefinition> => {
  let module: Readonly<Record<string, unknown>>;
  try {
    module = await import(url.href);
  } catch (error) {
    const kind = error instanceof Error && error.name !== 'Error' ? `${error.name}: ` : '';
    // Node shows the place of a syntax error, which it does not tell us.
    const where = error instanceof SyntaxError ? `; node ${machine} shows where` : '';
    throw new RunError(`${machine} does not load: ${kind}${messageOf(error)}${where}`);
  }
  if (isMachine(module.machine)) return module.machine;
  throw new RunError(
    module.machine === undefined
      ? `${machine} exports no machine: write \`export const machine = defineMachine({ summary, options }, { run })\`, with defineMachine from splitring/machine`
      : `${machine} exports a machine that is none: make it with defineMachine of splitring/machine`,
  );
};
