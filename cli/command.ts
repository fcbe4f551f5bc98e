import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { addDebugKeys } from './debug-keys.js';
import { messageOf, refusal, UsageError } from './errors.js';
import type { Interruption } from './interruption.js';
import { type MachineDefinition, type MachineOptions, type OptionValues, wholeNumber } from './machine.js';
import { findMachine, listOfMachines, machineNames } from './machines.js';
import { listOfPlatforms, platformNames, platformOf } from './platforms.js';
import type { TerminalOutput } from './terminal-output.js';
import { addXenCommands } from './xen-commands.js';

/** Seeds that are chosen are short enough to be typed. */
const CHOSEN_SEEDS = 1_000_000;

const version = (): string => {
  const manifest: unknown = JSON.parse(readFileSync(new URL(import.meta.resolve('splitring/package.json')), 'utf8'));
  return String((manifest as { readonly version?: unknown }).version);
};

/** A command that throws where commander would end the process. */
const commandOf = (name: string): Command =>
  new Command(name)
    .exitOverride(refusal(name))
    .configureOutput({ outputError: () => {} })
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false);

const seedOption = (): Option =>
  new Option(
    '--seed <N>',
    'repeat the run that had this seed, event for event; on local, which it implies (default there: one by chance)',
  ).argParser(parsing('seed', wholeNumber({ max: 0xffffffff })));

const platformOption = (): Option =>
  new Option(
    '--platform <NAME>',
    `where the domains run: ${platformNames.join(', ')} (default: ${platformNames[0]}, but with --seed local)`,
  );

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
    // What is written for nothing would be shown as two quotes.
    if (declared.default !== undefined) option.default(declared.default, declared.default === '' ? 'none' : undefined);
    return { name, option };
  });

/** How a shell would be told an argument. */
const quoted = (arg: string): string => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`);

/** What a command works with. */
interface Surroundings {
  readonly out: TerminalOutput;
  readonly interruption: Interruption;
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
  before: RunOptions,
  { out, interruption }: Surroundings,
): Promise<boolean> => {
  const { happened } = interruption;
  const definition: MachineDefinition = await Promise.race([happened, findMachine(machine)]);
  const command = commandOf(`splitring run ${machine}`).description(definition.summary).usage('[options]');
  const declared = declaredOptions(definition.options);
  for (const { option } of declared) command.addOption(option);
  command.addOption(seedOption()).addOption(platformOption());
  let well = false;
  command.addHelpText('after', `\n${listOfPlatforms()}`);
  command.allowExcessArguments().action(async (parsed: Readonly<Record<string, unknown>> & RunOptions) => {
    const [excess] = command.args;
    if (excess !== undefined) throw new UsageError(`unexpected argument ${excess}; see ${command.name()} --help`);
    const values = declared.map(({ name, option }) => [
      name,
      parsed[option.attributeName()] ?? (option.isBoolean() ? false : undefined),
    ]);
    const options: OptionValues<MachineOptions> = Object.fromEntries(values);
    const given = parsed.seed ?? before.seed;
    const platform = platformOf(parsed.platform ?? before.platform, given);
    const seed = given ?? randomInt(CHOSEN_SEEDS);
    await Promise.race([happened, checked(definition, options)]);
    // What was chosen is shown as if it had been asked for, so that the line does the same again.
    const chosen = [
      ...(parsed.platform === undefined ? ['--platform', platform.name] : []),
      ...(parsed.seed === undefined && platform.repeats ? ['--seed', String(seed)] : []),
    ];
    out.line(out.style('bold', `$ ${['splitring', 'run', machine, ...args, ...chosen].map(quoted).join(' ')}`));
    out.row('on', `${platform.name}: ${platform.summary}`);
    const { runMachine } = await import('./run-machine.js');
    well = await runMachine({ definition, options, platform, seed, out, interruption });
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
    .description('Runs Xen split drivers, on a Xen of its own or on real Xen.')
    .version(version(), '--version', 'show the version')
    .enablePositionalOptions()
    .configureHelp({
      subcommandTerm: (sub) =>
        `${sub.name()} ${sub
          .usage()
          .replace(/^\[options\] /, '')
          .replace(/ \[.*$/, '')}`,
    });
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
        run.addHelpText('after', `\n${listOfPlatforms()}\n\n${await listOfMachines()}`);
        run.outputHelp();
        well = true;
      } else if (machine === undefined) {
        throw new UsageError(
          'splitring run needs a machine; name one of these, or a module by its path',
          await listOfMachines(),
        );
      } else {
        platformOf(options.platform, undefined);
        well = await runNamed(machine, rest, options, surroundings);
      }
    });
  addXenCommands(command, {
    ...surroundings,
    commandOf,
    declared: declaredOptions,
    ended: (wentWell) => {
      well = wentWell;
    },
  });
  addDebugKeys(command, surroundings.out, () => {
    well = true;
  });
  if (args.length === 0) throw new UsageError('a command is missing; see splitring --help');
  await command.parseAsync([...args], { from: 'user' });
  return well;
};

interface RunOptions {
  readonly help?: true;
  readonly seed?: number;
  readonly platform?: string;
}
