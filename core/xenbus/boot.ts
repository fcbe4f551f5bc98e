import { ContainerModule } from 'inversify';
import type { Domain } from '../domain/domain.js';
import { serveDevices } from './bus.js';
import { type BackendClass, driverInfo } from './driver.js';

/** What a domain's module may export: drivers by any name, and its bindings as default. */
export type DomainModule = Readonly<Record<string, unknown>>;

const isBackend = (candidate: unknown): candidate is BackendClass => driverInfo(candidate)?.end === 'backend';

/** What is wrong with a default export. Modules of another copy of inversify look alike, and are none of ours. */
const foreign = (bindings: unknown): string =>
  typeof bindings === 'object' && bindings?.constructor?.name === ContainerModule.name
    ? 'its bindings are made with another copy of inversify than splitring has: install one version for both (npm ls inversify)'
    : "the default export of a domain's module must be an inversify ContainerModule with its bindings";

/**
 * Boots a domain from its module: loads the bindings of the default export, then serves the devices of every backend class that the
 * module exports. Its frontends are for its program to use, by `devices$`.
 * @throws TypeError when the default export is no ContainerModule, or the module has neither drivers nor bindings
 */
export const boot = (domain: Domain, module: DomainModule, url: string): void => {
  const { default: bindings, ...named } = module;
  if (bindings !== undefined && !(bindings instanceof ContainerModule))
    throw new TypeError(`${url}: ${foreign(bindings)}`);
  const drivers = Object.values(named).filter((candidate) => driverInfo(candidate) !== undefined);
  if (bindings === undefined && drivers.length === 0) {
    throw new TypeError(
      `${url} exports no driver (a class with @frontend or @backend) and no bindings: it is no domain's module`,
    );
  }
  if (bindings !== undefined) domain.container.load(bindings);
  for (const driver of drivers.filter(isBackend)) serveDevices(domain, driver);
};
