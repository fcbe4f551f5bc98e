export { BackRing } from './abi/back-ring.js';
export { type ErrnoName, errno, errnoName } from './abi/errno.js';
export * from './abi/fields.js';
export { FrontRing } from './abi/front-ring.js';
export { type Abi, abis } from './abi/layout.js';
export { type RingFormat, type RingOptions, ringEntries } from './abi/ring.js';
export {
  type ArrayDraft,
  type ArrayView,
  type Choice,
  type Draft,
  draft,
  layoutOf,
  type NumbersDraft,
  overlay,
  type Slot,
  type Struct,
  struct,
  type Values,
  type View,
  view,
  type Words,
  type WordsDraft,
} from './abi/struct.js';
export * from './abi/units.js';
export { Disconnected, GrantError, PeerFault, XenError } from './errors.js';
