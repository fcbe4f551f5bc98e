import { expect } from 'chai';
import fc from 'fast-check';
import { sring } from '../../../core/abi/ring.js';
import { PeerFault } from '../../../core/errors.js';
import { creditPumps } from './packet-rings.js';

const wired = () => {
  const made = creditPumps();
  const arrived: string[] = [];
  made.front.drain((arrivals) => {
    for (let packet = arrivals.next(); packet !== undefined; packet = arrivals.next()) {
      const slots = Array.from(
        { length: Math.min(packet.slots, 4) },
        (_, i) => `${arrivals.buffer(i)}=${packet.slot(i).status}`,
      );
      arrived.push(`${slots.join(' ')}${packet.extras > 0 ? ` +${packet.extra(0).value}` : ''}`);
    }
  });
  made.front.keepPosted((slot, i) => slot.set({ id: i, gref: (100 + i) as never }));
  const held: number[] = [];
  /** Puts a packet into the next buffers; false when there are not as many. */
  const send = (slots: number, extra?: number): boolean => {
    const count = slots + (extra === undefined ? 0 : 1);
    if (!made.back.hold(count, ({ gref }) => void held.push(gref))) return false;
    for (let i = 0; i < count; i++) {
      const response = made.back.respond();
      if (extra !== undefined && i === 1) response.set({ id: 1, flags: extra, status: 0 });
      else {
        const more = i < count - 1 && !(extra !== undefined && slots === 1) ? 4 : 0;
        response.set({ id: 0, flags: more | (i === 0 && extra !== undefined ? 8 : 0), status: slots * 10 + i });
      }
    }
    return true;
  };
  return { ...made, arrived, held, send };
};

describe('buffers on a ring of credit', () => {
  it('are all posted, held in their order, filled, and posted again under the same number', () => {
    const { front, back, send, held, arrived } = wired();
    expect(back.has(8)).to.equal(true);
    expect(send(1)).to.equal(true);
    expect(send(3)).to.equal(true);
    back.push();
    expect(held).to.deep.equal([105, 106, 107, 100]);
    expect(front.upcall()).to.equal(4);
    expect(arrived).to.deep.equal(['5=10', '6=30 7=31 0=32']);
    expect(back.has(8)).to.equal(true);
  });

  it('are taken all or none', () => {
    const { back, held } = wired();
    expect(back.hold(9, () => void held.push(0))).to.equal(false);
    expect(held).to.deep.equal([]);
    expect(back.posted).to.equal(8);
    expect(() => back.respond()).to.throw(RangeError, 'no request is held');
  });

  it('that hold an extra leave the buffer of its place unused', () => {
    const { front, back, send, arrived } = wired();
    send(2, 77);
    back.push();
    front.upcall();
    expect(arrived).to.deep.equal(['5=20 7=22 +77']);
  });

  it('that are missing are asked for, and who waits hears once that there are more', () => {
    const { front, back, send, notified } = wired();
    let heard = 0;
    back.onPosted(() => void heard++);
    expect(back.upcall()).to.equal(8);
    for (let i = 0; i < 8; i++) send(1);
    expect(send(1)).to.equal(false);
    back.push();
    expect(back.upcall()).to.equal(0);
    expect(heard).to.equal(0);
    const before = notified.back;
    front.upcall();
    expect(notified.back).to.equal(before + 1);
    expect(back.upcall()).to.equal(8);
    expect(back.upcall()).to.equal(0);
    expect(heard).to.equal(1);
  });

  it('count as pending in no way', () => {
    const { back } = wired();
    back.hold(3, () => {});
    expect(back.pending).to.equal(0);
  });

  it('whose frontend announces more than there are are believed no longer, and the link ends later, not in the sender’s middle', async () => {
    const { words, back, lies } = wired();
    Atomics.store(words, sring.reqProd, Atomics.load(words, sring.reqProd) + 9);
    expect(back.hold(1, () => {})).to.equal(false);
    expect(lies).to.deep.equal([]);
    await Promise.resolve();
    expect(lies).to.have.length(1);
    expect(lies[0]).to.be.instanceOf(PeerFault);
    expect(back.has(1)).to.equal(false);
  });

  it('that are filled without end end the link', () => {
    const { front, back } = wired();
    back.hold(8, () => {});
    for (let i = 0; i < 8; i++) back.respond().set({ id: 0, flags: 4, status: 1 });
    back.push();
    expect(() => front.upcall()).to.throw(PeerFault, 'more slots than its ring');
  });

  it('carry packets of whatever shape, in whatever portions, all of them', () => {
    const step = fc.oneof(
      fc.record({
        slots: fc.integer({ min: 1, max: 4 }),
        extra: fc.option(fc.integer({ min: 0, max: 99 }), { nil: undefined }),
      }),
      fc.constantFrom('push', 'front', 'back'),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { front, back, send, arrived } = wired();
        let sent = 0;
        for (const one of steps) {
          if (one === 'push') back.push();
          else if (one === 'front') front.upcall();
          else if (one === 'back') back.upcall();
          else if (send(one.slots, one.extra)) sent++;
        }
        back.push();
        front.upcall();
        expect(arrived).to.have.length(sent);
        back.upcall();
        expect(back.posted).to.equal(8);
      }),
    );
  });
});
