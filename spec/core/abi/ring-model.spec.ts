import { expect } from 'chai';
import fc from 'fast-check';
import { BackRing, FrontRing, struct, u16, u32 } from '../../../core/index.js';

const format = {
  request: struct('request', { value: u32, id: u16, extra: u16 }),
  response: struct('response', { id: u16, status: u16 }),
  id: 'id',
} as const;
type Front = FrontRing<typeof format.request, typeof format.response, 'id'>;
type Back = BackRing<typeof format.request, typeof format.response, 'id'>;
type Kept = ReturnType<Back['take']>;

/** What the two ends may do, as a queue in each direction and counts: nothing of ring.h but its contract. */
class Model {
  readonly entries = 4;
  unpushed: number[] = [];
  requests: number[] = [];
  taken: number[] = [];
  answersUnpushed: number[] = [];
  answers: number[] = [];
  next = 0;

  get outstanding(): number {
    return [this.unpushed, this.requests, this.taken, this.answersUnpushed, this.answers].reduce(
      (n, list) => n + list.length,
      0,
    );
  }
}

interface Real {
  readonly front: Front;
  readonly back: Back;
  readonly kept: Map<number, Kept>;
}

type Command = fc.Command<Model, Real>;

class Send implements Command {
  check = (m: Readonly<Model>): boolean => m.outstanding < m.entries;
  run(m: Model, { front }: Real): void {
    expect(front.full).to.equal(false);
    front.slot(m.next & 0xffff).set({ value: m.next * 3, extra: m.next & 0xffff });
    front.put();
    m.unpushed.push(m.next++);
  }
  toString = (): string => 'send';
}

class PushRequests implements Command {
  check = (): boolean => true;
  run(m: Model, { front }: Real): void {
    front.push();
    m.requests.push(...m.unpushed.splice(0));
  }
  toString = (): string => 'push requests';
}

class Take implements Command {
  check = (m: Readonly<Model>): boolean => m.requests.length > 0;
  run(m: Model, { back, kept }: Real): void {
    expect(back.unconsumed()).to.equal(m.requests.length);
    const expected = m.requests.shift() ?? -1;
    const exchange = back.take();
    back.keep();
    expect(exchange.request.value).to.equal(expected * 3);
    kept.set(expected, exchange);
    m.taken.push(expected);
  }
  toString = (): string => 'take';
}

class Answer implements Command {
  constructor(readonly which: number) {}
  check = (m: Readonly<Model>): boolean => m.taken.length > 0;
  run(m: Model, { back, kept }: Real): void {
    const [id] = m.taken.splice(this.which % m.taken.length, 1);
    const exchange = kept.get(id ?? -1);
    if (exchange === undefined || id === undefined) throw new Error('the model lost a request');
    expect(exchange.request.value, 'the private copy').to.equal(id * 3);
    exchange.response.status = exchange.request.extra ^ 0xffff;
    back.put(exchange);
    m.answersUnpushed.push(id);
  }
  toString = (): string => `answer(${this.which})`;
}

class PushAnswers implements Command {
  check = (): boolean => true;
  run(m: Model, { back }: Real): void {
    back.push();
    m.answers.push(...m.answersUnpushed.splice(0));
  }
  toString = (): string => 'push answers';
}

class Complete implements Command {
  check = (m: Readonly<Model>): boolean => m.answers.length > 0;
  run(m: Model, { front }: Real): void {
    expect(front.unconsumed()).to.equal(m.answers.length);
    const id = m.answers.shift() ?? -1;
    const response = front.take();
    expect([response.$lo, response.status]).to.deep.equal([id & 0xffff, (id & 0xffff) ^ 0xffff]);
  }
  toString = (): string => 'complete';
}

describe('the two ends of a ring', () => {
  it('carry every request and response once, in order each way, from any index (model)', () => {
    const commands = [
      fc.constant(new Send()),
      fc.constant(new PushRequests()),
      fc.constant(new Take()),
      fc.nat(3).map((which) => new Answer(which)),
      fc.constant(new PushAnswers()),
      fc.constant(new Complete()),
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(0, 0xfffffff0, 0xfffffffe),
        fc.commands(commands, { maxCommands: 200, size: '+1' }),
        (first, run) => {
          const setup = (): { model: Model; real: Real } => {
            const words = new Int32Array(new SharedArrayBuffer(64 + 4 * 8));
            const front = new FrontRing(words, format, { first });
            return { model: new Model(), real: { front, back: new BackRing(words, format), kept: new Map() } };
          };
          fc.modelRun(() => {
            const { model, real } = setup();
            return { model, real };
          }, run);
        },
      ),
    );
  });

  it('say how much room there is (model)', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('send', 'push', 'answer', 'complete'), { maxLength: 60 }), (steps) => {
        const words = new Int32Array(new SharedArrayBuffer(64 + 8 * 8));
        const front = new FrontRing(words, format, { first: 0xfffffff0 });
        const back = new BackRing(words, format);
        let [put, pushed, answered, taken] = [0, 0, 0, 0];
        for (const step of steps) {
          if (step === 'send' && put - taken < 8) {
            front.slot(0).set({ value: 0, extra: 0 });
            front.put();
            put++;
          } else if (step === 'push') {
            front.push();
            pushed = put;
          } else if (step === 'answer' && answered < pushed) {
            back.put(back.take());
            back.push();
            answered++;
          } else if (step === 'complete' && taken < answered) {
            front.take();
            taken++;
          }
          expect([front.free, front.full]).to.deep.equal([8 - (put - taken), put - taken === 8]);
          expect(front.unconsumed()).to.equal(answered - taken);
          expect(back.unconsumed()).to.equal(pushed - answered);
        }
      }),
    );
  });
});
