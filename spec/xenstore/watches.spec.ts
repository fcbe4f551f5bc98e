import { expect } from 'chai';
import fc from 'fast-check';
import type { RawClient } from '../support/raw-client.js';
import { StoreMachine } from '../support/store-machine.js';

describe('watches (docs/misc/xenstore.txt, tools/xenstored/watch.c)', () => {
  let machine: StoreMachine;
  let dom0: RawClient;
  let one: RawClient;
  let two: RawClient;

  beforeEach(() => {
    machine = new StoreMachine();
    dom0 = machine.dom0;
    one = machine.raw(1);
    two = machine.raw(2);
    dom0.do('WRITE', '/local/domain/1', '');
    dom0.do('SET_PERMS', '/local/domain/1', 'n1', 'r2');
  });

  it('fire once at registration, after the reply, whether the node exists and may be read or not', () => {
    for (const path of ['a', '/local/domain/1/none', '/tool', '@introduceDomain', '@other']) {
      expect(one.all('WATCH', path, 't')).to.deep.equal(['WATCH OK']);
      expect(one.events()).to.deep.equal([`${path}|t`]);
    }
  });

  it('fire for creation, a write, one of the same value, changed permissions and removal', () => {
    one.do('WATCH', 'a', 't');
    one.events();
    const steps = [
      ['MKDIR', 'a'],
      ['WRITE', 'a', 'x'],
      ['WRITE', 'a', 'x'],
      ['SET_PERMS', 'a', 'n1'],
      ['RM', 'a'],
    ] as const;
    for (const [name, ...texts] of steps) {
      expect(one.all(name, ...texts), name).to.deep.equal(['WATCH_EVENT a|t', `${name} OK`]);
      expect(one.events()).to.deep.equal([]);
    }
  });

  it('tell the writer before its reply, as xenstored does', () => {
    one.do('WATCH', '/local/domain/1', 't');
    one.events();
    expect(one.all('WRITE', 'a', '')).to.deep.equal(['WATCH_EVENT /local/domain/1/a|t', 'WRITE OK']);
  });

  it('do not fire for reading, for an MKDIR of an existing node, for an RM of a missing one, and for a refused request', () => {
    one.do('WRITE', 'a', 'x');
    one.do('WATCH', 'a', 't');
    one.events();
    one.do('READ', 'a');
    one.do('DIRECTORY', 'a');
    one.do('MKDIR', 'a');
    one.do('RM', 'a/none');
    one.do('SET_PERMS', 'a', 'n2');
    two.do('WRITE', '/local/domain/1/a', 'x');
    expect(one.events()).to.deep.equal([]);
  });

  it('cover the node and everything below it, and nothing that merely begins alike', () => {
    one.do('WATCH', 'a', 't');
    one.events();
    one.do('WRITE', 'a/b/c', '');
    one.do('WRITE', 'ab', '');
    one.do('WRITE', 'b', '');
    expect(one.events()).to.deep.equal([]);
    expect(one.all('WRITE', 'a/b/c', '')).to.deep.equal(['WATCH_EVENT a/b/c|t', 'WRITE OK']);
  });

  it('tell of a created node once, and not of the parents created with it', () => {
    dom0.do('WATCH', '/', 'root');
    dom0.events();
    expect(dom0.all('WRITE', '/x/y/z', '')).to.deep.equal(['WATCH_EVENT /x/y/z|root', 'WRITE OK']);
  });

  it('fire once for the removal of an ancestor, each with its own path, the deepest first', () => {
    one.do('WRITE', 'a/b/c', '');
    one.do('WATCH', 'a/b', 'middle');
    one.do('WATCH', 'a', 'top');
    one.do('WATCH', '/local/domain/1/a/b/c', 'deep');
    one.do('WATCH', 'a/b/none', 'none');
    one.events();
    expect(one.all('RM', 'a')).to.deep.equal([
      'WATCH_EVENT /local/domain/1/a/b/c|deep',
      'WATCH_EVENT a/b|middle',
      'WATCH_EVENT a|top',
      'RM OK',
    ]);
  });

  it('report a relative path when they were set with one', () => {
    one.do('WATCH', 'a', 'relative');
    one.do('WATCH', '/local/domain/1/a', 'absolute');
    one.events();
    dom0.do('WRITE', '/local/domain/1/a/b', '');
    expect(one.events()).to.deep.equal(['a/b|relative', '/local/domain/1/a/b|absolute']);
  });

  it('can be set once for a path and token (EEXIST), and again for another token', () => {
    expect(one.do('WATCH', 'a', 't')).to.equal('OK');
    expect(one.do('WATCH', 'a', 't')).to.equal('EEXIST');
    expect(one.do('WATCH', '/local/domain/1/a', 't')).to.equal('EEXIST');
    expect(one.do('WATCH', 'a', 'u')).to.equal('OK');
    expect(two.do('WATCH', '/local/domain/1/a', 't')).to.equal('OK');
    expect(one.events()).to.deep.equal(['a|u']);
  });

  it('end with UNWATCH, which knows them by path and token (ENOENT)', () => {
    one.do('WATCH', 'a', 't');
    one.events();
    expect(one.do('UNWATCH', 'a', 'u')).to.equal('ENOENT');
    expect(one.do('UNWATCH', 'b', 't')).to.equal('ENOENT');
    expect(one.do('UNWATCH', '/local/domain/1/a', 't')).to.equal('OK');
    expect(one.all('WRITE', 'a', '')).to.deep.equal(['WRITE OK']);
    expect(one.do('UNWATCH', 'a', 't')).to.equal('ENOENT');
    expect(machine.server.openBy(machine.create(1).domid)).to.deep.equal({ watches: 0, transactions: 0 });
  });

  it('need a path and a token', () => {
    for (const texts of [['a'], [], ['a', 't', '1', '2'], ['', 't'], ['a//b', 't'], ['a/', 't']]) {
      expect(one.do('WATCH', ...texts), texts.join('|')).to.equal('EINVAL');
    }
    for (const texts of [['a'], ['a', 't', '1']]) expect(one.do('UNWATCH', ...texts)).to.equal('EINVAL');
  });

  it('merge an event with the same one that still waits, and with no other', () => {
    one.do('WATCH', 'a', 't');
    one.events();
    const fill = 'x'.repeat(900);
    dom0.do('WRITE', '/local/domain/1/big', fill);
    for (let i = 0; i < 30; i++) dom0.do('WRITE', `/local/domain/1/a/${fill}-${i % 3}`, '');
    dom0.do('WRITE', '/local/domain/1/a', '');
    const events = one.events().map((event) => event.replace(fill, '…'));
    // The first is in the ring already when it happens again, the others wait in the store.
    expect(events).to.deep.equal(['a/…-0|t', 'a/…-1|t', 'a/…-2|t', 'a/…-0|t', 'a|t']);
  });

  it('never merge special events', () => {
    dom0.do('WATCH', '@introduceDomain', 't');
    dom0.events();
    for (const domid of [11, 12, 13]) {
      const guest = machine.create(domid);
      machine.server.introduce(guest.domid, guest.port);
    }
    expect(dom0.events()).to.deep.equal(Array(3).fill('@introduceDomain|t'));
  });

  describe('with a depth (XENSTORE_SERVER_FEATURE_WATCHDEPTH)', () => {
    const seen = (depth: string, path = 'a'): string[] => {
      one.do('WATCH', path, 't', depth);
      one.events();
      for (const changed of ['a', 'a/b', 'a/b/c']) dom0.do('WRITE', `/local/domain/1/${changed}`, '');
      return one.events();
    };

    it('0 cover the node alone', () => expect(seen('0')).to.deep.equal(['a|t']));
    it('1 cover the direct children too', () => expect(seen('1')).to.deep.equal(['a|t', 'a/b|t']));
    it('2 cover one level more', () => expect(seen('2')).to.deep.equal(['a|t', 'a/b|t', 'a/b/c|t']));
    it('below zero are refused', () => expect(one.do('WATCH', 'a', 't', '-1')).to.equal('EINVAL'));

    it('tell the domid of special events, as those of one domain do (xenstored MATCH_DEPTH)', () => {
      dom0.do('WATCH', '@releaseDomain', 'plain');
      dom0.do('WATCH', '@releaseDomain', 'deep', '1');
      dom0.do('WATCH', '@releaseDomain', 'flat', '0');
      dom0.do('WATCH', '@releaseDomain/2', 'two');
      dom0.do('WATCH', '@releaseDomain/3', 'three');
      dom0.events();
      dom0.do('RELEASE', '2');
      expect(dom0.events()).to.deep.equal([]);
      dom0.do('INTRODUCE', '2', '0', '2');
      expect(dom0.all('RELEASE', '2')).to.deep.equal([
        'WATCH_EVENT @releaseDomain|plain',
        'WATCH_EVENT @releaseDomain/2|deep',
        'WATCH_EVENT @releaseDomain/2|two',
        'RELEASE OK',
      ]);
    });
  });

  describe('tell only what may be read (XSA-115)', () => {
    it('the node or its parent, before the change or after it', () => {
      two.do('WATCH', '/local/domain/1', 't');
      two.events();
      one.do('WRITE', 'seen', '');
      expect(two.events()).to.deep.equal(['/local/domain/1/seen|t']);
      one.do('SET_PERMS', 'seen', 'n1');
      // What it lost it is told of; the parent stays readable, and tells of its children.
      expect(two.events()).to.deep.equal(['/local/domain/1/seen|t']);
      one.do('WRITE', 'seen', 'x');
      expect(two.events()).to.deep.equal(['/local/domain/1/seen|t']);
      one.do('WRITE', 'seen/below', 'x');
      expect(two.events()).to.deep.equal([]);
    });

    it('a loss of permission itself, and nothing after it', () => {
      one.do('WRITE', 'a/b', '');
      one.do('SET_PERMS', 'a', 'n1');
      two.do('WATCH', '/local/domain/1/a/b', 't');
      two.events();
      one.do('WRITE', 'a/b', 'x');
      expect(two.events()).to.deep.equal(['/local/domain/1/a/b|t']);
      one.do('SET_PERMS', 'a/b', 'n1');
      expect(two.events()).to.deep.equal(['/local/domain/1/a/b|t']);
      one.do('WRITE', 'a/b', 'y');
      one.do('RM', 'a/b');
      expect(two.events()).to.deep.equal([]);
    });

    it('special events to dom0, and to whom SET_PERMS allows them', () => {
      one.do('WATCH', '@introduceDomain', 't');
      two.do('WATCH', '@introduceDomain', 't');
      one.events();
      two.events();
      dom0.do('SET_PERMS', '@introduceDomain', 'n0', 'r2');
      expect(one.events()).to.deep.equal([]);
      expect(two.events()).to.deep.equal(['@introduceDomain|t']);
      machine.boot(3);
      expect(one.events()).to.deep.equal([]);
      expect(two.events()).to.deep.equal(['@introduceDomain|t']);
    });

    it('whatever the permissions of a node and of its parent are', () => {
      const entries = fc.uniqueArray(fc.constantFrom('n', 'r', 'w', 'b'), { minLength: 1, maxLength: 4 });
      fc.assert(
        fc.property(entries, entries, (parent, child) => {
          const path = '/local/domain/1/p/c';
          dom0.do('WRITE', path, '');
          // Owner 1; what others may; then what domain 2 may, if anything is said of it.
          const list = ([others, own]: readonly string[]): string[] => [`${others}1`, ...(own ? [`${own}2`] : [])];
          dom0.do('SET_PERMS', '/local/domain/1/p', ...list(parent));
          dom0.do('SET_PERMS', path, ...list(child));
          two.do('RESET_WATCHES', '');
          two.do('WATCH', path, 't');
          two.events();
          const readable = ['/local/domain/1/p', path].some((at) => two.do('GET_PERMS', at) !== 'EACCES');
          one.do('WRITE', path, 'x');
          expect(two.events()).to.deep.equal(readable ? [`${path}|t`] : []);
          one.do('RM', '/local/domain/1/p');
          expect(two.events()).to.deep.equal(readable ? [`${path}|t`] : []);
        }),
        { numRuns: 50 },
      );
    });
  });

  it('lose an event that would be longer than a payload (XSA-324)', () => {
    const long = `/local/domain/1/${'a'.repeat(2000)}`;
    one.do('WATCH', long, 'short');
    const below = `${long}/${'c'.repeat(47)}`;
    // 2016 + 48 + 2031 and two NULs are 4097.
    one.do('WATCH', long, 'b'.repeat(2031));
    one.events();
    expect(one.all('WRITE', below, '')).to.deep.equal([`WATCH_EVENT ${below}|short`, 'WRITE OK']);
    expect(one.all('WRITE', below.slice(0, -1), '')).to.have.length(3);
  });
});
