import { expect } from 'chai';
import fc from 'fast-check';
import { sring } from '../../../core/abi/ring.js';
import { Disconnected, PeerFault } from '../../../core/errors.js';
import { fillOf, packetPumps } from './packet-rings.js';

const ignore = (): void => undefined;

/** Both ends; what the backend saw, as `mark: slots+extras`, and what came back of each slot. */
const wired = (handle: (taken: number) => boolean = () => true, whole = false) => {
  const made = packetPumps(whole);
  const seen: string[] = [];
  const statuses: number[] = [];
  const packets = made.back.drain((batch) => {
    for (let packet = batch.look(); packet !== undefined; packet = batch.look()) {
      if (!handle(seen.length)) break;
      batch.take();
      const grefs = Array.from({ length: Math.min(packet.slots, 4) }, (_, i) => packet.slot(i).gref);
      const values = Array.from({ length: Math.min(packet.extras, 2) }, (_, i) => packet.extra(i).value);
      seen.push(`${grefs.join(' ')} of ${packet.slots}${values.length > 0 ? `, extras ${values.join(' ')}` : ''}`);
    }
  });
  const done = ({ status }: { readonly status: number }): void => void statuses.push(status);
  const send = (slots: number, extras: number, mark: number): boolean =>
    made.front.chain(slots, extras, fillOf(slots, extras, mark), done);
  const answer = (status = 0): void =>
    packets.answer((response, isExtra) => {
      response.status = isExtra ? 1 : status;
    });
  return { ...made, packets, seen, statuses, send, answer };
};

