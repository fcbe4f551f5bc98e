import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { BackRing } from '../../../core/abi/back-ring.js';
import { FrontRing } from '../../../core/abi/front-ring.js';
import { sring } from '../../../core/abi/ring.js';
import { PeerFault } from '../../../core/errors.js';
import { Requests } from '../../../core/xenbus/requests.js';
import { Responses } from '../../../core/xenbus/responses.js';
import { hookAtomics } from '../../support/atomics.js';
import { type Classes, explore, format, type Manner, type Scenario, type Tally, type Verdict } from './schedules.js';

const real: Classes = { FrontRing, BackRing, Requests, Responses };
const manners: readonly Manner[] = (['front', 'back'] as const).flatMap((first) =>
  (['one step', 'all'] as const).map((comesFor) => ({ first, comesFor, at: 'before and after' })),
);
const briefly: readonly Manner[] = (['front', 'back'] as const).map((first) => ({
  first,
  comesFor: 'one step',
  at: 'after',
}));

/** Says in a test's title what was seen, since that is what the test is about. */
const entitle = (test: Mocha.Context['test'], tally: Tally): void => {
  const seen = Object.entries(tally).filter(([name, count]) => count > 0 && name !== 'schedules');
  if (test !== undefined) {
    test.title += ` (${tally.schedules} schedules: ${seen.map(([name, count]) => `${count} ${name}`).join(', ')})`;
  }
};

describe('two ends that come in between each other’s accesses to the shared indices (ring.h)', () => {
  const scenarios: Readonly<Record<string, Scenario>> = {
    'three pushes of one request': { pushes: [1, 1, 1] },
    'a push of two and one of one': { pushes: [2, 1] },
    'a push of one and one of two': { pushes: [1, 2] },
    'answers that come later, one by one': { pushes: [2, 1], answers: 1 },
    'answers that come later, in pairs': { pushes: [1, 1, 1], answers: 2 },
    'answers that come later, all together': { pushes: [1, 2], answers: 3 },
    'a frontend that asks for two responses at once': { pushes: [1, 1, 1], answers: 1, holdOff: 2 },
    'a frontend that asks for three responses at once': { pushes: [2, 1], holdOff: 3 },
  };
  for (const [name, scenario] of Object.entries(scenarios)) {
    it(`lose and garble nothing and notify only when asked: ${name}`, function () {
      const tally = explore(real, [scenario], manners);
      expect(tally.schedules).to.be.greaterThan(500);
      expect(tally.right).to.equal(tally.schedules);
      entitle(this.test, tally);
    });
  }
});

/** In what replaces, `@name` is the class's own field of that name, which may be written `#name`. */
type Replacement = readonly [from: RegExp, to: string];

const files: Readonly<Record<keyof Classes, string>> = {
  FrontRing: '../../../core/abi/front-ring.js',
  BackRing: '../../../core/abi/back-ring.js',
  Requests: '../../../core/xenbus/requests.js',
  Responses: '../../../core/xenbus/responses.js',
};

