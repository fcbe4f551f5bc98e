// A model of two ends that run the transition tables over one store: every interleaving of their reads and writes is explored.
import {
  type BackMemory,
  type BackStep,
  backAnswers,
  backBeginning,
  backDecision,
  backFailed,
  backSteps,
} from '../../core/xenbus/back-table.js';
import {
  type FrontMemory,
  type FrontStep,
  frontAnswers,
  frontBeginning,
  frontDecision,
  frontSteps,
} from '../../core/xenbus/front-table.js';
import type { XenbusState } from '../../core/xenbus/states.js';

/** What may befall a pair, each as often as it is listed. */
export type Mishap =
  | 'frontend closes'
  | 'toolstack detaches'
  | 'frontend restarts'
  | 'backend restarts'
  | 'frontend fails'
  | 'backend fails'
  | 'backend vanishes'
  | 'backend is attached anew'
  | 'frontend vanishes';

/** Where an end is in its turn: it looks at its own state, then at the other's, then acts on what it saw. */
type Phase = 'idle' | 'own' | 'decided' | 'connecting';

/** What another implementation does: writes a state, then waits until it sees the other end in one of some states. */
export interface Move {
  readonly writes: XenbusState;
  readonly until: readonly XenbusState[];
}

/** One state of the whole; rings are numbered by the order in which the state names them. */
export interface Pair {
  /** The store. */
  readonly front: XenbusState;
  readonly back: XenbusState;
  readonly online: boolean;
  /** Which ring the frontend's keys name; 0 for none. */
  readonly keys: number;
  readonly f: {
    readonly memory: FrontMemory;
    readonly phase: Phase;
    /** Whether a watch has fired that it has not looked after. */
    readonly pending: boolean;
    readonly own: XenbusState;
    readonly other: XenbusState;
    readonly does: FrontStep | undefined;
    /** The ring that it shares. */
    readonly ring: number;
    readonly fault: boolean;
    readonly ended: boolean;
  };
  readonly b: {
    readonly memory: BackMemory;
    readonly phase: Phase;
    readonly pending: boolean;
    readonly own: XenbusState;
    readonly other: XenbusState;
    readonly does: BackStep | undefined;
    /** The ring that it has mapped. */
    readonly ring: number;
    readonly fault: boolean;
    readonly gone: boolean;
  };
  readonly left: readonly Mishap[];
  readonly past: readonly Mishap[];
  /** One end may be another implementation: what it has still to do, and whether it has written the first. */
  readonly persona?: { readonly end: 'front' | 'back'; readonly moves: readonly Move[]; readonly wrote: boolean };
}

/** Both ends new, over any two states that an earlier life may have left. */
export const pair = (front: XenbusState, back: XenbusState, left: readonly Mishap[] = []): Pair => ({
  front,
  back,
  online: true,
  keys: 0,
  f: {
    memory: frontBeginning,
    phase: 'idle',
    pending: true,
    own: 'Unknown',
    other: 'Unknown',
    does: undefined,
    ring: 0,
    fault: false,
    ended: false,
  },
  b: {
    memory: backBeginning,
    phase: 'idle',
    pending: true,
    own: 'Unknown',
    other: 'Unknown',
    does: undefined,
    ring: 0,
    fault: false,
    gone: false,
  },
  left,
  past: [],
});

const fresh = (s: Pair): number => Math.max(s.keys, s.f.ring, s.b.ring) + 1;

const f = (s: Pair, change: Partial<Pair['f']>): Pair => ({ ...s, f: { ...s.f, ...change } });
const b = (s: Pair, change: Partial<Pair['b']>): Pair => ({ ...s, b: { ...s.b, ...change } });
/** A write to either state fires both ends' watches, the writer's own too. */
const fired = (s: Pair): Pair => b(f(s, { pending: true }), { pending: true });
const write = (s: Pair, change: Partial<Pick<Pair, 'front' | 'back' | 'online' | 'keys'>>): Pair =>
  fired({ ...s, ...change });

const frontTurn = (s: Pair): readonly Pair[] => {
  const { phase, pending, own, memory, does, fault, ended } = s.f;
  if (ended) return [];
  switch (phase) {
    case 'idle':
      if (!pending) return [];
      return s.front === 'Unknown'
        ? [f(s, { pending: false, ended: true, ring: 0 })]
        : [f(s, { pending: false, phase: 'own', own: s.front })];
    case 'own': {
      if (fault) {
        const failed = f(s, { fault: false, phase: 'idle', pending: true });
        const leads = own !== 'Closing' && own !== 'Closed' && s.front === own;
        return [leads ? write(failed, { front: 'Closing' }) : failed];
      }
      const decision = frontDecision(memory, own, s.back);
      // Its own Initialising over a ring that it shares: the toolstack has made the device anew.
      const ring = own === 'Initialising' ? 0 : s.f.ring;
      const known = f(s, { memory: decision.memory, ring, other: s.back });
      return [
        typeof decision.does === 'string'
          ? f(known, { phase: 'decided', does: decision.does })
          : f(known, { phase: 'idle' }),
      ];
    }
    default:
      return does === undefined ? [] : [frontAct(f(s, { phase: 'idle', does: undefined }), does)];
  }
};

