import { ContainerModule } from 'inversify';
import type { Domain } from '../domain/domain.js';
import { serveDevices } from './bus.js';
import { type BackendClass, driverInfo } from './driver.js';

/** What a domain's module may export: drivers by any name, and its bindings as default. */
export type DomainModule = Readonly<Record<string, unknown>>;

const isBackend = (candidate: unknown): candidate is BackendClass => driverInfo(candidate)?.end === 'backend';

/**
 * Whether a default export holds bindings: a ContainerModule of our copy of inversify, or of an author's own, which the published
 * package does not share. Bindings are made by the container that loads them, so it is enough that the module is loaded as ours are.
 */
const isBindings = (candidate: unknown): candidate is ContainerModule =>
  candidate instanceof ContainerModule ||
  (looksLikeBindings(candidate) && 'load' in candidate && typeof candidate.load === 'function');

const looksLikeBindings = (candidate: unknown): candidate is object =>
  typeof candidate === 'object' && candidate?.constructor?.name === ContainerModule.name;

/** What is wrong with a default export. */
const wrongBindings = (candidate: unknown): string =>
  looksLikeBindings(candidate)
    ? 'its bindings are made with an inversify that is too old (before 7) to be loaded here: take ContainerModule and inject from splitring'
    : "the default export of a domain's module must be an inversify ContainerModule with its bindings";

/**
 * Boots a domain from its module: loads the bindings of the default export, then serves the devices of every backend class that the
 * module exports. Its frontends are for its program to use, by `devices$`.
 * @param typeOf the directory below `backend` that a class of devices has; its own name without it
 * @throws TypeError when the default export is no ContainerModule, or the module has neither drivers nor bindings
 */
export const boot = (
  domain: Domain,
  module: DomainModule,
  url: string,
  typeOf: (device: string) => string = (device) => device,
): void => {
  const { default: bindings, ...named } = module;
  if (bindings !== undefined && !isBindings(bindings)) throw new TypeError(`${url}: ${wrongBindings(bindings)}`);
  const drivers = Object.values(named).filter((candidate) => driverInfo(candidate) !== undefined);
  if (bindings === undefined && drivers.length === 0) {
    throw new TypeError(
      `${url} exports no driver (a class with @frontend or @backend) and no bindings: it is no domain's module`,
    );
  }
  if (bindings !== undefined) domain.container.load(bindings);
  for (const driver of drivers.filter(isBackend)) serveDevices(domain, driver, typeOf);
};
