import { expect } from 'chai';
import { XenError } from '../../core/errors.js';
import { baseName, canonicalPath, childPath, levelsBelow, type NodePath, parentPath } from '../../xenstore/paths.js';

const guest = { domid: 3, privileged: false };
const dom0 = { domid: 0, privileged: true };
const refused = (path: string | undefined, context = guest, special = false) =>
  expect(() => canonicalPath(path, context, special), `${path?.slice(0, 30)}`).to.throw(XenError, 'EINVAL');

describe('a path (docs/misc/xenstore.txt)', () => {
  it('has letters, digits, - / _ and @', () => {
    expect(canonicalPath('/local/domain/3/a-B_9@x', guest)).to.equal('/local/domain/3/a-B_9@x');
    for (const path of ['/a b', '/a.b', '/a:b', '/ä', '/a\n', '/a\0', '/%', '/~', '/a\\b']) refused(path);
  });

  it('is not empty, has no // and no slash at the end but the root', () => {
    expect(canonicalPath('/', guest)).to.equal('/');
    for (const path of ['', '//', '/a//b', 'a//b', '/a/', 'a/', '///']) refused(path);
    refused(undefined);
  });

  it('ends in no slash however near to a domain’s own directory (XSA-481)', () => {
    for (const path of ['/local/', '/local/domain/', '/local/domain/3/', '/local/domain/3//', '/local/domain/99999/']) {
      refused(path);
      refused(path, dom0);
    }
  });

  it('is taken relative to the caller’s own directory', () => {
    expect(canonicalPath('device/vbd', guest)).to.equal('/local/domain/3/device/vbd');
    expect(canonicalPath('x', dom0)).to.equal('/local/domain/0/x');
  });

  it('begins with @ in watches and permissions only', () => {
    expect(canonicalPath('@releaseDomain', guest, true)).to.equal('@releaseDomain');
    refused('@releaseDomain');
    refused('@releaseDomain', dom0);
  });

  it('has up to 2048 bytes when relative (XENSTORE_REL_PATH_MAX, XSA-323)', () => {
    for (const context of [guest, dom0]) {
      expect(canonicalPath('a'.repeat(2048), context)).to.have.length(16 + 2048);
      refused('a'.repeat(2049), context);
    }
  });

  it('has up to 3072 bytes when absolute (XENSTORE_ABS_PATH_MAX, XSA-323)', () => {
    expect(canonicalPath(`/${'a'.repeat(3071)}`, dom0)).to.have.length(3072);
    refused(`/${'a'.repeat(3072)}`, dom0);
  });

  it('has for a guest up to 2048 bytes behind /local/domain/<domid>/ (xenstored path-max)', () => {
    expect(canonicalPath(`/local/domain/7/${'a'.repeat(2048)}`, guest)).to.have.length(16 + 2048);
    refused(`/local/domain/7/${'a'.repeat(2049)}`);
    expect(canonicalPath(`/${'a'.repeat(2047)}`, guest)).to.have.length(2048);
    refused(`/${'a'.repeat(2048)}`);
  });

  it('has a parent, which for the root and for special names is the root', () => {
    const parents = { '/a/b': '/a', '/a': '/', '/': '/', '@releaseDomain': '/' };
    for (const [path, parent] of Object.entries(parents)) expect(parentPath(path as NodePath)).to.equal(parent);
    expect(baseName('/a/bc' as NodePath)).to.equal('bc');
    expect(childPath('/' as NodePath, 'a')).to.equal('/a');
    expect(childPath('/a' as NodePath, 'b')).to.equal('/a/b');
  });

  it('lies so many levels below another, or not below it at all', () => {
    const levels = (path: string, ancestor: string) => levelsBelow(path as NodePath, ancestor as NodePath);
    expect(levels('/a/b', '/a/b')).to.equal(0);
    expect(levels('/a/b', '/a')).to.equal(1);
    expect(levels('/a/b', '/')).to.equal(2);
    expect(levels('/ab', '/a')).to.equal(undefined);
    expect(levels('/a', '/a/b')).to.equal(undefined);
    expect(levels('@releaseDomain/5', '@releaseDomain')).to.equal(1);
  });
});