const frontAct = (s: Pair, does: FrontStep): Pair => {
  const { own, other, memory } = s.f;
  const to = frontSteps[does];
  const unchanged = s.front === own && (!frontAnswers.has(does) || s.back === other);
  switch (does) {
    case 'stay':
      return s;
    case 'share': {
      if (!unchanged) return f(s, { pending: true });
      const ring = fresh(s);
      return write(f(s, { ring }), { front: 'Initialised', keys: ring });
    }
    case 'release':
      return f(s, { ring: 0, ended: memory.closing });
    default: {
      const dropped = does === 'again' || does === 'restart' ? f(s, { ring: 0 }) : s;
      return unchanged && to !== undefined ? write(dropped, { front: to }) : f(dropped, { pending: true });
    }
  }
};

const backTurn = (s: Pair): readonly Pair[] => {
  const { phase, pending, own, memory, does, fault, gone } = s.b;
  if (gone) return [];
  switch (phase) {
    case 'idle':
      return pending ? [b(s, { pending: false, phase: 'own', own: s.back })] : [];
    case 'own': {
      if (fault) return [backFails(b(s, { fault: false }), own)];
      const decision = backDecision(memory, own, s.front, s.online);
      const ring = own === 'Initialising' ? 0 : s.b.ring;
      const known = b(s, { memory: decision.memory, ring, other: s.front });
      return [
        typeof decision.does === 'string'
          ? b(known, { phase: 'decided', does: decision.does })
          : b(known, { phase: 'idle' }),
      ];
    }
    case 'decided':
      return does === undefined ? [] : backAct(b(s, { phase: 'idle', does: undefined }), does);
    default: {
      // It has mapped what the keys named; the frontend must still stand by them.
      const idle = b(s, { phase: 'idle' });
      const stands = s.back === own && s.front === s.b.other && s.keys === s.b.ring;
      return [stands ? write(idle, { back: 'Connected' }) : b(idle, { ring: 0, pending: true })];
    }
  }
};

const backFails = (s: Pair, own: XenbusState): Pair => {
  const failed = b(s, { ring: 0, memory: backFailed(s.front), phase: 'idle', pending: true });
  const leads = own !== 'Closing' && own !== 'Closed' && s.back === own;
  return leads ? write(failed, { back: 'Closing' }) : failed;
};

const backAct = (s: Pair, does: BackStep): readonly Pair[] => {
  const { own } = s.b;
  switch (does) {
    case 'stay':
      return [s];
    case 'connect': {
      const mapped = b(s, { phase: 'connecting', ring: s.keys });
      // Keys of a frontend that is no more: its grants may be void, or stand in memory that nobody looks at.
      return s.keys === 0 || s.keys !== s.f.ring ? [backFails(s, own), mapped] : [mapped];
    }
    default: {
      const dropped = does === 'close' ? s : b(s, { ring: 0 });
      const stands = (does !== 'offer' || s.online) && (!backAnswers.has(does) || s.front === s.b.other);
      const unchanged = s.back === own && stands;
      return [unchanged ? write(dropped, { back: backSteps[does] }) : b(dropped, { pending: true })];
    }
  }
};

/** The other implementation sees only what is there when it looks: it may well miss a state. */
const personaTurn = (s: Pair, persona: NonNullable<Pair['persona']>): readonly Pair[] => {
  const { end, moves, wrote } = persona;
  const [move, ...rest] = moves;
  if (move === undefined) return [];
  if (wrote) {
    const seen = end === 'front' ? s.back : s.front;
    return move.until.includes(seen) ? [{ ...s, persona: { end, moves: rest, wrote: false } }] : [];
  }
  const after = { ...s, persona: { end, moves, wrote: true } };
  if (end === 'back') return [write(after, { back: move.writes })];
  if (move.writes === 'Connected' && s.front === 'Initialised') return [write(after, { front: 'Connected' })];
  const shares = move.writes === 'Initialised' || move.writes === 'Connected';
  const ring = shares ? fresh(s) : move.writes === 'Closed' || move.writes === 'Initialising' ? 0 : s.f.ring;
  return [write(f(after, { ring }), { front: move.writes, keys: shares ? ring : s.keys })];
};

