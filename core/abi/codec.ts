import { type InPlaceClass, inPlaceClass, packsWhole } from './in-place.js';
import { type Abi, type Layout, layoutFor } from './layout.js';
import type { RecordDraft, RecordView } from './message.js';
import { draftClass } from './record-draft.js';
import { viewClass } from './record-view.js';
import type { Struct } from './struct.js';

/** What is generated to send and receive one struct in one ABI. */
export interface Codec {
  readonly layout: Layout;
  /** A private copy of what a peer wrote. */
  readonly View: new () => RecordView;
  /** A private draft. */
  readonly Draft: new () => RecordDraft;
  /** A cursor that writes into shared memory, by `set` only if {@link packs}. */
  readonly Slot: InPlaceClass;
  /** Whether `set`, here and in the elements of arrays, writes each word at once. */
  readonly packs: boolean;
}

const known = new WeakMap<Layout, Map<string | undefined, Codec>>();

/**
 * The code for one struct in one ABI; the same at each call.
 * @param pair the member that pairs a response with its request
 * @throws TypeError when there is no such member, or it is no unsigned number and not opaque
 */
export const codecFor = (of: Struct, abi: Abi, pair?: string): Codec => {
  const layout = layoutFor(of, abi);
  const byPair = known.get(layout) ?? new Map<string | undefined, Codec>();
  known.set(layout, byPair);
  const found = byPair.get(pair);
  if (found !== undefined) return found;
  const made: Codec = {
    layout,
    View: viewClass(of, abi, pair),
    Draft: draftClass(of, abi, pair),
    Slot: inPlaceClass({ of, abi, bias: 0, pair, writes: true }),
    packs: packsWhole(of, abi),
  };
  byPair.set(pair, made);
  return made;
};
