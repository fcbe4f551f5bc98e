import { expect } from 'chai';
import { PeerFault } from '../../core/errors.js';
import { localChannelPair, RingXenStore } from '../../xenstore/index.js';
import { fromStrings } from '../../xenstore/payload.js';
import { StoreRing } from '../../xenstore/ring-page.js';
import { encodeMessage, MessageReader, type XsMessage, xs } from '../../xenstore/wire.js';
import { failure } from '../support/failure.js';
import { memoryPage, StoreMachine } from '../support/store-machine.js';

describe('a client of a store that is played by hand', () => {
  let machine: StoreMachine;

  beforeEach(() => {
    machine = new StoreMachine();
  });

  /** A guest's client, and the store's end of its page, played by hand. */
  const byHand = () => {
    const page = memoryPage();
    const [own, other] = localChannelPair(machine.post);
    const ring = new StoreRing(page, other);
    other.subscribe();
    const reader = new MessageReader();
    const store = new RingXenStore(page, own);
    const receive = (): XsMessage => {
      machine.run();
      const message = reader.next((into, offset, length) => ring.read(into, offset, length));
      if (message === undefined) throw new Error('no request came');
      return message;
    };
    const send = (message: Partial<XsMessage>, ...texts: string[]): void => {
      const bytes = encodeMessage({ type: 0, reqId: 0, txId: 0, payload: fromStrings(...texts), ...message });
      ring.write(bytes, 0, bytes.length);
      machine.run();
    };
    return { page, store, receive, send, ring };
  };

  it('matches replies by their number, in whatever order they come, with events in between', async () => {
    const { store, receive, send } = byHand();
    const [a, b] = [store.read('a'), store.read('b')];
    const [first, second] = [receive(), receive()];
    send({ ...second, payload: Uint8Array.of(66) });
    send({ type: xs.WATCH_EVENT }, 'x', 'nobody');
    send({ ...first, reqId: 12345, payload: Uint8Array.of(88) });
    send({ ...first, payload: Uint8Array.of(65) });
    expect([await a, await b]).to.deep.equal(['A', 'B']);
  });

  it('takes oxenstored’s EQUOTA for ENOSPC, and a name that nobody knows for EINVAL', async () => {
    const { store, receive, send } = byHand();
    for (const [name, code] of [
      ['EQUOTA', 'ENOSPC'],
      ['EWHAT', 'EINVAL'],
      ['EROFS', 'EROFS'],
    ] as const) {
      const work = store.write('a', '');
      send({ ...receive(), type: xs.ERROR, payload: fromStrings(name) });
      expect(await failure(work)).to.include({ code });
    }
  });

  const lies: readonly (readonly [string, (hand: ReturnType<typeof byHand>) => void])[] = [
    ['a reply of another type', ({ receive, send }) => send({ ...receive(), type: xs.RM })],
    ['an event without a token', ({ send }) => send({ type: xs.WATCH_EVENT }, 'x')],
    [
      'a payload that is too long',
      ({ ring }) => {
        const header = new Uint8Array(16);
        new DataView(header.buffer).setUint32(12, 4097, true);
        ring.write(header, 0, 16);
        machine.run();
      },
    ],
    [
      'an index that cannot be',
      ({ page, ring }) => {
        Atomics.store(page.words, 2060 >> 2, 5000);
        expect(() => ring.write(new Uint8Array(1), 0, 1)).to.throw(PeerFault);
        ring.fail(0);
        machine.run();
      },
    ],
  ];
  for (const [what, lie] of lies) {
    it(`closes the connection for ${what}, with a PeerFault to all who wait`, async () => {
      const hand = byHand();
      const work = [hand.store.read('a'), hand.store.read('b')];
      lie(hand);
      for (const end of await Promise.allSettled(work)) {
        expect(end).to.have.property('reason').that.is.instanceOf(PeerFault);
      }
      expect(await failure(hand.store.read('c'))).to.be.instanceOf(PeerFault);
    });
  }

  it('refuses a listing in parts that never ends', async () => {
    const { store, receive, send } = byHand();
    const work = store.directory('d');
    send({ ...receive(), type: xs.ERROR, payload: fromStrings('E2BIG') });
    await machine.settle();
    send({ ...receive(), payload: fromStrings('7') });
    expect(await failure(work)).to.be.instanceOf(PeerFault);
  });
});