const begin = pair('Initialising', 'Initialising');

const befall = (s: Pair, mishap: Mishap): Pair | undefined => {
  switch (mishap) {
    case 'frontend closes':
      if (s.f.ended) return undefined;
      return f(s, { memory: { ...s.f.memory, closing: true }, pending: true });
    case 'toolstack detaches':
      if (s.back === 'Unknown' || !s.online) return undefined;
      return write(s, { online: false, back: s.back === 'Closed' ? 'Closed' : 'Closing' });
    case 'frontend restarts':
      return s.front === 'Unknown' ? undefined : { ...s, f: begin.f };
    case 'backend restarts':
      return s.b.gone ? undefined : { ...s, b: begin.b };
    case 'frontend fails':
      return s.f.ended ? undefined : f(s, { fault: true, pending: true });
    case 'backend fails':
      return s.b.gone ? undefined : b(s, { fault: true, ring: 0, pending: true });
    case 'backend vanishes':
      if (s.b.gone) return undefined;
      return write(b(s, { ...begin.b, gone: true }), { back: 'Unknown' });
    case 'backend is attached anew':
      if (!s.b.gone || s.front === 'Unknown' || s.f.ended) return undefined;
      return write({ ...s, b: begin.b }, { front: 'Initialising', back: 'Initialising', online: true, keys: 0 });
    case 'frontend vanishes':
      return s.front === 'Unknown' ? undefined : write(s, { front: 'Unknown', keys: 0 });
  }
};

/** What the two ends can do next. */
export const turns = (s: Pair): readonly Pair[] => [
  ...(s.persona?.end === 'front' ? personaTurn(s, s.persona) : frontTurn(s)),
  ...(s.persona?.end === 'back' ? personaTurn(s, s.persona) : backTurn(s)),
];

/** What can befall them next. */
export const mishaps = (s: Pair): readonly Pair[] =>
  [...new Set(s.left)].flatMap((mishap) => {
    const after = befall(s, mishap);
    if (after === undefined) return [];
    const at = s.left.indexOf(mishap);
    return [{ ...after, left: s.left.filter((_, i) => i !== at), past: [...s.past, mishap].sort() }];
  });

/** The same state for all numberings of the rings. */
const keyOf = (s: Pair): string => {
  const rings = [...new Set([0, s.keys, s.f.ring, s.b.ring])];
  const number = (ring: number): number => rings.indexOf(ring);
  return JSON.stringify({
    ...s,
    keys: number(s.keys),
    f: { ...s.f, ring: number(s.f.ring) },
    b: { ...s.b, ring: number(s.b.ring) },
  });
};

/** What an exploration found. */
export interface Exploration {
  readonly states: number;
  readonly steps: number;
  /** States in which neither end has anything to do. */
  readonly rests: readonly Pair[];
  /** States from which the two ends alone come back to where they were: they would go on for ever. */
  readonly circles: number;
}

/** Walks through all interleavings from some states. */
export const explore = (starts: readonly Pair[]): Exploration => {
  const seen = new Map<string, { readonly pair: Pair; readonly next: string[]; mark: 0 | 1 | 2 }>();
  const open: string[] = [];
  const visit = (s: Pair): string => {
    const key = keyOf(s);
    if (!seen.has(key)) {
      seen.set(key, { pair: s, next: [], mark: 0 });
      open.push(key);
    }
    return key;
  };
  for (const start of starts) visit(start);
  let steps = 0;
  const rests: Pair[] = [];
  for (let key = open.pop(); key !== undefined; key = open.pop()) {
    const node = seen.get(key);
    if (node === undefined) continue;
    const next = turns(node.pair);
    if (next.length === 0) rests.push(node.pair);
    node.next.push(...next.map(visit));
    const after = mishaps(node.pair);
    for (const s of after) visit(s);
    steps += next.length + after.length;
  }
  return { states: seen.size, steps, rests, circles: circles(seen) };
};

/** Depth first, without recursion: an edge to a node that is still open closes a circle. */
const circles = (seen: ReadonlyMap<string, { readonly next: readonly string[]; mark: 0 | 1 | 2 }>): number => {
  let found = 0;
  for (const start of seen.values()) {
    const path: { readonly node: typeof start; at: number }[] = start.mark === 0 ? [{ node: start, at: 0 }] : [];
    start.mark ||= 1;
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const next = top.node.next[top.at++];
      if (next === undefined) {
        top.node.mark = 2;
        path.pop();
        continue;
      }
      const node = seen.get(next);
      if (node?.mark === 1) found++;
      if (node?.mark !== 0) continue;
      node.mark = 1;
      path.push({ node, at: 0 });
    }
  }
  return found;
};
