/** The scenarios, in the order that they run in. */
export const scenarioNames: readonly string[] = [
  'store',
  'grants',
  'disk',
  'restart',
  'destroy',
  'refusals',
  'save',
  'rng',
  'blkback',
  'driver-domain',
];
