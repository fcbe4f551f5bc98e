import { expect } from 'chai';
import { XenError } from '../../core/errors.js';
import { GuestRing } from '../../xenstore/ring-page.js';
import { xs } from '../../xenstore/wire.js';
import { RawClient } from '../support/raw-client.js';
import { type Guest, StoreMachine } from '../support/store-machine.js';

const REQ_CONS = 2048;

describe('the store’s requests of a toolstack (docs/misc/xenstore.txt)', () => {
  let machine: StoreMachine;

  beforeEach(() => {
    machine = new StoreMachine();
  });

  const client = (guest: Guest) => new RawClient(new GuestRing(guest.page, guest.channel), machine);

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
    expect(dom0.do('SET_TARGET', '5', '0')).to.equal('ENOENT');
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
