import type { DomainLedger, Machine } from '../core/toolstack/index.js';

/** What a domain gives back with its devices. */
const ofDevices = [
  'ports',
  'grants',
  'mapped',
  'mappings',
  'pages',
  'transactions',
] as const satisfies readonly (keyof DomainLedger)[];

/** What it gives back when nobody looks for devices any more. */
const ofAll = [...ofDevices, 'watches'] as const satisfies readonly (keyof DomainLedger)[];

const expectZero = async (
  machine: Machine,
  counted: readonly (typeof ofAll)[number][],
  when: string,
): Promise<void> => {
  const left = (await machine.ledger()).flatMap((ledger) =>
    counted.filter((what) => ledger[what] !== 0).map((what) => `${ledger.name} still holds ${ledger[what]} ${what}`),
  );
  if (left.length > 0) throw new Error(`${when}, ${left.join('; ')}`);
};

/**
 * Detaches all devices and throws unless nothing is left of them: no channel open, no page granted, mapped or held, no transaction
 * open; then ends what the domains listen to, after which no watch may be set either.
 * @throws Error that names each domain and what it still holds, or the device that did not close
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
  await machine.idle();
  await expectZero(machine, ofDevices, 'with all devices detached');
  machine.quiesce();
  await machine.idle();
  await expectZero(machine, ofAll, 'when nobody listens any more');
};
