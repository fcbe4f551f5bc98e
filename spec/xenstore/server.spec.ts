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

  describe('towards the toolstack', () => {
    it('introduces a domain by message: maps its page, binds its port, announces it', () => {
      const guest = machine.create(5);
      const { dom0 } = machine;
      dom0.do('WATCH', '@introduceDomain', 't');
      dom0.events();
      expect(dom0.do('IS_DOMAIN_INTRODUCED', '5')).to.equal('F');
      expect(dom0.all('INTRODUCE', '5', '0', String(guest.port))).to.deep.equal([
        'WATCH_EVENT @introduceDomain|t',
        'INTRODUCE OK',
      ]);
      expect(dom0.do('IS_DOMAIN_INTRODUCED', '5')).to.equal('T');
      expect(machine.grants.mapped).to.deep.equal([5]);
      expect(client(guest).do('GET_DOMAIN_PATH', '5')).to.equal('/local/domain/5');
    });

    it('announces what it was told to do outside of a message, too', () => {
      const { dom0 } = machine;
      dom0.do('WATCH', '@introduceDomain', 'i');
      dom0.do('WATCH', '@releaseDomain', 'r');
      dom0.events();
      const guest = machine.create(5);
      machine.server.introduce(guest.domid, guest.port);
      expect(machine.waiting).to.be.greaterThan(0);
      expect(dom0.events()).to.deep.equal(['@introduceDomain|i']);
      machine.server.release(guest.domid);
      expect(dom0.events()).to.deep.equal(['@releaseDomain|r']);
    });

    it('takes a new page and port for a domain that it serves, and announces nothing (XSA-425)', () => {
      const guest = machine.boot(5);
      const raw = client(guest);
      const { dom0 } = machine;
      raw.do('WATCH', 'x', 't');
      dom0.do('WATCH', '@introduceDomain', 't');
      dom0.events();
      const again = machine.create(5);
      expect(dom0.all('INTRODUCE', '5', '0', String(again.port))).to.deep.equal(['INTRODUCE OK']);
      expect(machine.grants.mapped).to.deep.equal([5]);
      expect(machine.server.openBy(guest.domid)).to.deep.equal({ watches: 0, transactions: 0 });
      expect(client(again).do('GET_DOMAIN_PATH', '5')).to.equal('/local/domain/5');
    });

    it('refuses to introduce a domain without a page or port, and dom0', () => {
      const { dom0 } = machine;
      const guest = machine.create(5);
      expect(dom0.do('INTRODUCE', '9', '0', '1')).to.equal('EINVAL');
      expect(dom0.do('INTRODUCE', '5', '0', '0')).to.equal('EINVAL');
      expect(dom0.do('INTRODUCE', '5', '0', '99')).to.equal('EINVAL');
      expect(dom0.do('INTRODUCE', '5', '0')).to.equal('EINVAL');
      expect(dom0.do('INTRODUCE', '0', '0', String(guest.port))).to.equal('EINVAL');
      expect(dom0.do('INTRODUCE', 'x', '0', '1')).to.equal('EINVAL');
      expect(machine.grants.mapped).to.deep.equal([]);
      expect(() => machine.server.introduce(machine.create(6).domid, guest.port)).to.throw(XenError, 'EINVAL');
    });

    it('releases a domain: unmaps its page, removes what it owned, announces it', () => {
      const { dom0 } = machine;
      const guest = machine.boot(5);
      dom0.do('WRITE', '/local/domain/5/own', '');
      dom0.do('SET_PERMS', '/local/domain/5', 'n5');
      dom0.do('WATCH', '/local/domain', 'tree');
      dom0.do('WATCH', '@releaseDomain', 't');
      dom0.events();
      expect(dom0.all('RELEASE', '5')).to.deep.equal([
        'WATCH_EVENT /local/domain/5|tree',
        'WATCH_EVENT @releaseDomain|t',
        'RELEASE OK',
      ]);
      expect(dom0.do('READ', '/local/domain/5/own')).to.equal('ENOENT');
      expect(machine.grants.mapped).to.deep.equal([]);
      expect(dom0.do('IS_DOMAIN_INTRODUCED', '5')).to.equal('F');
      expect(dom0.do('RELEASE', '5')).to.equal('ENOENT');
      expect(dom0.do('RELEASE', '0')).to.equal('EINVAL');
      guest.channel.notify();
      machine.run();
      expect(guest.word(REQ_CONS)).to.equal(0);
    });

    it('finds out that a domain has died, or shut down, and announces either once', () => {
      const { dom0 } = machine;
      machine.boot(5);
      machine.boot(6);
      dom0.do('WRITE', '/local/domain/5', '');
      dom0.do('SET_PERMS', '/local/domain/5', 'n5');
      dom0.do('WATCH', '@releaseDomain', 't');
      dom0.do('WATCH', '@releaseDomain', 'd', '1');
      dom0.events();
      const checked = (): string[] => {
        machine.server.checkDomains();
        return dom0.events();
      };
      expect(checked()).to.deep.equal([]);
      machine.states.set(5, 'shutdown');
      expect(checked()).to.deep.equal(['@releaseDomain/5|d', '@releaseDomain|t']);
      expect(checked()).to.deep.equal([]);
      dom0.do('RESUME', '5');
      expect(checked()).to.deep.equal(['@releaseDomain/5|d', '@releaseDomain|t']);
      machine.states.set(5, 'dying');
      expect(checked()).to.deep.equal(['@releaseDomain|t', '@releaseDomain/5|d']);
      expect(dom0.do('READ', '/local/domain/5')).to.equal('ENOENT');
      machine.states.delete(5);
      expect(checked()).to.deep.equal([]);
      expect(dom0.do('IS_DOMAIN_INTRODUCED', '6')).to.equal('T');
    });

    it('lets a device model act for its guest, until that guest is gone (SET_TARGET)', () => {
      const { dom0 } = machine;
      const model = machine.raw(5);
      machine.boot(6);
      dom0.do('WRITE', '/local/domain/6', 'x');
      dom0.do('SET_PERMS', '/local/domain/6', 'n6');
      expect(model.do('READ', '/local/domain/6')).to.equal('EACCES');
      expect(dom0.do('SET_TARGET', '5', '6')).to.equal('OK');
      expect(model.do('READ', '/local/domain/6')).to.equal('x');
      expect(model.do('SET_PERMS', '/local/domain/6', 'r6')).to.equal('OK');
      expect(dom0.do('SET_TARGET', '5', '7')).to.equal('ENOENT');
      expect(dom0.do('SET_TARGET', '8', '6')).to.equal('ENOENT');
      expect(dom0.do('SET_TARGET', '5')).to.equal('EINVAL');
      dom0.do('RELEASE', '6');
      machine.boot(6);
      dom0.do('WRITE', '/local/domain/6', 'x');
      dom0.do('SET_PERMS', '/local/domain/6', 'n6');
      expect(model.do('READ', '/local/domain/6')).to.equal('EACCES');
    });

    it('tells a domain’s own path, whoever asks', () => {
      const raw = machine.raw(1);
      expect(raw.do('GET_DOMAIN_PATH', '7')).to.equal('/local/domain/7');
      expect(raw.do('GET_DOMAIN_PATH', '65536')).to.equal('EINVAL');
      expect(raw.do('GET_DOMAIN_PATH', '')).to.equal('EINVAL');
      expect(machine.dom0.do('IS_DOMAIN_INTRODUCED', '32752')).to.equal('T');
      expect(machine.dom0.do('IS_DOMAIN_INTRODUCED', '0')).to.equal('T');
    });

    it('tells the features, and takes some from a domain before it is introduced', () => {
      const { dom0 } = machine;
      const guest = machine.create(5);
      expect(dom0.do('GET_FEATURE')).to.equal('7');
      expect(dom0.do('GET_FEATURE', '5')).to.equal('7');
      expect(dom0.do('GET_FEATURE', '6')).to.equal('ENOENT');
      expect(dom0.do('SET_FEATURE', '5', '16')).to.equal('EINVAL');
      expect(dom0.do('SET_FEATURE', '5', '2')).to.equal('OK');
      machine.server.introduce(guest.domid, guest.port);
      expect(guest.word('serverFeatures')).to.equal(2);
      expect(dom0.do('SET_FEATURE', '5', '7')).to.equal('EBUSY');
      const raw = client(guest);
      expect(raw.do('GET_FEATURE')).to.equal('2');
      expect(raw.do('GET_FEATURE', '5')).to.equal('2');
      expect(raw.do('GET_FEATURE', '0')).to.equal('EACCES');
      expect(raw.do('WATCH', 'x', 't', '1')).to.equal('EINVAL');
    });

    it('keeps what is dom0’s from guests (EACCES)', () => {
      const raw = machine.raw(1);
      const names = ['CONTROL', 'INTRODUCE', 'RELEASE', 'IS_DOMAIN_INTRODUCED', 'RESUME', 'SET_TARGET', 'SET_FEATURE'];
      for (const name of names) expect(raw.do(name as keyof typeof xs, '1'), name).to.equal('EACCES');
    });

    it('answers what it does not know with ENOSYS, and a control command with EINVAL', () => {
      const raw = machine.raw(1);
      for (const type of [xs.WATCH_EVENT, xs.ERROR, xs.RESTRICT, xs.GET_QUOTA, xs.SET_QUOTA, 27, 99, 0xffffffff]) {
        expect(machine.dom0.do(type, 'x'), String(type)).to.equal('ENOSYS');
        expect(raw.do(type, 'x'), String(type)).to.equal('ENOSYS');
      }
      expect(machine.dom0.do('CONTROL', 'print', 'x')).to.equal('EINVAL');
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
