import type { DomainConfig, Domid, Shutdown } from '../../core/index.js';

/** How a domain has ended: it crashed if there is an error, and is powered off if there is none. */
export const shutdownOf = (
  {
    domid,
    name,
    module,
  }: Pick<DomainConfig, 'name'> & { readonly domid: Domid; readonly module: DomainConfig['module'] | undefined },
  error: Error | undefined,
): Shutdown => ({
  domid,
  name,
  module: module === undefined ? undefined : String(module),
  ...(error === undefined ? { reason: 'poweroff' } : { reason: 'crash', error }),
});
