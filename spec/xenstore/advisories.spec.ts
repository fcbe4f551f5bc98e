import { expect } from 'chai';
import { asDomid } from '../../core/abi/units.js';
import { fromStrings } from '../../xenstore/payload.js';
import { type XsName, xs } from '../../xenstore/wire.js';
import type { RawClient } from '../support/raw-client.js';
import { StoreMachine } from '../support/store-machine.js';

describe('the XenStore’s advisories', () => {
  let machine: StoreMachine;
  let dom0: RawClient;

  beforeEach(() => {
    machine = new StoreMachine();
    dom0 = machine.dom0;
  });

  /** A guest that owns its directory. */
  const guest = (domid: number): RawClient => {
    const raw = machine.raw(domid);
    dom0.do('WRITE', `/local/domain/${domid}`, '');
    dom0.do('SET_PERMS', `/local/domain/${domid}`, `n${domid}`);
    return raw;
  };
  /** The guest dies, and another gets its number. */
  const recycle = (domid: number): RawClient => {
    machine.states.delete(domid);
    machine.server.checkDomains();
    machine.run();
    return machine.raw(domid);
  };

  describe('XSA-322, XSA-417: a domain of a recycled number inherits nothing', () => {
    it('of what the last one was allowed elsewhere', () => {
      guest(5);
      dom0.do('WRITE', '/shared', 'x');
      dom0.do('SET_PERMS', '/shared', 'n0', 'b5');
      const next = recycle(5);
      expect(next.do('READ', '/shared')).to.equal('EACCES');
      expect(next.do('WRITE', '/shared', 'y')).to.equal('EACCES');
      dom0.do('WRITE', '/shared', 'again');
      dom0.do('WRITE', '/shared/below', '');
      expect(next.do('READ', '/shared')).to.equal('EACCES');
      expect(next.do('READ', '/shared/below')).to.equal('EACCES');
      dom0.do('SET_PERMS', '/shared', 'n0', 'b5');
      expect(next.do('READ', '/shared')).to.equal('again');
    });

    it('not even when no node has changed in between', () => {
      machine.boot(5);
      dom0.do('WRITE', '/shared', 'x');
      dom0.do('SET_PERMS', '/shared', 'n0', 'r5');
      expect(recycle(5).do('READ', '/shared')).to.equal('EACCES');
    });

    it('of what the last one owned, wherever that lies', () => {
      const first = guest(5);
      first.do('WRITE', 'a/b/c', 'x');
      dom0.do('WRITE', '/other/deep/node', 'x');
      dom0.do('SET_PERMS', '/other/deep', 'b5');
      dom0.do('WRITE', '/other/kept', 'x');
      const next = recycle(5);
      for (const path of ['/local/domain/5', '/other/deep', '/other/deep/node']) {
        expect(dom0.do('READ', path), path).to.equal('ENOENT');
        expect(next.do('READ', path), path).to.equal('EACCES');
      }
      expect(dom0.do('DIRECTORY', '/other')).to.equal('kept');
      expect(dom0.do('DIRECTORY', '/local/domain')).to.equal('');
    });

    it('of its watches and transactions', () => {
      const first = guest(5);
      first.do('WATCH', 'x', 't');
      const tx = first.start();
      const next = recycle(5);
      expect(machine.server.openBy(asDomid(5))).to.deep.equal({ watches: 0, transactions: 0 });
      expect(next.doIn(tx, 'READ', 'x')).to.equal('ENOENT');
    });

    it('of the events that it was allowed to see', () => {
      guest(5);
      dom0.do('SET_PERMS', '@introduceDomain', 'n0', 'r5');
      const next = recycle(5);
      next.do('WATCH', '@introduceDomain', 't');
      next.events();
      machine.boot(6);
      expect(next.events()).to.deep.equal([]);
    });

    it('of a special node that it owned, which dom0 takes back', () => {
      guest(5);
      dom0.do('SET_PERMS', '@releaseDomain', 'b5');
      recycle(5);
      expect(dom0.do('GET_PERMS', '@releaseDomain')).to.equal('n0');
    });

    it('a thousand times', () => {
      for (let i = 0; i < 1000; i++) {
        const raw = guest(5);
        expect(raw.do('READ', 'mark')).to.equal('ENOENT');
        expect(raw.do('WRITE', 'mark', 'x')).to.equal('OK');
        machine.states.delete(5);
        machine.server.checkDomains();
        machine.run();
      }
      expect(dom0.do('DIRECTORY', '/local/domain')).to.equal('');
    });
  });

  it('XSA-419: the death of an owner takes the nodes of others below its own, and leaves no orphan', () => {
    const one = guest(1);
    const two = guest(2);
    one.do('WRITE', 'open', '');
    one.do('SET_PERMS', 'open', 'b1');
    two.do('WRITE', '/local/domain/1/open/two', 'x');
    dom0.do('WATCH', '/local/domain/1/open/two', 't');
    dom0.events();
    machine.states.delete(1);
    machine.server.checkDomains();
    expect(dom0.events()).to.deep.equal(['/local/domain/1/open/two|t']);
    expect(dom0.do('READ', '/local/domain/1/open/two')).to.equal('ENOENT');
    expect(two.do('WRITE', 'still', 'x')).to.equal('OK');
  });

  it('XSA-330: RESET_WATCHES leaves no watch behind, as often as it is asked for', () => {
    const one = guest(1);
    for (let i = 0; i < 200; i++) {
      one.do('WATCH', 'a', `t${i}`);
      expect(one.do('RESET_WATCHES', '')).to.equal('OK');
      expect(machine.server.openBy(asDomid(1))).to.deep.equal({ watches: 0, transactions: 0 });
    }
    one.events();
    expect(one.all('WRITE', 'a', '')).to.deep.equal(['WRITE OK']);
  });

  it('XSA-352: an owner cannot give its node away, nor another take it, within a transaction either', () => {
    const one = guest(1);
    guest(2);
    one.do('WRITE', 'a', '');
    const tx = one.start();
    expect(one.doIn(tx, 'SET_PERMS', 'a', 'n2')).to.equal('EPERM');
    expect(one.doIn(tx, 'SET_PERMS', 'a', 'n0', 'b1')).to.equal('EPERM');
    expect(one.end(tx)).to.equal('OK');
    expect(one.do('GET_PERMS', 'a')).to.equal('n1');
  });

  it('XSA-353: nobody but dom0 touches the root', () => {
    const one = guest(1);
    const attempts: readonly (readonly [XsName, ...string[]])[] = [
      ['RM', '/'],
      ['WRITE', '/', 'x'],
      ['SET_PERMS', '/', 'n1'],
      ['SET_PERMS', '/', 'b0'],
      ['MKDIR', '/x'],
      ['READ', '/'],
      ['DIRECTORY', '/'],
      ['GET_PERMS', '/'],
    ];
    for (const [name, ...texts] of attempts) expect(one.do(name, ...texts), texts.join(' ')).to.equal('EACCES');
    expect(dom0.do('RM', '/')).to.equal('EINVAL');
    expect(dom0.do('DIRECTORY', '/')).to.contain('tool');
  });

  describe('XSA-418: a tree of a thousand levels', () => {
    const deep = Array(1000).fill('a').join('/');

    it('is made, read, watched and removed', () => {
      const one = guest(1);
      expect(one.do('WRITE', deep, 'x')).to.equal('OK');
      expect(one.do('READ', deep)).to.equal('x');
      one.do('WATCH', deep, 't');
      one.events();
      expect(one.all('RM', 'a')).to.deep.equal([`WATCH_EVENT ${deep}|t`, 'RM OK']);
      expect(one.do('READ', 'a')).to.equal('ENOENT');
    });

    it('is made and removed in one transaction', () => {
      const one = guest(1);
      const tx = one.start();
      expect(one.doIn(tx, 'WRITE', deep, 'x')).to.equal('OK');
      expect(one.doIn(tx, 'RM', 'a')).to.equal('OK');
      expect(one.end(tx)).to.equal('OK');
      expect(one.do('DIRECTORY', '/local/domain/1')).to.equal('');
    });

    it('goes with its owner', () => {
      guest(1).do('WRITE', deep, 'x');
      machine.states.delete(1);
      machine.server.checkDomains();
      expect(dom0.do('READ', '/local/domain/1/a')).to.equal('ENOENT');
    });
  });

  describe('XSA-420, XSA-421: what one transaction creates and deletes', () => {
    it('leaves nothing, however often, and no child without a node', () => {
      const one = guest(1);
      const tx = one.start();
      for (let i = 0; i < 50; i++) {
        expect(one.doIn(tx, 'WRITE', 'n/x', '')).to.equal('OK');
        expect(one.doIn(tx, 'RM', 'n')).to.equal('OK');
      }
      expect(one.end(tx)).to.equal('OK');
      expect(one.do('DIRECTORY', '/local/domain/1')).to.equal('');
      expect(one.do('WRITE', 'n/x', 'later')).to.equal('OK');
    });

    it('and creates again is there, with nothing of before', () => {
      const one = guest(1);
      one.do('WRITE', 'n/old', '');
      const tx = one.start();
      one.doIn(tx, 'RM', 'n');
      one.doIn(tx, 'WRITE', 'n', 'new');
      expect(one.end(tx)).to.equal('OK');
      expect(one.do('READ', 'n')).to.equal('new');
      expect(one.do('DIRECTORY', 'n')).to.equal('');
      expect(one.do('READ', 'n/old')).to.equal('ENOENT');
    });
  });

  it('XSA-416: a length that would be negative is one that is too long', () => {
    const made = machine.boot(1);
    const header = new Uint8Array(16);
    new DataView(header.buffer).setInt32(12, -1, true);
    made.page.bytes.set(header, 0);
    made.setWord(2052, 16);
    made.channel.notify();
    machine.run();
    expect(made.word('error')).to.equal(3);
    expect(dom0.do('READ', '/tool')).to.equal('');
  });

  it('XSA-440: a node that goes away outside, while a transaction holds it, is a conflict and nothing worse', () => {
    const one = guest(1);
    for (const [inside, ...texts] of [
      ['WRITE', 'a', 'y'] as const,
      ['RM', 'a'] as const,
      ['SET_PERMS', 'a', 'r1'] as const,
    ]) {
      one.do('WRITE', 'a', 'x');
      const tx = one.start();
      expect(one.doIn(tx, inside, ...texts)).to.equal('OK');
      one.do('RM', 'a');
      expect(one.end(tx)).to.equal('EAGAIN');
      expect(one.do('READ', 'a')).to.equal('ENOENT');
    }
  });

  it('XSA-484: every request may be the last in a transaction, RESET_WATCHES too', () => {
    const one = guest(1);
    machine.boot(2);
    const payloads: Partial<Record<XsName, Uint8Array>> = {
      WRITE: fromStrings('a', 'x'),
      SET_PERMS: fromStrings('a', 'n1'),
      WATCH: fromStrings('a', 't'),
      UNWATCH: fromStrings('a', 't'),
      DIRECTORY_PART: fromStrings('a', '0'),
      TRANSACTION_END: fromStrings('T'),
      RELEASE: fromStrings('2'),
      INTRODUCE: fromStrings('1', '0', '1'),
    };
    for (const name of Object.keys(xs) as XsName[]) {
      for (const client of [one, dom0]) {
        const tx = client.start();
        client.doIn(tx, 'WRITE', 'a', 'x');
        const [reply] = client.bytes(name, payloads[name] ?? fromStrings('a'), tx).slice(-1);
        expect(reply, name).to.be.a('string');
        const ended = name === 'RESET_WATCHES' || name === 'TRANSACTION_END';
        expect(client.end(tx), name).to.be.oneOf(ended ? ['ENOENT'] : ['OK', 'EAGAIN']);
        expect(client.do('GET_DOMAIN_PATH', '1')).to.equal('/local/domain/1');
        if (name === 'INTRODUCE' || name === 'RELEASE') break;
      }
    }
  });

  it('XSA-72: no reply is ever longer than 4096 bytes', () => {
    const one = guest(1);
    for (let i = 0; i < 300; i++) one.do('WRITE', `d/${'n'.repeat(20)}${i}`, '');
    expect(one.do('DIRECTORY', 'd')).to.equal('E2BIG');
    expect(one.do('WRITE', 'v', 'x'.repeat(4094))).to.equal('OK');
    expect(one.do('READ', 'v')).to.have.length(4094);
    expect(one.do('READ', 'd')).to.equal('');
  });
});
