import { type Cleanup, XenStore } from '../core/index.js';
import { type DeviceConfig, devicePaths, type Machine } from '../core/toolstack/index.js';

/** An option that is given or not: `--write`. */
export interface FlagOption {
  readonly description: string;
  readonly value?: never;
  readonly parse?: never;
}

/** An option with a value: `--sector-size BYTES`. */
export interface ValueOption<T> {
  /** What the help calls the value: `BYTES`. */
  readonly value: string;
  readonly description: string;
  /** What the text stands for. @throws an error whose message says what the option takes */
  readonly parse: (text: string) => T;
  /** The value when the option is not given. */
  readonly default?: T;
}

/** The options of a machine, by their names on the command line, without the dashes. */
export type MachineOptions = Readonly<Record<string, FlagOption | ValueOption<unknown>>>;

/** What a machine is handed of its options: booleans for flags, parsed values, undefined for what was not given. */
export type OptionValues<O extends MachineOptions> = {
  readonly [N in keyof O]: O[N] extends { readonly parse: (text: string) => infer T }
    ? T | (O[N] extends { readonly default: infer D } ? D : undefined)
    : boolean;
};

/** Something of known length under way: a bar on a terminal, one line at its end everywhere. */
export interface Progress {
  /** So many bytes are done by now. */
  update(bytes: number): void;
  /** All is done: leaves a line with bytes, time and rate; `ms` when the work was timed where it was done, else since the start. */
  end(ms?: number): void;
}

/** Where a machine tells what it does: stdout, line by line. */
export interface Output {
  line(text?: string): void;
  /** A line of a label and what it stands for, aligned with the others. */
  row(label: string, text: string): void;
  /** Follows work on `bytes` bytes. */
  progress(label: string, bytes: number): Progress;
}

/** What a machine runs with. */
export interface MachineRun<O extends MachineOptions> {
  /** The platform's machine: booted, with dom0 alone. Its log is printed as it comes. */
  readonly machine: Machine;
  readonly options: OptionValues<O>;
  readonly out: Output;
  /** Steps that run last in first out when the machine has ended, however it did: done, failed or interrupted. */
  readonly cleanup: Cleanup;
}

/** How a machine looks from the command line. */
export interface MachineUsage<O extends MachineOptions = MachineOptions> {
  /** One line for the list of machines. */
  readonly summary: string;
  readonly options: O;
}

/** What a machine does. */
export interface MachineSteps<O extends MachineOptions = MachineOptions> {
  /** Looks at the options before anything is started. @throws what is wrong with them, and what to do */
  readonly check?: (options: OptionValues<O>) => void | Promise<void>;
  /** Resolves to whether all is well. @throws what failed, in one line */
  readonly run: (run: MachineRun<O>) => Promise<boolean>;
}

/** What `splitring run` runs. */
export interface MachineDefinition<O extends MachineOptions = MachineOptions>
  extends MachineUsage<O>,
    MachineSteps<O> {}

/** The options that every machine has. */
const RESERVED: readonly string[] = ['help', 'platform', 'seed'];

/**
 * Declares a machine: its module exports it as `machine`. Two arguments, since TypeScript does not infer the types of the options
 * beside functions that take them.
 * @throws TypeError for an option that cannot be on a command line
 */
export const defineMachine = <const O extends MachineOptions>(
  usage: MachineUsage<O>,
  steps: MachineSteps<O>,
): MachineDefinition<O> => {
  for (const name of Object.keys(usage.options)) {
    if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name) || name.startsWith('no-')) {
      throw new TypeError(`an option's name is lower-case-dashed and does not begin with no-, unlike ${name}`);
    }
    if (RESERVED.includes(name)) throw new TypeError(`every machine has an option --${name} already`);
  }
  return { ...usage, ...steps };
};

/** A whole number from `min` to `max`, both included, for an option's `parse`. */
export const wholeNumber =
  ({ min = 0, max = Number.MAX_SAFE_INTEGER }: { readonly min?: number; readonly max?: number } = {}) =>
  (text: string): number => {
    const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new RangeError(`it takes a whole number from ${min} to ${max}`);
    return value;
  };

/** One of a few numbers, for an option's `parse`. */
export const oneOf =
  <V extends number>(...values: readonly V[]) =>
  (text: string): V => {
    const value = values.find((known) => String(known) === text);
    if (value === undefined) throw new RangeError(`it takes ${values.join(' or ')}`);
    return value;
  };

/** Bytes for people: `512 bytes`, `1.5 MiB`. */
export const size = (bytes: number): string => {
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  if (bytes < 1024) return `${bytes} bytes`;
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), units.length);
  return `${Number((bytes / 1024 ** power).toFixed(1))} ${units[power - 1]}`;
};

/** What the ends of a device have told each other in the store, besides what the toolstack wrote: `key=value key=value`. */
export const toldKeys = async (
  machine: Machine,
  device: DeviceConfig,
): Promise<{ readonly frontend: string; readonly backend: string }> => {
  const store = machine.dom0.get(XenStore);
  const paths = devicePaths(device);
  const told = async (path: string, toolstack: readonly string[]): Promise<string> => {
    const texts: string[] = [];
    for (const key of (await store.directory(path)) ?? []) {
      if (!toolstack.includes(key)) texts.push(`${key}=${(await store.read(`${path}/${key}`)) ?? ''}`);
    }
    return texts.join(' ');
  };
  const { frontend = {}, backend = {} } = device.keys ?? {};
  return {
    frontend: await told(paths.frontend, ['backend', 'backend-id', 'state', ...Object.keys(frontend)]),
    backend: await told(paths.backend, ['frontend', 'frontend-id', 'online', 'state', ...Object.keys(backend)]),
  };
};

/** Quiesces a machine and says that nothing is left in it. @throws Error when a port, grant, mapping, page or watch was not given back */
export const expectNothingLeft = async (machine: Machine, out: Output): Promise<void> => {
  machine.quiesce();
  await machine.idle();
  const left = (await machine.ledger()).flatMap(({ domid: _, name, ...counts }) =>
    Object.entries(counts)
      .filter(([, count]) => count !== 0)
      .map(([what, count]) => `${name} ${count} ${what}`),
  );
  if (left.length > 0) throw new Error(`not everything was given back: ${left.join(', ')}`);
  out.row('ledger', 'no port, grant, mapping, page or watch is left');
};