/** All classes, one of them with parts of its file's text replaced. */
const withMutant = async (name: keyof Classes, replacements: readonly Replacement[]): Promise<Classes> => {
  const url = new URL(files[name], import.meta.url);
  const absolute = (_: string, path: string): string =>
    `from ${JSON.stringify(path.startsWith('.') ? new URL(path, url).href : import.meta.resolve(path))}`;
  const text = replacements.reduce(
    (before, [from, to]) => {
      expect(before, 'a file without what is to be replaced').to.match(from);
      const own = (_: string, field: string): string => `this.${before.includes(`this.#${field}`) ? '#' : ''}${field}`;
      return before.replace(from, to.replace(/@(\w+)/g, own));
    },
    readFileSync(url, 'utf8').replace(/^\/\/# sourceMappingURL.*/m, ''),
  );
  const module = `data:text/javascript,${encodeURIComponent(text.replace(/from '([^']+)'/g, absolute))}`;
  return { ...real, [name]: ((await import(module)) as Classes)[name] };
};

describe('the schedules', () => {
  const scenarios: readonly Scenario[] = [{ pushes: [1, 1, 1] }, { pushes: [2, 1] }, { pushes: [1, 1, 1], answers: 2 }];
  const final = /Atomics\.store\(this\.#?words, sring\.(\w+)Event, ([^;]+)\);\s*return ([^;]+);/;
  const ahead = /\(([\w.#]+) \+ (?:this\.#?holdOff|ahead)\) \| 0/;
  const predicate = /return \(now - (Atomics\.load\(this\.#?words, sring\.\w+\))\) >>> 0 < \(now - old\) >>> 0;/;

  /** What either end of a ring could get wrong, and what that must come to. */
  const ofEitherEnd: Readonly<Record<string, readonly [Verdict, ...Replacement[]]>> = {
    'does not look once more before it sleeps': [
      'hangs',
      [final, 'Atomics.store(@words, sring.$1Event, $2); return false;'],
    ],
    'looks once more before it asks to be woken': [
      'hangs',
      [final, 'const more = $3; Atomics.store(@words, sring.$1Event, $2); return more;'],
    ],
    'never asks to be woken': ['hangs', [final, 'return $3;']],
    'asks for a message that it has had': ['hangs', [ahead, '$1']],
    'asks for the message after the next': ['hangs', [ahead, '($1 + 2) | 0']],
    'notifies at new - event <= new - old': ['shouts', [predicate, 'return (now - $1) >>> 0 <= (now - old) >>> 0;']],
    'notifies at new - event > new - old': ['mutters', [predicate, 'return (now - $1) >>> 0 > (now - old) >>> 0;']],
    'notifies at event = new only': ['hangs', [predicate, 'return now === $1;']],
    'is silent in a push of two': [
      'hangs',
      [predicate, 'return (now - $1) >>> 0 < (now - old) >>> 0 && ((now - old) | 0) !== 2;'],
    ],
    'never notifies': ['hangs', [predicate, 'return $1 === undefined;']],
    'always notifies': ['shouts', [predicate, 'return $1 !== undefined;']],
    'compares the indices by size': [
      'hangs',
      [predicate, 'const event = $1 >>> 0; return event > old >>> 0 && event <= now >>> 0;'],
    ],
    'looks at the event before it publishes': [
      'hangs',
      [
        /(Atomics\.store\(this\.#?words, sring\.\w+Prod, now\));\s*return ([^;]+);/,
        'const asked = $2; $1; return asked;',
      ],
    ],
  };
  const ofFrontRing: typeof ofEitherEnd = {
    'publishes a request before it is written': [
      'garbles',
      [/slot\(id\) \{/, '$& Atomics.store(@words, sring.reqProd, (@reqProdPvt + 1) | 0);'],
    ],
    'publishes one request more than it put in': ['garbles', [/const now = this\.#?reqProdPvt/, '$& + 1']],
  };
  const ofBackRing: typeof ofEitherEnd = {
    'publishes an answer before it is written': [
      'garbles',
      [/\bput\(exchange\) \{/, '$& Atomics.store(@words, sring.rspProd, (@rspProdPvt + 1) | 0);'],
      [/const later = handler/, 'Atomics.store(words, sring.rspProd, (prod + 1) | 0); $&'],
    ],
  };
  const ofRequests: typeof ofEitherEnd = {
    'sleeps without the final check': ['hangs', [/if \(!this\.#?ring\.finalCheck\(\)\)/, 'if (true)']],
  };
  const ofResponses: typeof ofEitherEnd = {
    'sleeps without the final check': ['hangs', [/if \(!ring\.finalCheck\(left\)\)/, 'if (true)']],
    'publishes its answers at the next upcall': [
      'hangs',
      [/(while \(!this\.#?closed\) \{)((?:[^}]*\})*[^}]*)this\.push\(\);(\s*\}\s*this\.#left)/, 'this.push(); $1$2$3'],
    ],
  };

  const mutants: Readonly<Record<keyof Classes, typeof ofEitherEnd>> = {
    FrontRing: { ...ofEitherEnd, ...ofFrontRing },
    BackRing: { ...ofEitherEnd, ...ofBackRing },
    Requests: ofRequests,
    Responses: ofResponses,
  };
  for (const [name, mistakes] of Object.entries(mutants) as [keyof Classes, typeof ofEitherEnd][]) {
    for (const [mistake, [verdict, ...replacements]] of Object.entries(mistakes)) {
      it(`catch a ${name} that ${mistake}`, async function () {
        const tally = explore(await withMutant(name, replacements), scenarios, briefly);
        expect(tally[verdict], JSON.stringify(tally)).to.be.greaterThan(0);
        entitle(this.test, tally);
      });
    }
  }
});

describe('a peer that changes its index between an end’s accesses to it', () => {
  const FIRST = 0xfffffffe;
  const words = new Int32Array(new SharedArrayBuffer(4 * sring.entries + 4 * 8));
  const ends = {
    /** Two requests are published, and the backend has taken none of them. */
    BackRing: ({ BackRing, FrontRing }: Pick<Classes, 'BackRing' | 'FrontRing'>) => {
      const front = new FrontRing(words, format, { first: FIRST });
      const back = new BackRing(words, format);
      for (const value of [1, 2]) {
        front.slot(value).set({ value });
        front.put();
      }
      front.push();
      return { unconsumed: () => back.unconsumed(), prod: sring.reqProd, beyond: 3 };
    },
    /** Two requests are published and answered, and the frontend has taken neither answer. */
    FrontRing: ({ BackRing, FrontRing }: Pick<Classes, 'BackRing' | 'FrontRing'>) => {
      const front = new FrontRing(words, format, { first: FIRST });
      const back = new BackRing(words, format);
      for (const value of [1, 2]) {
        front.slot(value).set({ value });
        front.put();
      }
      front.push();
      back.serve(back.unconsumed(), () => undefined);
      back.push();
      return { unconsumed: () => front.unconsumed(), prod: sring.rspProd, beyond: 1 };
    },
  } as const;

  /** What an end says when its peer writes a producer index that cannot be at each point of its look, and after it. */
  const looks = (
    name: keyof typeof ends,
    classes: Classes,
  ): { readonly believed: number; readonly unnoticed: number } => {
    const seen = { believed: 0, unnoticed: 0 };
    const { beyond } = ends[name](classes);
    for (const ahead of [beyond, beyond + 1, 2 ** 31 - 2, 2 ** 31, 2 ** 32 - 3]) {
      for (let points = 1, point = 0; point < points; point++) {
        const { unconsumed, prod } = ends[name](classes);
        let at = 0;
        const write = (): void => {
          if (at++ === point) words[prod] = FIRST + 2 + ahead;
        };
        try {
          if (hookAtomics({ before: write, after: write }, unconsumed) !== 2) seen.believed++;
        } catch (error) {
          expect(error).to.be.instanceOf(PeerFault);
        }
        points = at;
        try {
          unconsumed();
          seen.unnoticed++;
        } catch (error) {
          expect(error).to.be.instanceOf(PeerFault);
        }
      }
    }
    return seen;
  };

  const blind: Replacement = [/if \(count > limit\)\s*throw [^;]+;/, ''];
  const twice: Replacement = [/return count;/, 'return (Atomics.load(@words, PROD) - CONS) >>> 0;'];
  const indices = {
    BackRing: ['sring.reqProd', '@reqConsPvt'],
    FrontRing: ['sring.rspProd', '@rspCons'],
  } as const;

  for (const name of ['FrontRing', 'BackRing'] as const) {
    const [prod, cons] = indices[name];

    it(`is at fault, and ${name} takes no more than there is (XSA-155)`, () => {
      expect(looks(name, real)).to.eql({ believed: 0, unnoticed: 0 });
    });

    it(`would be believed by a ${name} that reads the index twice`, async () => {
      const [from, to] = twice;
      const classes = await withMutant(name, [[from, to.replace('PROD', prod).replace('CONS', cons)]]);
      expect(looks(name, classes).believed).to.be.greaterThan(0);
    });

    it(`would be believed by a ${name} without the overflow check`, async () => {
      const { believed, unnoticed } = looks(name, await withMutant(name, [blind]));
      expect([believed, unnoticed].every((count) => count > 0)).to.equal(true);
    });
  }
});
