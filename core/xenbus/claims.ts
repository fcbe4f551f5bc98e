import type { Domain } from '../domain/domain.js';

/** Who has a directory of devices. */
interface Claim {
  readonly driver: NewableFunction;
  readonly bus: object;
}

const claims = new WeakMap<Domain, Map<string, Claim>>();

/**
 * Gives a domain's directory of devices to one driver class: two that run the same handshake would undo each other's states.
 * @returns the bus that serves it, made now if there is none
 * @throws TypeError when another driver class has the directory
 */
export const claim = <B extends object>(
  domain: Domain,
  directory: string,
  driver: NewableFunction,
  make: () => B,
): B => {
  const own = claims.get(domain) ?? new Map<string, Claim>();
  claims.set(domain, own);
  const found = own.get(directory);
  if (found !== undefined && found.driver !== driver) {
    throw new TypeError(`${directory} of domain ${domain.name} has a driver already, ${found.driver.name}`);
  }
  const bus = (found?.bus as B | undefined) ?? make();
  own.set(directory, { driver, bus });
  return bus;
};

/** Ends what {@link claim} gave. */
export const unclaim = (domain: Domain, directory: string): void => {
  claims.get(domain)?.delete(directory);
};
