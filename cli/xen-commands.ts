import { type Command, Option } from 'commander';
import { attachDevice, detachDevice } from './attach-device.js';
import { readBackendConfig, withCommandLine } from './backend-config.js';
import { type DriverModule, driverNames, findDriver, type Serving, typeOf } from './driver-modules.js';
import { messageOf, refusal, UsageError } from './errors.js';
import type { Interruption } from './interruption.js';
import type { MachineOptions, OptionValues } from './machine.js';
import { serveBackend } from './serve-backend.js';
import type { TerminalOutput } from './terminal-output.js';

/** What the commands work with. */
export interface XenSurroundings {
  readonly out: TerminalOutput;
  readonly interruption: Interruption;
  /** A command that throws where commander would end the process. */
  readonly commandOf: (name: string) => Command;
  /** Options as commander takes them, by their names. */
  readonly declared: (options: MachineOptions) => readonly { readonly name: string; readonly option: Option }[];
  /** Told whether a command went well. */
  readonly ended: (well: boolean) => void;
}

/** A directory's name, as the toolstack takes it. */
const directoryName = (text: string): string => {
  if (!/^[A-Za-z0-9_-]+$/.test(text)) throw new RangeError('it takes letters, digits, - and _');
  return text;
};

const typeOption = (description: string): Option =>
  new Option('--type <NAME>', description).argParser((text: string) => {
    try {
      return directoryName(text);
    } catch (error) {
      throw new UsageError(`--type ${JSON.stringify(text)}: ${messageOf(error)}`);
    }
  });

const configOption = (): Option => new Option('--config <FILE>', 'JSON: { "cmdline": …, "offer": … }');

const servedTypeOption = (): Option =>
  typeOption('the directory below backend that is watched (default: splitring-CLASS, as attach writes)');

/** What `backend` is told, before the class and after it. */
interface BackendOptions {
  readonly config?: string;
  readonly type?: string;
}

const byNumber: MachineOptions = {
  id: {
    value: 'N',
    description: "the device's number or name (default: 0)",
    parse: directoryName,
    default: '0',
  },
};

/** Parses the options of a class of devices. @param isNeeded whether those with a value and no default must be there */
const parseOptions = async (
  name: string,
  args: readonly string[],
  options: MachineOptions,
  more: readonly Option[],
  isNeeded: boolean,
  { commandOf, declared }: XenSurroundings,
): Promise<{ readonly values: OptionValues<MachineOptions>; readonly parsed: Readonly<Record<string, unknown>> }> => {
  const command = commandOf(name).usage('[options]');
  const known = declared(options);
  for (const { option } of known) command.addOption(option);
  for (const option of more) command.addOption(option);
  command.allowExcessArguments().action(() => {});
  await command.parseAsync([...args], { from: 'user' });
  const [excess] = command.args;
  if (excess !== undefined) throw new UsageError(`unexpected argument ${excess}; see ${name} --help`);
  const parsed: Readonly<Record<string, unknown>> = command.opts();
  const values = known.map(({ name: key, option }) => {
    const value = parsed[option.attributeName()] ?? (option.isBoolean() ? false : undefined);
    if (value === undefined && isNeeded) throw new UsageError(`--${key} is missing; see ${name} --help`);
    return [key, value];
  });
  return { values: Object.fromEntries(values), parsed };
};

const needed = (value: string | undefined, what: string, command: string): string => {
  if (value === undefined) throw new UsageError(`splitring ${command} needs ${what}; see splitring ${command} --help`);
  return value;
};

const classes = (): string => `CLASS: ${driverNames().join(', ')}, or a compiled module with a backend, by its path.`;

/** What the options say, as the domain's command line. @throws UsageError with what is wrong with them */
const toldBy = ({ check, cmdline }: Serving, values: OptionValues<MachineOptions>): ReturnType<Serving['cmdline']> => {
  try {
    check?.(values);
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
  return cmdline(values);
};

/** Adds the commands that work on real Xen: backend, attach, detach. */
export const addXenCommands = (program: Command, surroundings: XenSurroundings): void => {
  const { out, interruption, ended } = surroundings;
  const add = (name: string, summary: string, usage: string): Command =>
    program
      .command(name)
      .description(summary)
      .usage(usage)
      .configureHelp({ visibleArguments: () => [] })
      .exitOverride(refusal(`splitring ${name}`))
      .addHelpText('after', `\n${classes()}`);

  add('backend', 'on real Xen: serve the devices of a class in this domain', '[options] CLASS [options of the class]')
    .argument('[CLASS]')
    .argument('[options...]')
    .passThroughOptions()
    .addOption(configOption())
    .addOption(servedTypeOption())
    .action(async (name: string | undefined, rest: readonly string[], before: BackendOptions) => {
      const driver = await findDriver(needed(name, 'a class', 'backend'));
      const { serving } = driver;
      const what = `splitring backend ${driver.name}`;
      const more = [configOption(), servedTypeOption()];
      const { values, parsed } = await parseOptions(what, rest, serving?.options ?? {}, more, false, surroundings);
      const { config: path, type = typeOf(driver.device) }: BackendOptions = { ...before, ...parsed };
      const told = serving === undefined ? {} : toldBy(serving, values);
      const config = withCommandLine(path === undefined ? {} : readBackendConfig(path), told);
      ended(await serveBackend({ driver, type, config, out, interruption }));
    });

  const deviceCommand = (
    name: 'attach' | 'detach',
    summary: string,
    work: (request: {
      readonly driver: DriverModule;
      readonly frontend: string;
      readonly values: OptionValues<MachineOptions>;
      readonly parsed: Readonly<Record<string, unknown>>;
    }) => Promise<boolean>,
    more: readonly Option[] = [],
  ): void => {
    add(name, summary, 'DOMAIN CLASS [options of the class]')
      .argument('[DOMAIN]')
      .argument('[CLASS]')
      .argument('[options...]')
      .passThroughOptions()
      .action(async (domain: string | undefined, kind: string | undefined, rest: readonly string[]) => {
        const frontend = needed(domain, 'a domain', name);
        const driver = await findDriver(needed(kind, 'a class of devices', name));
        const { attachment } = driver;
        const options: MachineOptions =
          attachment === undefined
            ? byNumber
            : { ...attachment.options, ...(name === 'attach' ? attachment.more : {}) };
        const what = `splitring ${name} DOMAIN ${driver.name}`;
        const { values, parsed } = await parseOptions(what, rest, options, more, true, surroundings);
        ended(await work({ driver, frontend, values, parsed }));
      });
  };
  deviceCommand(
    'attach',
    'on real Xen: give a domain a device, before or while it runs',
    ({ parsed, ...request }) => {
      const backend = typeof parsed.backend === 'string' ? parsed.backend : '0';
      const type = typeof parsed.type === 'string' ? parsed.type : typeOf(request.driver.device);
      return attachDevice({ ...request, backend, type, out });
    },
    [
      new Option('--backend <DOMAIN>', 'the domain whose backend serves it (default: 0)'),
      typeOption('the kind of backend (default: splitring-CLASS, as backend watches)'),
    ],
  );
  deviceCommand('detach', 'on real Xen: take a device away', ({ driver, frontend, values }) =>
    detachDevice({ driver, frontend, values, out }),
  );
};
