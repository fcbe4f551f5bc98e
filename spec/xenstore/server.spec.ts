import { expect } from 'chai';
import { XenError } from '../../core/errors.js';
import { localChannelPair } from '../../xenstore/index.js';
import { fromStrings, join } from '../../xenstore/payload.js';
import { GuestRing } from '../../xenstore/ring-page.js';
import { encodeMessage, HEADER_SIZE, MessageReader, type XsMessage, xs } from '../../xenstore/wire.js';
import { RawClient } from '../support/raw-client.js';
import { type Guest, StoreMachine } from '../support/store-machine.js';

const REQ_CONS = 2048;
const REQ_PROD = 2052;
const RSP_CONS = 2056;
const RSP_PROD = 2060;
const START = 0xfffffff0;

describe('the store’s server', () => {
  let machine: StoreMachine;

  beforeEach(() => {
    machine = new StoreMachine();
  });

  const client = (guest: Guest) => new RawClient(new GuestRing(guest.page, guest.channel), machine);

  describe('on a guest’s ring page (docs/misc/xenstore-ring.txt)', () => {
    it('resets the indices at INTRODUCE, and says that it is connected and what it serves', () => {
      const guest = machine.create(1);
      for (const at of [REQ_CONS, REQ_PROD, RSP_CONS, RSP_PROD]) guest.setWord(at, 77);
      guest.setWord(2068, 1);
      guest.setWord(2072, 3);
      machine.server.introduce(guest.domid, guest.port);
      for (const at of [REQ_CONS, REQ_PROD, RSP_CONS, RSP_PROD]) expect(guest.word(at)).to.equal(0);
      expect(guest.word('connection')).to.equal(0);
      expect(guest.word('error')).to.equal(0);
      expect(guest.word('serverFeatures')).to.equal(0b111);
    });

    it('writes a reply that xs_wire.h’s reader understands, byte for byte', () => {
      const guest = machine.boot(1);
      guest.channel.subscribe();
      const request = encodeMessage({ type: xs.GET_DOMAIN_PATH, reqId: 7, txId: 0, payload: fromStrings('1') });
      guest.page.bytes.set(request, 0);
      guest.setWord(REQ_PROD, request.length);
      guest.channel.notify();
      machine.run();
      expect(guest.word(REQ_CONS)).to.equal(request.length);
      const reply = guest.page.bytes.slice(1024, 1024 + guest.word(RSP_PROD));
      expect(reply).to.deep.equal(
        encodeMessage({ type: xs.GET_DOMAIN_PATH, reqId: 7, txId: 0, payload: fromStrings('/local/domain/1') }),
      );
    });

    it('notifies after each move of an index, of either ring', () => {
      const guest = machine.boot(1);
      let upcalls = 0;
      guest.channel.subscribe(() => upcalls++);
      const ring = new GuestRing(guest.page, guest.channel);
      ring.write(new Uint8Array(8), 0, 8);
      machine.run();
      expect(upcalls).to.equal(1);
      expect(guest.word(REQ_CONS)).to.equal(8);
    });

    it('takes a request split at every offset, with indices that wrap around 32 bits', () => {
      const guest = machine.boot(1);
      const request = encodeMessage({
        type: xs.WRITE,
        reqId: 1,
        txId: 0,
        payload: join(fromStrings('x'), new Uint8Array(1000).fill(65)),
      });
      machine.dom0.do('WRITE', '/local/domain/1', '');
      machine.dom0.do('SET_PERMS', '/local/domain/1', 'n1');
      const transport = new GuestRing(guest.page, guest.channel);
      transport.ready$.subscribe();
      for (let split = 1; split < request.length; split += split < 40 ? 1 : 37) {
        transport.write(request, 0, split);
        machine.run();
        transport.write(request, split, request.length - split);
        machine.run();
        const reply = drain(transport, machine);
        expect(reply.map(({ type }) => type)).to.deep.equal([xs.WRITE]);
      }
    });

    it('carries requests and replies longer than its ring', () => {
      const raw = machine.raw(1);
      machine.dom0.do('WRITE', '/local/domain/1', '');
      machine.dom0.do('SET_PERMS', '/local/domain/1', 'n1');
      const value = 'v'.repeat(4000);
      expect(raw.do('WRITE', 'big', value)).to.equal('OK');
      expect(raw.do('READ', 'big')).to.equal(value);
    });

    it('drops a guest whose indices cannot be, with error 2, and goes on serving the others (XSA-38)', () => {
      const corrupt: ((guest: Guest) => void)[] = [
        (guest) => guest.setWord(REQ_PROD, guest.word(REQ_CONS) + 1025),
        (guest) => guest.setWord(REQ_PROD, guest.word(REQ_CONS) - 1),
        (guest) => guest.setWord(REQ_CONS, 12345),
        (guest) => guest.setWord(REQ_PROD, START),
      ];
      const healthy = machine.raw(9);
      for (const [i, spoil] of corrupt.entries()) {
        const guest = machine.boot(i + 1);
        const raw = client(guest);
        raw.do('WATCH', 'x', 't');
        spoil(guest);
        guest.channel.notify();
        machine.run();
        expect(guest.word('error'), `case ${i}`).to.equal(2);
        expect(machine.server.openBy(guest.domid)).to.deep.equal({ watches: 0, transactions: 0 });
        expect(healthy.do('GET_DOMAIN_PATH', '9')).to.equal('/local/domain/9');
        expect(machine.dom0.do('IS_DOMAIN_INTRODUCED', String(guest.domid))).to.equal('T');
      }
      expect(machine.faults).to.have.length(corrupt.length);
      expect(machine.faults[0]).to.equal('1: req_prod - req_cons cannot be 1025');
    });

    it('drops a guest whose reply ring’s indices cannot be', () => {
      for (const at of [RSP_CONS, RSP_PROD]) {
        const guest = machine.boot(at);
        const transport = new GuestRing(guest.page, guest.channel);
        guest.setWord(at, 5000);
        const request = encodeMessage({ type: xs.GET_DOMAIN_PATH, reqId: 1, txId: 0, payload: fromStrings('1') });
        transport.write(request, 0, request.length);
        machine.run();
        expect(guest.word('error')).to.equal(2);
      }
    });

    it('drops a guest that claims more than 4096 bytes of payload, with error 3, without a reply', () => {
      const guest = machine.boot(1);
      const header = new Uint8Array(HEADER_SIZE);
      new DataView(header.buffer).setUint32(12, 4097, true);
      new GuestRing(guest.page, guest.channel).write(header, 0, HEADER_SIZE);
      machine.run();
      expect(guest.word('error')).to.equal(3);
      expect(guest.word(RSP_PROD)).to.equal(0);
    });

    it('reads nothing more of a guest that it has dropped', () => {
      const guest = machine.boot(1);
      guest.setWord(REQ_PROD, 5000);
      guest.channel.notify();
      machine.run();
      guest.setWord(REQ_PROD, 100);
      guest.channel.notify();
      machine.run();
      expect(guest.word(REQ_CONS)).to.equal(0);
    });

    it('begins anew when the guest asks for a reconnect: watches, transactions and requests under way are gone', () => {
      const guest = machine.boot(1);
      const raw = client(guest);
      raw.do('WATCH', 'x', 't');
      const tx = raw.start();
      raw.transport.write(new Uint8Array(10), 0, 10);
      machine.run();
      guest.setWord(2068, 1);
      guest.channel.notify();
      machine.run();
      expect(guest.word('connection')).to.equal(0);
      for (const at of [REQ_CONS, REQ_PROD, RSP_CONS, RSP_PROD]) expect(guest.word(at)).to.equal(0);
      expect(machine.server.openBy(guest.domid)).to.deep.equal({ watches: 0, transactions: 0 });
      const again = client(guest);
      expect(again.end(tx)).to.equal('ENOENT');
      expect(again.do('WATCH', 'x', 't')).to.equal('OK');
    });

    it('takes a dropped guest back when it reconnects', () => {
      const guest = machine.boot(1);
      guest.setWord(REQ_PROD, 5000);
      guest.channel.notify();
      machine.run();
      guest.setWord(2068, 1);
      guest.channel.notify();
      machine.run();
      expect(guest.word('error')).to.equal(0);
      expect(client(guest).do('GET_DOMAIN_PATH', '1')).to.equal('/local/domain/1');
    });

    it('reads no more of a guest that does not read its replies, and loses none', () => {
      const guest = machine.boot(1);
      const transport = new GuestRing(guest.page, guest.channel);
      const request = (reqId: number) =>
        encodeMessage({ type: xs.GET_DOMAIN_PATH, reqId, txId: 0, payload: fromStrings('1') });
      const size = request(0).length;
      let sent = 0;
      for (let taken = true; taken; ) {
        const bytes = request(sent);
        taken = transport.write(bytes, 0, size) === size;
        if (taken) sent++;
        machine.run();
        if (sent > 1000) throw new Error('the store reads without end');
      }
      // 1024 bytes of replies in the ring, 20 that wait, 1024 bytes of requests that nobody reads.
      expect(sent).to.be.lessThan(1024 / 32 + 20 + 1024 / size + 2);
      const replies = drain(transport, machine);
      expect(replies.map(({ reqId }) => reqId)).to.deep.equal(Array.from({ length: sent }, (_, i) => i));
    });

    it('loses events for a guest that does not read, rather than grow without end', () => {
      const guest = machine.boot(1);
      const raw = client(guest);
      machine.dom0.do('WRITE', '/w', '');
      machine.dom0.do('SET_PERMS', '/w', 'r0');
      raw.do('WATCH', '/w', 't'.repeat(2500));
      raw.events();
      for (let i = 0; i < 1200; i++) machine.dom0.do('WRITE', `/w/${i}`, '');
      const events = raw.events();
      expect(events.length).to.be.within(1000, 1100);
      expect(events[0]).to.match(/^\/w\/0\|/);
      machine.dom0.do('WRITE', '/w/later', '');
      expect(raw.events()).to.have.length(1);
    });

    it('serves each guest in turn, one request at a time', () => {
      machine.dom0.do('WRITE', '/turns', '');
      machine.dom0.do('SET_PERMS', '/turns', 'b0');
      machine.dom0.do('WATCH', '/turns', 't');
      machine.dom0.events();
      for (const guest of [machine.boot(1), machine.boot(2)]) {
        const transport = new GuestRing(guest.page, guest.channel);
        for (let i = 0; i < 3; i++) {
          const payload = fromStrings(`/turns/${guest.domid}-${i}`);
          const bytes = encodeMessage({ type: xs.MKDIR, reqId: i, txId: 0, payload });
          transport.write(bytes, 0, bytes.length);
        }
      }
      const order = ['1-0', '2-0', '1-1', '2-1', '1-2', '2-2'];
      expect(machine.dom0.events()).to.deep.equal(order.map((name) => `/turns/${name}|t`));
    });

    it('lets others of its domain run while a guest on another core asks without end', () => {
      const guest = machine.create(1);
      const request = encodeMessage({ type: xs.RM, reqId: 1, txId: 0, payload: fromStrings('x') });
      const feed = (): void => {
        // What a guest on another core does meanwhile: takes its replies, and asks again.
        guest.setWord(RSP_CONS, guest.word(RSP_PROD));
        if (guest.word(REQ_PROD) - guest.word(REQ_CONS) > 0) return;
        for (const [i, byte] of request.entries()) guest.page.bytes[(guest.word(REQ_PROD) + i) % 1024] = byte;
        guest.setWord(REQ_PROD, guest.word(REQ_PROD) + request.length);
      };
      const [own, store] = localChannelPair(machine.post);
      own.notify();
      store.notify = feed;
      machine.ports.ends.set(`1:${guest.port}`, store);
      machine.server.introduce(guest.domid, guest.port);
      feed();
      for (let served = 0, i = 0; i < 5; i++) {
        machine.step();
        expect(machine.waiting).to.be.greaterThan(0);
        if (i === 0) continue;
        expect(guest.word(REQ_CONS)).to.be.greaterThan(served);
        served = guest.word(REQ_CONS);
      }
    });
  });

  it('lets nobody be called inside the call of another, not even its own program', () => {
    const { server } = machine;
    const transport = server.open();
    let upcalls = 0;
    transport.ready$.subscribe(() => upcalls++);
    const request = encodeMessage({ type: xs.GET_DOMAIN_PATH, reqId: 1, txId: 0, payload: fromStrings('1') });
    transport.write(request, 0, request.length);
    expect(upcalls).to.equal(0);
    expect(transport.read(new Uint8Array(16), 0, 16)).to.equal(0);
    machine.run();
    expect(upcalls).to.equal(1);
  });

  it('forgets a program’s connection when that is closed', () => {
    const { server } = machine;
    const raw = new RawClient(server.open(), machine);
    raw.do('WATCH', '/tool', 't');
    raw.start();
    const dom0 = machine.create(0).domid;
    expect(server.openBy(dom0)).to.deep.equal({ watches: 1, transactions: 1 });
    raw.transport[Symbol.dispose]();
    expect(server.openBy(dom0)).to.deep.equal({ watches: 0, transactions: 0 });
  });

  it('tells guests in their pages when it ends, and lets go of them', () => {
    const guest = machine.boot(1);
    machine.server[Symbol.dispose]();
    expect(guest.word('error')).to.equal(1);
    expect(machine.grants.mapped).to.deep.equal([]);
  });

  it('unmaps the page when the port cannot be bound', () => {
    const guest = machine.create(1);
    const port = machine.create(2).port;
    expect(() => machine.server.introduce(guest.domid, port)).to.throw(XenError);
    expect(machine.grants.mapped).to.deep.equal([]);
  });
});

/** Every message that the store has for a guest, with the store running in between. */
const drain = (transport: GuestRing, machine: StoreMachine): XsMessage[] => {
  const reader = new MessageReader();
  const messages: XsMessage[] = [];
  for (;;) {
    let moved = false;
    const message = reader.next((into, offset, length) => {
      const count = transport.read(into, offset, length);
      moved ||= count > 0;
      return count;
    });
    if (message !== undefined) messages.push(message);
    else if (!moved) return messages;
    machine.run();
  }
};
