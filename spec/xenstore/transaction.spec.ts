import { expect } from 'chai';
import { fromStrings } from '../../xenstore/payload.js';
import type { RawClient } from '../support/raw-client.js';
import { StoreMachine } from '../support/store-machine.js';

describe('transactions (tools/xenstored/transaction.c)', () => {
  let machine: StoreMachine;
  let dom0: RawClient;
  let other: RawClient;
  let one: RawClient;

  beforeEach(() => {
    machine = new StoreMachine();
    dom0 = machine.dom0;
    one = machine.raw(1);
    other = new (dom0.constructor as typeof RawClient)(machine.server.open(), machine, 'other');
    for (const name of ['a', 'b', 'c']) dom0.do('WRITE', `/t/${name}`, '1');
    dom0.do('WRITE', '/local/domain/1', '');
    dom0.do('SET_PERMS', '/local/domain/1', 'n1');
  });

  it('see their own writes, and nobody else sees them before the end', () => {
    const tx = dom0.start();
    dom0.doIn(tx, 'WRITE', '/t/a', '2');
    dom0.doIn(tx, 'WRITE', '/t/new/deep', '2');
    dom0.doIn(tx, 'RM', '/t/b');
    expect(dom0.doIn(tx, 'READ', '/t/a')).to.equal('2');
    expect(dom0.doIn(tx, 'DIRECTORY', '/t')).to.equal('a|c|new');
    expect(dom0.do('READ', '/t/a')).to.equal('1');
    expect(other.do('DIRECTORY', '/t')).to.equal('a|b|c');
    expect(dom0.end(tx)).to.equal('OK');
    expect(other.do('READ', '/t/a')).to.equal('2');
    expect(other.do('DIRECTORY', '/t')).to.equal('a|c|new');
    expect(other.do('READ', '/t/new/deep')).to.equal('2');
  });

  it('take nothing over when ended with F, or by RESET_WATCHES', () => {
    for (const abandon of [(tx: number) => dom0.end(tx, 'F'), () => dom0.do('RESET_WATCHES', '')]) {
      const tx = dom0.start();
      dom0.doIn(tx, 'WRITE', '/t/a', '2');
      dom0.doIn(tx, 'RM', '/t/b');
      expect(abandon(tx)).to.equal('OK');
      expect(dom0.do('READ', '/t/a')).to.equal('1');
      expect(dom0.do('DIRECTORY', '/t')).to.equal('a|b|c');
      expect(dom0.end(tx)).to.equal('ENOENT');
    }
  });

  describe('conflict', () => {
    /** Runs `inside` in a transaction, then `outside` without, and ends it. */
    const race = (inside: (tx: number) => void, outside: () => void): string => {
      const tx = dom0.start();
      inside(tx);
      outside();
      return dom0.end(tx);
    };
    const write = (path: string) => (): void => void other.do('WRITE', path, 'other');

    it('when a node that was read has changed, also when nothing was written', () => {
      expect(race((tx) => dom0.doIn(tx, 'READ', '/t/a'), write('/t/a'))).to.equal('EAGAIN');
      expect(dom0.do('READ', '/t/a')).to.equal('other');
    });

    it('when only its permissions have changed, or its list of children', () => {
      const perms = (): void => void other.do('SET_PERMS', '/t/a', 'r0');
      expect(race((tx) => dom0.doIn(tx, 'READ', '/t/a'), perms)).to.equal('EAGAIN');
      expect(race((tx) => dom0.doIn(tx, 'DIRECTORY', '/t'), write('/t/x'))).to.equal('EAGAIN');
    });

    it('when it was removed, or was missing and has been created', () => {
      const rm = (): void => void other.do('RM', '/t/a');
      expect(race((tx) => dom0.doIn(tx, 'READ', '/t/a'), rm)).to.equal('EAGAIN');
      expect(race((tx) => dom0.doIn(tx, 'READ', '/t/a'), write('/t/a'))).to.equal('EAGAIN');
      // The look at the parent that told ENOENT from EACCES counts as well.
      expect(race((tx) => dom0.doIn(tx, 'READ', '/t/n/n'), write('/t/m'))).to.equal('EAGAIN');
    });

    it('when two create siblings', () => {
      expect(race((tx) => dom0.doIn(tx, 'WRITE', '/t/x', ''), write('/t/y'))).to.equal('EAGAIN');
    });

    it('when a node that was only written has changed after that, since a write looks first', () => {
      expect(race((tx) => dom0.doIn(tx, 'WRITE', '/t/a', '2'), write('/t/a'))).to.equal('EAGAIN');
      expect(race((tx) => dom0.doIn(tx, 'RM', '/t/a'), write('/t/a'))).to.equal('EAGAIN');
    });

    it('not when a node was changed before the transaction came to it', () => {
      const tx = dom0.start();
      other.do('WRITE', '/t/a', 'other');
      dom0.doIn(tx, 'WRITE', '/t/a', '2');
      expect(dom0.end(tx)).to.equal('OK');
      expect(dom0.do('READ', '/t/a')).to.equal('2');
    });

    it('not when others changed what it did not look at', () => {
      expect(race((tx) => dom0.doIn(tx, 'WRITE', '/t/a', '2'), write('/t/z'))).to.equal('OK');
      expect(race((tx) => dom0.doIn(tx, 'WRITE', '/t/a', '2'), write('/t/b/deep'))).to.equal('OK');
      expect(dom0.do('DIRECTORY', '/t')).to.equal('a|b|c|z');
    });

    it('not when others only read', () => {
      expect(
        race(
          (tx) => dom0.doIn(tx, 'WRITE', '/t/a', '2'),
          () => void other.do('READ', '/t/a'),
        ),
      ).to.equal('OK');
    });

    it('takes nothing over, and a second try succeeds', () => {
      const inside = (tx: number): void => {
        dom0.doIn(tx, 'WRITE', '/t/a', 'mine');
        dom0.doIn(tx, 'WRITE', '/t/x', 'mine');
      };
      expect(race(inside, write('/t/a'))).to.equal('EAGAIN');
      expect(dom0.do('READ', '/t/a')).to.equal('other');
      expect(dom0.do('READ', '/t/x')).to.equal('ENOENT');
      expect(race(inside, () => {})).to.equal('OK');
      expect(dom0.do('READ', '/t/x')).to.equal('mine');
    });
  });

  it('freeze a node at first access: what others write later is not seen', () => {
    const tx = dom0.start();
    other.do('WRITE', '/t/a', 'before');
    expect(dom0.doIn(tx, 'READ', '/t/a')).to.equal('before');
    other.do('WRITE', '/t/a', 'after');
    expect(dom0.doIn(tx, 'READ', '/t/a')).to.equal('before');
  });

  it('cannot remove what is not in the list of children that they saw, nor what has gone from it (EIO)', () => {
    const tx = dom0.start();
    dom0.doIn(tx, 'DIRECTORY', '/t');
    other.do('WRITE', '/t/x', '');
    expect(dom0.doIn(tx, 'RM', '/t/x')).to.equal('EIO');
    expect(dom0.end(tx)).to.equal('EAGAIN');
    const late = dom0.start();
    dom0.doIn(late, 'DIRECTORY', '/t');
    other.do('RM', '/t/x');
    expect(dom0.doIn(late, 'RM', '/t')).to.equal('EIO');
    expect(dom0.end(late)).to.equal('EAGAIN');
    expect(dom0.do('DIRECTORY', '/t')).to.equal('a|b|c');
  });

  describe('events', () => {
    beforeEach(() => {
      other.do('WATCH', '/t', 'o');
      other.events();
    });

    it('come with the commit, one for each node, in the order of first access', () => {
      const tx = dom0.start();
      dom0.doIn(tx, 'READ', '/t/c');
      dom0.doIn(tx, 'WRITE', '/t/q/r', '1');
      dom0.doIn(tx, 'WRITE', '/t/a', '2');
      dom0.doIn(tx, 'WRITE', '/t/a', '3');
      dom0.doIn(tx, 'WRITE', '/t/c', '4');
      expect(other.events()).to.deep.equal([]);
      dom0.end(tx);
      expect(other.events()).to.deep.equal(['/t/c|o', '/t/q/r|o', '/t/a|o']);
    });

    it('reach the writer before its reply', () => {
      dom0.do('WATCH', '/t/a', 'w');
      dom0.events();
      const tx = dom0.start();
      dom0.doIn(tx, 'WRITE', '/t/a', '2');
      expect(dom0.inTx(tx, 'TRANSACTION_END', 'T')).to.deep.equal(['WATCH_EVENT /t/a|w', 'TRANSACTION_END OK']);
    });

    it('of a removal reach the watches below, each with its own path', () => {
      dom0.do('WRITE', '/t/w/1/2', 'x');
      other.do('WATCH', '/t/w/1/2', 'deep');
      other.events();
      const tx = dom0.start();
      dom0.doIn(tx, 'RM', '/t/w');
      dom0.end(tx);
      expect(other.events()).to.deep.equal(['/t/w|o', '/t/w/1/2|deep']);
    });

    it('do not come for a node that was created and removed, nor without a commit', () => {
      const gone = dom0.start();
      dom0.doIn(gone, 'MKDIR', '/t/m');
      dom0.doIn(gone, 'RM', '/t/m');
      dom0.end(gone);
      const abandoned = dom0.start();
      dom0.doIn(abandoned, 'WRITE', '/t/a', '2');
      dom0.end(abandoned, 'F');
      expect(other.events()).to.deep.equal([]);
    });

    it('are told to one who could read the node before (XSA-115)', () => {
      one.do('WATCH', '/t', 'w');
      dom0.do('SET_PERMS', '/t/a', 'n0', 'r1');
      one.events();
      const tx = dom0.start();
      dom0.doIn(tx, 'WRITE', '/t/b', '2');
      dom0.doIn(tx, 'RM', '/t/a');
      dom0.end(tx);
      expect(one.events()).to.deep.equal(['/t/a|w']);
    });
  });

  it('set watches at once, whatever transaction the request names', () => {
    expect(dom0.inTx(999, 'WATCH', '/t', 't')).to.deep.equal(['WATCH OK']);
    expect(dom0.events()).to.deep.equal(['/t|t']);
    expect(dom0.inTx(999, 'UNWATCH', '/t', 't')).to.deep.equal(['UNWATCH OK']);
  });

  it('have numbers of their own connection, never 0; an unknown one is ENOENT', () => {
    const [mine, next] = [dom0.start(), dom0.start()];
    expect(mine).to.be.greaterThan(0);
    expect(next).not.to.equal(mine);
    expect(dom0.doIn(999, 'READ', '/t/a')).to.equal('ENOENT');
    expect(one.doIn(mine + 10, 'WRITE', 'x', '')).to.equal('ENOENT');
    expect(dom0.end(mine, 'F')).to.equal('OK');
    expect(dom0.end(mine, 'F')).to.equal('ENOENT');
  });

  it('cannot be nested (EBUSY), and end with T or F', () => {
    const tx = dom0.start();
    expect(dom0.doIn(tx, 'TRANSACTION_START', '')).to.equal('EBUSY');
    expect(dom0.doIn(tx, 'TRANSACTION_END', 'X')).to.equal('EINVAL');
    expect(dom0.bytes('TRANSACTION_END', fromStrings('T', ''), tx)).to.deep.equal(['ERROR EINVAL']);
    expect(dom0.do('TRANSACTION_END', 'T')).to.equal('ENOENT');
    expect(dom0.end(tx)).to.equal('OK');
  });

  it('survive a refused operation', () => {
    const tx = one.start();
    expect(one.doIn(tx, 'READ', 'none')).to.equal('ENOENT');
    expect(one.doIn(tx, 'WRITE', '/tool/x', '')).to.equal('EACCES');
    expect(one.doIn(tx, 'WRITE', 'a//b', '')).to.equal('EINVAL');
    expect(one.doIn(tx, 'WRITE', 'a', '')).to.equal('OK');
    expect(one.end(tx)).to.equal('OK');
    expect(one.do('READ', 'a')).to.equal('');
  });

  it('of a guest touch 1024 nodes; one more is ENOSPC, and the end then ENOMEM (xenstored transaction-nodes)', () => {
    const tx = one.start();
    // The first look that finds nothing asks the parents too: the guest's own directory.
    expect(one.doIn(tx, 'READ', 'n0')).to.equal('ENOENT');
    for (let i = 1; i < 1023; i++) one.doIn(tx, 'READ', `n${i}`);
    expect(one.doIn(tx, 'READ', 'n0')).to.equal('ENOENT');
    expect(one.doIn(tx, 'READ', 'more')).to.equal('ENOSPC');
    expect(one.end(tx)).to.equal('ENOMEM');
    expect(one.end(tx)).to.equal('ENOENT');
    const big = dom0.start();
    for (let i = 0; i < 1100; i++) expect(dom0.doIn(big, 'READ', `/t/n${i}`)).to.equal('ENOENT');
    expect(dom0.end(big)).to.equal('OK');
  });

  it('do not give a node to a domain that has died meanwhile (ENOMEM)', () => {
    const tx = dom0.start();
    dom0.doIn(tx, 'WRITE', '/t/of-one', '');
    dom0.doIn(tx, 'SET_PERMS', '/t/of-one', 'n1');
    machine.states.delete(1);
    machine.server.checkDomains();
    expect(dom0.end(tx)).to.equal('ENOMEM');
    expect(dom0.do('READ', '/t/of-one')).to.equal('ENOENT');
  });

  it('give the next domain of a recycled domid nothing that they gave to the last (XSA-322)', () => {
    const owning = dom0.start();
    dom0.doIn(owning, 'WRITE', '/t/of-one', '');
    dom0.doIn(owning, 'SET_PERMS', '/t/of-one', 'n1');
    const sharing = dom0.start();
    dom0.doIn(sharing, 'SET_PERMS', '/t/b', 'n0', 'r1');
    machine.states.delete(1);
    machine.server.checkDomains();
    const next = machine.raw(1);
    expect(dom0.end(owning)).to.equal('ENOMEM');
    expect(dom0.end(sharing)).to.equal('OK');
    expect(next.do('READ', '/t/of-one')).to.equal('EACCES');
    expect(next.do('READ', '/t/b')).to.equal('EACCES');
    expect(dom0.do('SET_PERMS', '/t/b', 'n0', 'r1')).to.equal('OK');
    expect(next.do('READ', '/t/b')).to.equal('1');
  });

  it('may change a node of a domain whose death the store has not been told of', () => {
    const tx = dom0.start();
    dom0.doIn(tx, 'WRITE', '/local/domain/1', 'changed');
    machine.states.delete(1);
    expect(dom0.end(tx)).to.equal('OK');
    expect(dom0.do('READ', '/local/domain/1')).to.equal('changed');
  });
});
