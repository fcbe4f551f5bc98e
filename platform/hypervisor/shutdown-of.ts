import {
  type DomainConfig,
  type Domid,
  type Shutdown,
  type ShutdownReason,
  shutdownReasons,
} from '../../core/index.js';

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

/** How a domain has shut down by SCHEDOP_shutdown, or was, with a code; a code that sched.h does not name is a crash. */
export const shutdownBy = (
  {
    domid,
    name,
    module,
  }: Pick<DomainConfig, 'name'> & { readonly domid: Domid; readonly module: DomainConfig['module'] | undefined },
  code: number,
): Shutdown => {
  const reason: ShutdownReason = shutdownReasons[code] ?? 'crash';
  return {
    domid,
    name,
    module: module === undefined ? undefined : String(module),
    reason,
    ...(reason === 'crash' ? { error: new Error(`it shut down with code ${code}`) } : {}),
  };
};
