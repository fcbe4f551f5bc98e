/** The scenarios, in the order that they run in. */
export const scenarioNames: readonly string[] = [
  'store',
  'grants',
  'hypercalls',
  'disk',
  'restart',
  'destroy',
  'refusals',
  'save',
  'rng',
  'net',
  'blkback',
  'netback',
  'driver-domain',
];
