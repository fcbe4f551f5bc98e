import type { DomainLedger, Machine } from '../core/toolstack/index.js';

const counted = [
  'ports',
  'grants',
  'mapped',
  'mappings',
  'pages',
  'watches',
  'transactions',
] as const satisfies readonly (keyof DomainLedger)[];

/**
 * Detaches all devices, ends what the domains listen to, and throws unless nothing is left: no channel open, no page granted, mapped or
 * held, no watch set, no transaction open.
 * @throws Error that names each domain and what it still holds
 */
export const assertNothingLeft = async (machine: Machine): Promise<void> => {
  const { toolstack } = machine;
  for (const { domid, name } of await toolstack.domains()) {
    for (const { device, id } of await toolstack.devices(domid)) {
      if (!(await toolstack.detach({ device, id, frontend: domid }))) {
        throw new Error(`${device} ${id} of ${name} did not close in time`);
      }
    }
  }
  machine.quiesce();
  await machine.idle();
  const left = machine
    .ledger()
    .flatMap((ledger) =>
      counted.filter((what) => ledger[what] > 0).map((what) => `${ledger.name} still holds ${ledger[what]} ${what}`),
    );
  if (left.length > 0) throw new Error(left.join('; '));
};
