import { existsSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type BackendClass, type DomainModule, driverInfo, type Plain } from '../core/index.js';
import { messageOf, RunError, UsageError } from './errors.js';
import type { MachineOptions, OptionValues } from './machine.js';

/** What a driver's module may export as `attachment`: what its devices are told apart and made by, on a command line. */
export interface Attachment {
  /** Which device it is. */
  readonly options: MachineOptions;
  /** What else there is to say of one that is made. */
  readonly more: MachineOptions;
  readonly id: (values: OptionValues<MachineOptions>) => string | number;
  /** Looks at what is to be served, where it is served here. @throws what is wrong with it */
  readonly check?: (values: OptionValues<MachineOptions>) => void;
  readonly keys: (values: OptionValues<MachineOptions>) => {
    readonly frontend: Readonly<Record<string, string>>;
    readonly backend: Readonly<Record<string, string>>;
  };
}

/** What a driver's module may export as `serving`: what its backend may be told on a command line, all of it optional. */
export interface Serving {
  readonly options: MachineOptions;
  /** Looks at it before anything is served. @throws what is wrong with it */
  readonly check?: (values: OptionValues<MachineOptions>) => void;
  /** What it is as the domain's command line. */
  readonly cmdline: (values: OptionValues<MachineOptions>) => { readonly [key: string]: Plain | undefined };
}

/** A module of drivers, as it was named. */
export interface DriverModule {
  readonly name: string;
  readonly url: string;
  /** The class of devices that its backend serves, `vbd`. */
  readonly device: string;
  readonly attachment: Attachment | undefined;
  readonly serving: Serving | undefined;
}

/** The compiled drivers: each folder with a module.js is a class by that name. */
const drivers = new URL('../drivers/', import.meta.url);

const moduleOf = (name: string): URL => new URL(`${name}/module.js`, drivers);

/** The names of the classes that come along. */
export const driverNames = (): readonly string[] =>
  readdirSync(drivers, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(moduleOf(entry.name)))
    .map(({ name }) => name)
    .sort();

const urlOf = (name: string): string => {
  if (!/[/\\]|\.[cm]?js$/.test(name)) {
    if (driverNames().includes(name)) return moduleOf(name).href;
    throw new UsageError(
      `there is no driver ${name}; there ${driverNames().length === 1 ? 'is' : 'are'} ${driverNames().join(', ')}, or name a compiled module by its path`,
    );
  }
  const path = resolve(name);
  if (!existsSync(path)) throw new UsageError(`there is no module ${name}: name a compiled module by its path`);
  return pathToFileURL(path).href;
};

/**
 * The module of a driver, by its class or its path.
 * @throws UsageError when there is none; RunError when it does not load, or has no backend, or several
 */
export const findDriver = async (name: string): Promise<DriverModule> => {
  const url = urlOf(name);
  let module: DomainModule;
  try {
    module = (await import(url)) as DomainModule;
  } catch (error) {
    throw new RunError(`${name} does not load: ${messageOf(error)}`);
  }
  const devices = Object.values(module)
    .map((candidate) => driverInfo(candidate as BackendClass))
    .flatMap((info) => (info?.end === 'backend' ? [info.protocol.device] : []));
  const [device] = devices;
  if (device === undefined || devices.length > 1) {
    const found = device === undefined ? 'no backend' : `${devices.length} backends`;
    throw new RunError(`${name} exports ${found}: name a module that exports one class with @backend`);
  }
  const { attachment, serving } = module as { readonly attachment?: Attachment; readonly serving?: Serving };
  return { name, url, device, attachment, serving };
};

/**
 * The directory of backends of ours of a class, below `backend`: another than Linux' own and QEMU's, which would take the same devices for
 * theirs.
 */
export const typeOf = (device: string): string => `splitring-${device}`;
