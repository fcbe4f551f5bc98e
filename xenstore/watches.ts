import { levelsBelow, type NodePath } from './paths.js';

/** A client's interest in a node and what lies below it. */
export interface Watch {
  readonly path: NodePath;
  /** The client's own name for it, repeated in every event; one character for each byte. */
  readonly token: string;
  /** How many characters of a path to leave out, so that a relative watch reports relative paths. */
  readonly prefix: number;
  /** How many levels below the node count, 0 for the node alone; undefined for all (`XENSTORE_SERVER_FEATURE_WATCHDEPTH`). */
  readonly depth: number | undefined;
}

/**
 * Which watches an event is for (xenstored `enum watch_match`). `subtree`: those of the node and of its ancestors. `exact`:
 * those of the node alone, for what went with a removed ancestor. `depth` and `nodepth`: special events with and without
 * the domid, for watches that asked for the domid by a depth or by name, and for those that did not.
 */
export type Match = 'exact' | 'subtree' | 'depth' | 'nodepth';

const below = ({ path: watched, depth }: Watch, path: NodePath): boolean => {
  const levels = levelsBelow(path, watched);
  return levels !== undefined && (depth === undefined || levels <= depth);
};

const matchers = {
  exact: (watch, path) => watch.path === path,
  subtree: below,
  depth: (watch, path) => watch.path === path || ((watch.depth ?? 0) > 0 && below(watch, path)),
  nodepth: (watch, path) => watch.path === path && watch.depth === undefined,
} as const satisfies Record<Match, (watch: Watch, path: NodePath) => boolean>;

/** Whether an event at `path` is for `watch`. */
export const matches = (watch: Watch, path: NodePath, match: Match): boolean => matchers[match](watch, path);
