import { expect } from 'chai';
import { PeerFault } from '../../../core/index.js';
import { ends, send, word } from './tiny-ring.js';

describe('the overflow checks (ring.h RING_REQUEST_PROD_OVERFLOW, RING_RESPONSE_PROD_OVERFLOW)', () => {
  const far = [1, 2, 3, 100, 0x7fffffff, 0x80000000, 0xfffffff0];

  it('fault every req_prod that is further ahead than there are slots, and every one behind', () => {
    for (const first of [0, 0xfffffffe]) {
      for (const taken of [0, 2, 4]) {
        for (const ahead of far) {
          const { words, front, back } = ends(first);
          for (let id = 0; id < taken; id++) send(front, id);
          front.push();
          back.unconsumed();
          for (let i = 0; i < taken; i++) back.take();
          const limit = 4 - taken;
          Atomics.store(words, word.reqProd, (first + taken + limit) | 0);
          expect(back.unconsumed(), 'the last that can be').to.equal(limit);
          const prod = (first + taken + limit + ahead) | 0;
          Atomics.store(words, word.reqProd, prod);
          const said = `req_prod, with at most ${limit} to come after ${(first + taken) >>> 0}, cannot be ${prod >>> 0}`;
          expect(() => back.unconsumed(), said).to.throw(PeerFault, said);
        }
      }
    }
  });

  it('fault every rsp_prod that answers more than was published, and every one behind', () => {
    for (const first of [0, 0xfffffffe]) {
      for (const published of [0, 1, 4]) {
        for (const ahead of far) {
          const { words, front } = ends(first);
          for (let id = 0; id < published; id++) send(front, id);
          front.push();
          if (published < 4) send(front, 3);
          Atomics.store(words, word.rspProd, (first + published) | 0);
          expect(front.unconsumed(), 'the last that can be').to.equal(published);
          const prod = (first + published + ahead) | 0;
          Atomics.store(words, word.rspProd, prod);
          const said = `rsp_prod, with at most ${published} to come after ${first}, cannot be ${prod >>> 0}`;
          expect(() => front.unconsumed(), said).to.throw(PeerFault, said);
        }
      }
    }
  });
});
