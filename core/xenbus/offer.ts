import type { AnyValues } from './key-values.js';

/** Values of keys that a domain's backends offer instead of what their drivers say; bound by whoever makes the domain. */
export abstract class Offer {
  abstract readonly values: AnyValues;
}
