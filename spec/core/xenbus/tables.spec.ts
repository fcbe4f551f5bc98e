import { expect } from 'chai';
import { backDecision, backendTable, backSteps } from '../../../core/xenbus/back-table.js';
import { frontDecision, frontendTable, frontSteps } from '../../../core/xenbus/front-table.js';
import { type XenbusState, xenbusState } from '../../../core/xenbus/states.js';
import { explore, type Mishap, type Move, type Pair, pair } from '../../support/handshake-model.js';

const states = Object.keys(xenbusState) as readonly XenbusState[];
const written = states.filter((state) => state !== 'Unknown');
const everyPair = (left: readonly Mishap[] = []): readonly Pair[] =>
  written.flatMap((front) => written.map((back) => pair(front, back, left)));

/** One line for a state that a test did not want. */
const show = ({ front, back, online, keys, f, b, past }: Pair): string =>
  `${front}×${back} online ${online} keys ${keys} rings ${f.ring} ${b.ring} after ${past.join(', ') || 'nothing'}`;

const linked = ({ front, back, keys, f, b }: Pair): boolean =>
  front === 'Connected' && back === 'Connected' && keys !== 0 && f.ring === keys && b.ring === keys;
const letGo = ({ f, b }: Pair): boolean => f.ring === 0 && b.ring === 0;

/** Whether a pair may stay as it is for good, with nobody having anything to do. */
const isAtRest = (s: Pair): boolean => {
  const { front, back, online, past, f, b } = s;
  const closed = letGo(s) && back === 'Closed';
  if (linked(s)) return online && !f.memory.closing;
  if (front === 'Unknown') return letGo(s) && (closed || back === 'Initialising' || back === 'Unknown');
  if (back === 'Unknown') return letGo(s) && (front === 'Initialising' || (f.ended && front === 'Closed'));
  // A backend that has begun anew offers itself over the frontend's Closed.
  const offered = back === 'InitWait' && b.memory.past === 'Closed';
  if (f.memory.closing) return letGo(s) && front === 'Closed' && (closed || offered);
  if (!online) return closed && (front === 'Closed' || front === 'Initialising');
  const failed = past.includes('frontend fails') || past.includes('backend fails');
  // Whoever failed stays closed until something new happens: there is no restart loop.
  return failed && closed && (front === 'Closed' || front === 'Initialising');
};

const expectRest = (starts: readonly Pair[]): void => {
  const { rests, circles, states: count } = explore(starts);
  expect(rests.filter((s) => !isAtRest(s)).map(show)).to.deep.equal([]);
  expect(circles, 'ways for the two ends to go on for ever').to.equal(0);
  expect(rests.length).to.be.greaterThan(0);
  expect(count).to.be.greaterThan(100);
};

const mishaps = [
  'frontend closes',
  'toolstack detaches',
  'frontend restarts',
  'backend restarts',
  'frontend fails',
  'backend fails',
  'backend vanishes',
  'frontend vanishes',
] as const satisfies readonly Mishap[];

describe('the transition tables', () => {
  it('have a cell for each state that the other end may be in, which is a step of the end or a wait for the other', () => {
    for (const row of Object.values(frontendTable)) {
      expect(Object.keys(row)).to.have.members(states);
      for (const cell of Object.values(row)) {
        if (typeof cell === 'string') expect(frontSteps).to.have.property(cell);
        else expect(cell.wait).to.equal('backend');
      }
    }
    for (const row of Object.values(backendTable)) {
      expect(Object.keys(row)).to.have.members(states);
      for (const cell of Object.values(row)) {
        if (typeof cell === 'string') expect(backSteps).to.have.property(cell);
        else expect(cell.wait).to.equal('frontend');
      }
    }
  });

  it('take no end to a state that it cannot go on from', () => {
    for (const to of Object.values(frontSteps)) if (to !== undefined) expect(frontendTable).to.have.property(to);
    for (const to of Object.values(backSteps)) if (to !== undefined) expect(backendTable).to.have.property(to);
  });

  it('go from a state only to one that XenBus has after it', () => {
    const after: Readonly<Record<string, readonly string[]>> = {
      Initialising: ['InitWait', 'Initialised', 'Closing', 'Closed'],
      InitWait: ['Connected', 'Closing', 'Closed'],
      Initialised: ['Connected', 'Closing', 'Initialising'],
      Connected: ['Closing', 'Closed', 'Initialising'],
      Closing: ['Closed'],
      Closed: ['Initialising', 'InitWait'],
    };
    const check = (table: object, steps: Readonly<Record<string, string | undefined>>): void => {
      for (const [from, row] of Object.entries(table)) {
        for (const cell of Object.values(row)) {
          const to = typeof cell === 'string' ? steps[cell] : undefined;
          if (to !== undefined) expect(after[from], `${from} ${cell}`).to.include(to);
        }
      }
    };
    check(frontendTable, frontSteps);
    check(backendTable, backSteps);
  });

  it('take a frontend that has gone right to Connected for one that is Initialised: netfront says so that its rings are shared', () => {
    // So what is shown here of Initialised holds of such a class too: its frontend knows itself which of the two it means.
    for (const [own, row] of Object.entries(backendTable)) expect(row.Initialised, own).to.deep.equal(row.Connected);
  });

  it('connect two new ends in every interleaving of their looks and writes, and by one path only', () => {
    const { rests, circles } = explore([pair('Initialising', 'Initialising')]);
    expect(rests.map(show)).to.deep.equal(['Connected×Connected online true keys 1 rings 1 1 after nothing']);
    expect(circles).to.equal(0);
  });

  it('connect two ends that begin on whatever states earlier lives left', () => {
    const { rests, circles } = explore(everyPair());
    expect(rests.filter((s) => !linked(s)).map(show)).to.deep.equal([]);
    expect(circles).to.equal(0);
  });

  for (const first of mishaps) {
    it(`come to rest when the ${first}, and when anything else happens as well, at whatever time`, function () {
      this.timeout(60_000);
      for (const second of mishaps.slice(mishaps.indexOf(first))) {
        expectRest([pair('Initialising', 'Initialising', [first, second])]);
      }
    });
  }

  for (const mishap of ['frontend closes', 'toolstack detaches', 'frontend restarts', 'backend restarts'] as const) {
    it(`come to rest from whatever states earlier lives left when the ${mishap}`, function () {
      this.timeout(60_000);
      expectRest(everyPair([mishap]));
    });
  }

  it('connect again with a backend that is attached anew in another domain', () => {
    const { rests } = explore([
      pair('Initialising', 'Initialising', ['backend vanishes', 'backend is attached anew', 'backend vanishes']),
    ]);
    const anew = rests.filter(({ past, b }) => past.includes('backend is attached anew') && !b.gone);
    expect(anew).to.not.be.empty;
    expect(anew.filter((s) => !linked(s)).map(show)).to.deep.equal([]);
  });
});

