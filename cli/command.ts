import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Command, type CommanderError, Option } from 'commander';
import { messageOf, UsageError } from './errors.js';
import { type MachineDefinition, type MachineOptions, type OptionValues, wholeNumber } from './machine.js';
import { findMachine, listOfMachines, machineNames } from './machines.js';
import { platformNames, platformOf } from './platforms.js';
import type { TerminalOutput } from './terminal-output.js';

/** Seeds that are chosen are short enough to be typed. */
const CHOSEN_SEEDS = 1_000_000;

const version = (): string => {
  const manifest: unknown = JSON.parse(readFileSync(new URL(import.meta.resolve('splitring/package.json')), 'utf8'));
  return String((manifest as { readonly version?: unknown }).version);
};

/** Commander's errors in our words: one line, and where to look further. */
const refusal =
  (name: string) =>
  (error: CommanderError): never => {
    if (error.exitCode === 0) throw error;
    throw new UsageError(`${messageOf(error).replace(/^error: /, '')}; see ${name} --help`);
  };

/** A command that throws where commander would end the process. */
const commandOf = (name: string): Command =>
  new Command(name)
    .exitOverride(refusal(name))
    .configureOutput({ outputError: () => {} })
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false);

const seedOption = (): Option =>
  new Option('--seed <N>', 'repeat the run that had this seed, event for event (default: one by chance)').argParser(
    parsing('seed', wholeNumber({ max: 0xffffffff })),
  );

const platformOption = (): Option =>
  new Option('--platform <NAME>', `where the domains run: ${platformNames.join(', ')}`).default('local');

/** An option's `parse`, whose errors name the option and its value. */
const parsing =
  (name: string, parse: (text: string) => unknown) =>
  (text: string): unknown => {
    try {
      return parse(text);
    } catch (error) {
      throw new UsageError(`--${name} ${JSON.stringify(text)}: ${messageOf(error)}`);
    }
  };

interface Declared {
  readonly name: string;
  readonly option: Option;
}

const declaredOptions = (options: MachineOptions): readonly Declared[] =>
  Object.entries(options).map(([name, declared]) => {
    if (declared.value === undefined) return { name, option: new Option(`--${name}`, declared.description) };
    const option = new Option(`--${name} <${declared.value}>`, declared.description);
    option.argParser(parsing(name, declared.parse));
    if (declared.default !== undefined) option.default(declared.default);
    return { name, option };
  });

/** How a shell would be told an argument. */
const quoted = (arg: string): string => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`);

/** What a command does to end the process with. */
interface Surroundings {
  readonly out: TerminalOutput;
  readonly interrupted: Promise<never>;
}

/** A machine's own look at its options. @throws UsageError */
const checked = async (definition: MachineDefinition, options: OptionValues<MachineOptions>): Promise<void> => {
  try {
    await definition.check?.(options);
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
};

const runNamed = async (
  machine: string,
  args: readonly string[],
  before: { readonly seed?: number; readonly platform: string },
  { out, interrupted }: Surroundings,
): Promise<boolean> => {
  const definition: MachineDefinition = await Promise.race([interrupted, findMachine(machine)]);
  const command = commandOf(`splitring run ${machine}`).description(definition.summary).usage('[options]');
  const declared = declaredOptions(definition.options);
  for (const { option } of declared) command.addOption(option);
  command.addOption(seedOption()).addOption(platformOption());
  let well = false;
  command.allowExcessArguments().action(async (parsed: Readonly<Record<string, unknown>>) => {
    const [excess] = command.args;
    if (excess !== undefined) throw new UsageError(`unexpected argument ${excess}; see ${command.name()} --help`);
    const values = declared.map(({ name, option }) => [
      name,
      parsed[option.attributeName()] ?? (option.isBoolean() ? false : undefined),
    ]);
    const options: OptionValues<MachineOptions> = Object.fromEntries(values);
    const given = command.getOptionValueSource('platform') === 'default' ? before.platform : String(parsed.platform);
    const platform = platformOf(given);
    const seed = typeof parsed.seed === 'number' ? parsed.seed : (before.seed ?? randomInt(CHOSEN_SEEDS));
    await Promise.race([interrupted, checked(definition, options)]);
    const repeatable = parsed.seed === undefined ? [...args, '--seed', String(seed)] : args;
    out.line(out.style('bold', `$ ${['splitring', 'run', machine, ...repeatable].map(quoted).join(' ')}`));
    const { runMachine } = await import('./run-machine.js');
    well = await runMachine({ definition, options, platform, seed, out, interrupted });
  });
  await command.parseAsync([...args], { from: 'user' });
  return well;
};

/**
 * The command's work for its arguments. Resolves to whether all went well.
 * @throws UsageError, and whatever a machine's run throws; CommanderError with exit code 0 when help or version were asked for
 */
export const runCommand = async (args: readonly string[], surroundings: Surroundings): Promise<boolean> => {
  let well = false;
  const command = commandOf('splitring')
    .description('Runs Xen split drivers, on a Xen of its own.')
    .version(version(), '--version', 'show the version')
    .enablePositionalOptions()
    .configureHelp({ subcommandTerm: (sub) => `${sub.name()} MACHINE` });
  command.addHelpText('after', `\nMachines: ${machineNames().join(', ')}. See splitring run --help.`);
  const run = command
    .command('run')
    .description('boot a machine: one of the examples by name, or a module by its path');
  run
    .usage('[options] MACHINE [options of the machine]')
    .argument('[MACHINE]')
    .argument('[options...]')
    .configureHelp({ visibleArguments: () => [] })
    .exitOverride(refusal('splitring run'))
    .helpOption(false)
    .passThroughOptions()
    .addOption(seedOption())
    .addOption(platformOption())
    .option('-h, --help', 'show this help; after MACHINE, that of its options')
    .action(async (machine: string | undefined, rest: readonly string[], options: RunOptions) => {
      if (options.help === true) {
        run.addHelpText('after', `\n${await listOfMachines()}`);
        run.outputHelp();
        well = true;
      } else if (machine === undefined) {
        throw new UsageError(
          'splitring run needs a machine; name one of these, or a module by its path',
          await listOfMachines(),
        );
      } else {
        platformOf(options.platform);
        well = await runNamed(machine, rest, options, surroundings);
      }
    });
  if (args.length === 0) throw new UsageError('a command is missing; see splitring --help');
  await command.parseAsync([...args], { from: 'user' });
  return well;
};

interface RunOptions {
  readonly help?: true;
  readonly seed?: number;
  readonly platform: string;
}