describe('packets on a ring', () => {
  it('come whole: slots and extras as they were sent', () => {
    const { front, back, send, seen } = wired();
    expect(send(1, 0, 10)).to.equal(true);
    expect(send(3, 1, 20)).to.equal(true);
    expect(send(4, 2, 30)).to.equal(true);
    front.push();
    expect(back.upcall()).to.equal(8);
    expect(seen).to.deep.equal(['10 of 1', '20 21 of 2, extras 20', '30 31 of 2, extras 30 30']);
  });

  it('are sent as a whole or not at all', () => {
    const { front, send } = wired();
    expect(send(6, 0, 1)).to.equal(true);
    expect(send(3, 0, 2)).to.equal(false);
    expect(front.free).to.equal(2);
    expect(send(2, 0, 2)).to.equal(true);
    expect(() => send(9, 0, 3)).to.throw(RangeError, '9 slots');
  });

  it('take no slot when writing one throws, whichever it is', () => {
    const { front, back, send, seen } = wired();
    for (let bad = 0; bad < 4; bad++) {
      const fill = fillOf(4, 1, 5);
      expect(() =>
        front.chain(
          4,
          1,
          (slot, id, i) => {
            fill(slot, id, i);
            if (i === bad) throw new Error('no');
          },
          ignore,
        ),
      ).to.throw('no');
      expect(front.free).to.equal(8);
    }
    send(1, 0, 7);
    front.push();
    back.upcall();
    expect(seen).to.deep.equal(['7 of 1']);
  });

  it('are private copies: what the frontend writes afterwards changes nothing (XSA-155)', () => {
    const { words, front, back } = packetPumps();
    let seen: readonly unknown[] = [];
    back.drain((packets) => {
      const packet = packets.look();
      words.fill(-1, sring.entries);
      packets.take();
      seen = [packet?.slots, packet?.slot(0).gref, packet?.slot(1).gref];
      packets.answer(ignore);
    });
    front.chain(2, 0, fillOf(2, 0, 40), ignore);
    front.push();
    back.upcall();
    expect(seen).to.deep.equal([2, 40, 41]);
  });

  it('whose end is not there yet stay on the ring, and are looked at anew', () => {
    const { words, front, back, send, seen, notified } = wired();
    send(3, 1, 50);
    const first = Atomics.load(words, sring.reqProd);
    front.push();
    for (const there of [1, 2]) {
      Atomics.store(words, sring.reqProd, (first + there) | 0);
      expect(back.upcall()).to.equal(0);
      expect(back.left).to.equal(there);
      expect(seen).to.deep.equal([]);
    }
    Atomics.store(words, sring.reqProd, (first + 3) | 0);
    expect(back.upcall()).to.equal(3);
    expect(seen).to.deep.equal(['50 51 of 2, extras 50']);
    expect(notified.back).to.equal(1);
  });

  it('that are left are offered again with the next', () => {
    let may = false;
    const { front, back, send, seen } = wired(() => may);
    send(2, 0, 1);
    front.push();
    expect(back.upcall()).to.equal(0);
    expect(back.left).to.equal(2);
    may = true;
    send(1, 0, 9);
    front.push();
    expect(back.upcall()).to.equal(3);
    expect(seen).to.deep.equal(['1 2 of 2', '9 of 1']);
  });

  it('longer than is copied are counted, each of their slots is answered, and the others cannot be read', () => {
    const { front, back, packets, send, statuses, answer } = wired();
    send(8, 0, 60);
    front.push();
    let counted = 0;
    let beyond = '';
    const look = packets.look.bind(packets);
    packets.look = () => {
      const packet = look();
      if (packet !== undefined) {
        counted = packet.slots;
        try {
          packet.slot(4);
        } catch (error) {
          beyond = String(error);
        }
      }
      return packet;
    };
    back.upcall();
    expect(counted).to.equal(8);
    expect(beyond).to.match(/RangeError: slot 4/);
    answer(-2);
    packets.push();
    front.upcall();
    expect(statuses).to.deep.equal(Array.from({ length: 8 }, () => -2));
  });

  it('that do not end end the link', () => {
    const { words, front, back } = wired();
    front.chain(8, 0, (slot) => slot.set({ gref: 1 as never, flags: 4 }), ignore);
    front.push();
    expect(() => back.upcall()).to.throw(PeerFault, 'more slots than its ring');
    Atomics.store(words, sring.reqProd, Atomics.load(words, sring.reqProd) + 9);
    expect(() => back.upcall()).to.throw(PeerFault, 'req_prod');
  });

  for (let published = 1; published < 5; published++) {
    /** Four data slots and an extra, of which so many are published. */
    const cut = (whole: boolean) => {
      const made = wired(() => true, whole);
      made.send(1, 0, 1);
      made.send(5, 1, 20);
      made.front.push();
      const end = Atomics.load(made.words, sring.reqProd);
      Atomics.store(made.words, sring.reqProd, end - 5 + published);
      return { ...made, end };
    };

    it(`wait for their rest when ${published} of 5 slots were published`, () => {
      const { words, back, seen, end } = cut(false);
      expect(back.upcall()).to.equal(1);
      expect(seen).to.deep.equal(['1 of 1']);
      Atomics.store(words, sring.reqProd, end);
      expect(back.upcall()).to.equal(5);
      expect(seen).to.deep.equal(['1 of 1', '20 21 22 23 of 4, extras 20']);
    });

    it(`end the link when they have to be whole, and ${published} of 5 slots were published`, () => {
      const { back, seen } = cut(true);
      expect(() => back.upcall()).to.throw(PeerFault, 'wants more slots than were published');
      expect(seen).to.deep.equal(['1 of 1']);
    });
  }

  it('are answered in their order, extras by what says so, later too; what is owed counts as pending', () => {
    const { front, back, packets, send, statuses, answer } = wired();
    send(3, 2, 1);
    send(2, 0, 2);
    front.push();
    back.upcall();
    expect(back.pending).to.equal(2);
    expect(front.upcall()).to.equal(0);
    answer(0);
    packets.push();
    expect(front.upcall()).to.equal(3);
    expect(statuses).to.deep.equal([0]);
    answer(-1);
    packets.push();
    front.upcall();
    expect(statuses).to.deep.equal([0, -1, -1]);
    expect(back.pending).to.equal(0);
    expect(() => answer()).to.throw(RangeError, 'no packet is taken');
    expect(front.free).to.equal(8);
  });

  it('are told that they are lost, each slot that has an id, when the link ends first', () => {
    const { front } = packetPumps();
    const lost: number[] = [];
    front.chain(4, 2, fillOf(4, 2, 1), ignore, (error, id) => {
      expect(error).to.be.instanceOf(Disconnected);
      lost.push(id);
    });
    front.close();
    expect(lost).to.have.length(2);
    expect(() => front.chain(1, 0, fillOf(1, 0, 1), ignore)).to.throw(Disconnected);
  });

  it('find room by the answers that are there, without an upcall', () => {
    const { front, packets, back, send, statuses, answer } = wired();
    send(8, 0, 1);
    front.push();
    back.upcall();
    expect(send(1, 0, 2)).to.equal(false);
    answer();
    packets.push();
    expect(send(5, 0, 2)).to.equal(true);
    expect(statuses).to.have.length(8);
  });

  it('that cannot be answered as they are end the link at the next upcall, not in the middle of sending', () => {
    const { words, front, send } = wired();
    send(8, 0, 1);
    front.push();
    Atomics.store(words, sring.rspProd, Atomics.load(words, sring.rspProd) + 1);
    // The id of no request.
    words[sring.entries + (-3 & 7) * 2] = 200;
    expect(send(1, 0, 2)).to.equal(false);
    expect(() => front.upcall()).to.throw(PeerFault, 'the id of a response');
  });

  it('wait for as many slots as they need, and are not asked before', () => {
    const { front, back, packets, send, answer } = wired();
    for (let i = 0; i < 8; i++) send(1, 0, i);
    front.push();
    back.upcall();
    let asked = 0;
    front.space(() => void asked++, 3);
    for (const expected of [0, 0, 1, 1]) {
      answer();
      packets.push();
      front.upcall();
      expect(asked).to.equal(expected);
    }
    expect(() => front.space(ignore, 9)).to.throw(RangeError);
  });

  it('of whatever shape, pushed and answered in whatever portions, all come and are all answered', () => {
    const shape = fc.record({ data: fc.integer({ min: 1, max: 4 }), extras: fc.integer({ min: 0, max: 2 }) });
    const step = fc.oneof(shape, fc.constantFrom('push', 'back', 'answer', 'front'));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { front, back, packets, send, seen, statuses, answer } = wired();
        const sent: string[] = [];
        let data = 0;
        for (const one of steps) {
          if (one === 'push') front.push();
          else if (one === 'back') back.upcall();
          else if (one === 'front') front.upcall();
          else if (one === 'answer') {
            if (back.pending > 0) answer(-7);
            packets.push();
          } else if (send(one.data + one.extras, one.extras, sent.length * 10)) {
            const mark = sent.length * 10;
            data += one.data;
            const grefs = Array.from({ length: one.data }, (_, i) => mark + i).join(' ');
            const values = Array.from({ length: one.extras }, () => mark & 0xffff).join(' ');
            sent.push(`${grefs} of ${one.data}${one.extras > 0 ? `, extras ${values}` : ''}`);
          }
        }
        front.push();
        back.upcall();
        while (back.pending > 0) answer(-7);
        packets.push();
        front.upcall();
        expect(seen).to.deep.equal(sent);
        expect(statuses).to.deep.equal(Array.from({ length: data }, () => -7));
        expect(front.free).to.equal(8);
      }),
    );
  });
});