describe('the frontend table', () => {
  const backends: Readonly<Record<string, readonly Move[]>> = {
    'a Linux blkback that is closed': [
      { writes: 'InitWait', until: ['Initialised', 'Connected'] },
      { writes: 'Connected', until: ['Connected'] },
      { writes: 'Closing', until: ['Closed'] },
      { writes: 'Closed', until: ['Closed'] },
    ],
    'a backend that goes Closed without Closing, and offers itself again': [
      { writes: 'InitWait', until: ['Initialised', 'Connected'] },
      { writes: 'Connected', until: ['Connected'] },
      { writes: 'Closed', until: ['Closed'] },
      { writes: 'InitWait', until: ['Initialised', 'Connected'] },
      { writes: 'Connected', until: ['Connected'] },
    ],
    'a backend that firmware left Connected': [
      { writes: 'Connected', until: ['Closing'] },
      { writes: 'Closing', until: ['Closed'] },
      { writes: 'Closed', until: ['Initialising'] },
      { writes: 'InitWait', until: ['Initialised', 'Connected'] },
      { writes: 'Connected', until: ['Connected'] },
    ],
    'a backend that begins anew without a word': [
      { writes: 'InitWait', until: ['Initialised', 'Connected'] },
      { writes: 'Connected', until: ['Connected'] },
      { writes: 'Initialising', until: ['Initialising'] },
      { writes: 'InitWait', until: ['Initialised', 'Connected'] },
      { writes: 'Connected', until: ['Connected'] },
    ],
  };
  for (const [name, moves] of Object.entries(backends)) {
    it(`goes along with ${name}`, () => {
      const first = moves[0]?.writes === 'Connected' ? 'Connected' : 'Initialising';
      const { rests, circles } = explore([
        { ...pair('Initialising', first), persona: { end: 'back', moves, wrote: false } },
      ]);
      expect(rests.filter(({ persona }) => persona?.moves.length !== 0).map(show)).to.deep.equal([]);
      expect(circles).to.equal(0);
    });
  }

  it('ends what is closed for good whatever the backend says', () => {
    for (const other of states) {
      const memory = { begun: true, closing: true, comeBack: false };
      for (const own of ['Initialising', 'Initialised', 'Connected'] as const) {
        expect(frontDecision(memory, own, other).does).to.equal('close');
      }
      expect(frontDecision(memory, 'Closed', other).does).to.not.equal('again');
    }
  });
});

describe('the backend table', () => {
  const connects: readonly Move[] = [
    { writes: 'Initialising', until: ['InitWait'] },
    { writes: 'Initialised', until: ['Connected'] },
    { writes: 'Connected', until: ['Connected'] },
  ];
  const closes: readonly Move[] = [
    { writes: 'Closing', until: ['Closing', 'Closed'] },
    { writes: 'Closed', until: ['Closed'] },
  ];
  const frontends: Readonly<Record<string, readonly Move[]>> = {
    'a Linux blkfront': [...connects, ...closes],
    'a Windows frontend, which closes before it connects': [...closes, ...connects, ...closes, ...connects],
    'a frontend that goes straight to Connected': [
      { writes: 'Initialising', until: ['InitWait'] },
      { writes: 'Connected', until: ['Connected'] },
    ],
    'an fbfront, which shares its ring without waiting for InitWait': [
      { writes: 'Initialised', until: ['Connected'] },
      { writes: 'Connected', until: ['Connected'] },
    ],
    'a frontend that skips Closing': [...connects, { writes: 'Closed', until: ['Closed'] }, ...connects],
    'a frontend that closes before it has connected, without Closing': [
      { writes: 'Initialising', until: ['InitWait'] },
      { writes: 'Closed', until: ['Closed'] },
      ...connects,
    ],
    'a frontend that comes back without closing': [...connects, ...connects],
  };
  for (const [name, moves] of Object.entries(frontends)) {
    it(`goes along with ${name}`, () => {
      const { rests, circles } = explore([
        { ...pair('Initialising', 'Initialising'), persona: { end: 'front', moves, wrote: false } },
      ]);
      expect(rests.filter(({ persona }) => persona?.moves.length !== 0).map(show)).to.deep.equal([]);
      expect(rests.filter((s) => s.back === 'Connected' && s.b.ring !== s.keys).map(show)).to.deep.equal([]);
      expect(circles).to.equal(0);
    });
  }

  it('does nothing more once it is Closed and the toolstack has taken the device offline', () => {
    for (const other of states) {
      const memory = { begun: true, comeBack: true, past: undefined };
      expect(backDecision(memory, 'Closed', other, false).does).to.equal(undefined);
    }
  });
});
