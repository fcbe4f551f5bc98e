import { expect } from 'chai';
import { fromStrings, fromText, strings } from '../../xenstore/payload.js';
import { xs } from '../../xenstore/wire.js';
import type { RawClient } from '../support/raw-client.js';
import { StoreMachine } from '../support/store-machine.js';

describe('the store’s operations (docs/misc/xenstore.txt, tools/xenstored/core.c)', () => {
  let machine: StoreMachine;
  let dom0: RawClient;
  let one: RawClient;
  let two: RawClient;

  /** Two guests; /local/domain/1 is domain 1's and domain 2 may read it. */
  beforeEach(() => {
    machine = new StoreMachine();
    dom0 = machine.dom0;
    one = machine.raw(1);
    two = machine.raw(2);
    dom0.do('WRITE', '/local/domain/1', '');
    dom0.do('SET_PERMS', '/local/domain/1', 'n1', 'r2');
  });

  describe('the first nodes', () => {
    it('are the root, /tool, /tool/xenstored and the special ones, dom0’s and for nobody else', () => {
      expect(dom0.do('DIRECTORY', '/')).to.equal('tool|local');
      expect(dom0.do('DIRECTORY', '/tool')).to.equal('xenstored');
      for (const path of ['/', '/tool', '/tool/xenstored', '@introduceDomain', '@releaseDomain']) {
        expect(dom0.do('GET_PERMS', path)).to.equal('n0');
        expect(one.do('GET_PERMS', path)).to.equal('EACCES');
      }
    });
  });

  describe('WRITE and READ', () => {
    it('keep any bytes, also NULs and none', () => {
      dom0.do('WRITE', '/a', 'x\0y\xff');
      expect(dom0.do('READ', '/a')).to.equal('x|y\xff');
      expect(dom0.do('WRITE', '/a', '')).to.equal('OK');
      expect(dom0.do('READ', '/a')).to.equal('');
      expect(dom0.bytes('READ', fromStrings('/a'))).to.deep.equal(['READ ']);
    });

    it('create parents with empty values', () => {
      dom0.do('WRITE', '/a/b/c', 'x');
      expect(dom0.do('READ', '/a')).to.equal('');
      expect(dom0.do('DIRECTORY', '/a')).to.equal('b');
      expect(dom0.do('DIRECTORY', '/a/b/c')).to.equal('');
    });

    it('leave the children of a node that is written alone', () => {
      dom0.do('WRITE', '/a/b', 'x');
      dom0.do('WRITE', '/a', 'y');
      expect(dom0.do('DIRECTORY', '/a')).to.equal('b');
    });

    it('take relative paths from the caller’s own directory', () => {
      one.do('WRITE', 'name', 'guest');
      expect(one.do('READ', 'name')).to.equal('guest');
      expect(dom0.do('READ', '/local/domain/1/name')).to.equal('guest');
    });

    it('need one path ended by a NUL', () => {
      for (const payload of [fromText('/tool'), fromText(''), fromStrings('/tool', 'x'), fromStrings('', '')]) {
        expect(dom0.bytes('READ', payload)).to.deep.equal(['ERROR EINVAL']);
      }
      expect(dom0.bytes('WRITE', fromText('/a'))).to.deep.equal(['ERROR EINVAL']);
    });
  });

  describe('new nodes', () => {
    it('inherit their parent’s permissions, and belong to the guest that creates them (construct_node)', () => {
      one.do('WRITE', 'a/b', 'x');
      expect(dom0.do('GET_PERMS', '/local/domain/1/a')).to.equal('n1|r2');
      expect(dom0.do('GET_PERMS', '/local/domain/1/a/b')).to.equal('n1|r2');
    });

    it('belong to the parent’s owner when dom0 creates them', () => {
      dom0.do('WRITE', '/local/domain/1/x/y', '');
      expect(dom0.do('GET_PERMS', '/local/domain/1/x/y')).to.equal('n1|r2');
      dom0.do('WRITE', '/plain', '');
      expect(dom0.do('GET_PERMS', '/plain')).to.equal('n0');
    });

    it('belong to a guest that creates them in another’s directory, and shut that other out', () => {
      one.do('WRITE', 'a', '');
      one.do('SET_PERMS', 'a', 'n1', 'b2');
      expect(two.do('WRITE', '/local/domain/1/a/mine', 'hi')).to.equal('OK');
      expect(dom0.do('GET_PERMS', '/local/domain/1/a/mine')).to.equal('n2|b2');
      expect(one.do('READ', 'a/mine')).to.equal('EACCES');
      expect(one.do('RM', 'a/mine')).to.equal('EACCES');
    });
  });

  describe('an error', () => {
    it('is EACCES and not ENOENT for one who may not see the nearest parent (errno_from_parents)', () => {
      expect(two.do('READ', '/local/domain/1/none')).to.equal('ENOENT');
      expect(two.do('READ', '/local/domain/1/none/deep')).to.equal('ENOENT');
      expect(two.do('READ', '/none')).to.equal('EACCES');
      expect(two.do('READ', 'x')).to.equal('EACCES');
      expect(dom0.do('READ', '/none/deep')).to.equal('ENOENT');
    });

    it('is EACCES where reading would be allowed and writing is asked for', () => {
      for (const path of ['/local/domain/1/none', '/local/domain/1']) {
        expect(two.do('WRITE', path, 'x')).to.equal('EACCES');
        expect(two.do('MKDIR', path)).to.equal('EACCES');
        expect(two.do('RM', path)).to.equal('EACCES');
      }
    });
  });

  describe('MKDIR', () => {
    it('creates an empty node, and leaves an existing one as it is', () => {
      expect(one.do('MKDIR', 'dir/sub')).to.equal('OK');
      expect(one.do('READ', 'dir/sub')).to.equal('');
      one.do('WRITE', 'dir', 'value');
      expect(one.do('MKDIR', 'dir')).to.equal('OK');
      expect(one.do('READ', 'dir')).to.equal('value');
    });
  });

  describe('RM', () => {
    it('removes a node and all below it', () => {
      one.do('WRITE', 'a/b/c', 'x');
      one.do('WRITE', 'a/d', 'x');
      expect(one.do('RM', 'a')).to.equal('OK');
      for (const path of ['a', 'a/b', 'a/b/c', 'a/d']) expect(one.do('READ', path)).to.equal('ENOENT');
      expect(one.do('DIRECTORY', '/local/domain/1')).to.equal('');
    });

    it('of a missing node is OK when its parent exists, and ENOENT otherwise', () => {
      expect(one.do('RM', 'none')).to.equal('OK');
      expect(one.do('RM', 'none/deep')).to.equal('ENOENT');
      expect(dom0.do('RM', '/none')).to.equal('OK');
      expect(two.do('RM', '/none/x')).to.equal('EACCES');
    });

    it('of the root is EINVAL', () => {
      expect(dom0.do('RM', '/')).to.equal('EINVAL');
      expect(one.do('RM', '/')).to.equal('EACCES');
    });

    it('takes nodes of other owners with it', () => {
      one.do('WRITE', 'a', '');
      one.do('SET_PERMS', 'a', 'n1', 'b2');
      two.do('WRITE', '/local/domain/1/a/mine', 'hi');
      expect(one.do('RM', 'a')).to.equal('OK');
      expect(dom0.do('READ', '/local/domain/1/a/mine')).to.equal('ENOENT');
    });
  });

  describe('DIRECTORY', () => {
    it('lists children in the order of their creation', () => {
      for (const name of ['z', 'a', 'm']) one.do('WRITE', `d/${name}`, '');
      one.do('RM', 'd/a');
      one.do('WRITE', 'd/a', '');
      expect(one.do('DIRECTORY', 'd')).to.equal('z|m|a');
    });

    it('of more than 4096 bytes is E2BIG, of 4096 not (XSA-72)', () => {
      for (let i = 0; i < 4; i++) dom0.do('WRITE', `/d/${String(i).repeat(1023)}`, '');
      expect(dom0.do('DIRECTORY', '/d')).to.have.length(4095);
      dom0.do('WRITE', '/d/x', '');
      expect(dom0.do('DIRECTORY', '/d')).to.equal('E2BIG');
    });
  });

  describe('DIRECTORY_PART', () => {
    const part = (offset: string, path = '/d') => dom0.bytes('DIRECTORY_PART', fromStrings(path, offset));

    it('gives the generation, whole names from an offset on, and an empty one after the last', () => {
      for (const name of ['aa', 'b']) dom0.do('WRITE', `/d/${name}`, '');
      const [whole = ''] = part('0');
      expect(whole).to.match(/^DIRECTORY_PART \d+\|aa\|b\|$/);
      const [rest] = part('3');
      expect(rest).to.equal(whole.replace('aa|', ''));
      for (const offset of ['5', '9999', '-1']) expect(part(offset)[0]).to.match(/^DIRECTORY_PART \d+\|$/);
    });

    it('stays under the limit, and its parts make the whole', () => {
      const names = Array.from({ length: 600 }, (_, i) => `name-${'x'.repeat(i % 23)}${i}`);
      for (const name of names) dom0.do('WRITE', `/d/${name}`, '');
      const got: string[] = [];
      for (let offset = 0; ; ) {
        dom0.push(message('DIRECTORY_PART', fromStrings('/d', String(offset))));
        const payload = dom0.next()?.payload ?? new Uint8Array(0);
        expect(payload.length).to.be.at.most(4096);
        const [, ...texts] = strings(payload);
        const whole = texts.filter((text) => text !== '');
        got.push(...whole);
        if (whole.length < texts.length) break;
        offset += whole.reduce((sum, { length }) => sum + length + 1, 0);
      }
      expect(got).to.deep.equal(names);
    });

    it('changes its generation with the list', () => {
      dom0.do('WRITE', '/d/a', '');
      const [before] = part('99');
      dom0.do('WRITE', '/d/a', 'value');
      expect(part('99')).to.deep.equal([before]);
      dom0.do('WRITE', '/d/b', '');
      expect(part('99')).not.to.deep.equal([before]);
    });

    it('needs a path and an offset', () => {
      expect(dom0.bytes('DIRECTORY_PART', fromStrings('/d'))).to.deep.equal(['ERROR EINVAL']);
      expect(dom0.bytes('DIRECTORY_PART', fromStrings('/d', '0', '0'))).to.deep.equal(['ERROR EINVAL']);
    });
  });

  describe('SET_PERMS', () => {
    it('is for the owner and dom0', () => {
      one.do('WRITE', 'a', '');
      expect(one.do('SET_PERMS', 'a', 'r1', 'b2')).to.equal('OK');
      expect(two.do('GET_PERMS', '/local/domain/1/a')).to.equal('r1|b2');
      expect(two.do('SET_PERMS', '/local/domain/1/a', 'r1', 'b2')).to.equal('EACCES');
      expect(dom0.do('SET_PERMS', '/local/domain/1/a', 'n1')).to.equal('OK');
    });

    it('changes the owner for dom0 only (XSA-352)', () => {
      one.do('WRITE', 'a', '');
      expect(one.do('SET_PERMS', 'a', 'n2')).to.equal('EPERM');
      expect(dom0.do('SET_PERMS', '/local/domain/1/a', 'n2')).to.equal('OK');
      expect(one.do('READ', 'a')).to.equal('EACCES');
    });

    it('keeps a permission for a domain that does not exist, for nobody, and gives it no node', () => {
      one.do('WRITE', 'a', '');
      expect(one.do('SET_PERMS', 'a', 'n1', 'r77')).to.equal('OK');
      expect(one.do('GET_PERMS', 'a')).to.equal('n1|r77');
      expect(machine.raw(77).do('READ', '/local/domain/1/a')).to.equal('EACCES');
      expect(dom0.do('SET_PERMS', '/local/domain/1/a', 'n78')).to.equal('ENOENT');
    });

    it('needs at least one permission, each of the right form', () => {
      for (const texts of [['x1'], [], ['n1foo'], ['n1', '']]) {
        expect(one.do('SET_PERMS', '/local/domain/1', ...texts)).to.equal('EINVAL');
      }
    });

    it('of a node that is not there is ENOENT', () => {
      expect(dom0.do('SET_PERMS', '/none', 'n0')).to.equal('ENOENT');
      expect(dom0.do('SET_PERMS', '@other', 'n0')).to.equal('ENOENT');
    });
  });
});

const message = (name: keyof typeof xs, payload: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(16 + payload.length);
  new DataView(bytes.buffer).setUint32(0, xs[name], true);
  new DataView(bytes.buffer).setUint32(12, payload.length, true);
  bytes.set(payload, 16);
  return bytes;
};
