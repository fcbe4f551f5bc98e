import { execFileSync } from 'node:child_process';
import { closeSync, fstatSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { XenDevice } from '../../../platform/xen/device.js';
import { openDeviceStore } from '../../../platform/xen/open-store.js';
import { XenUnavailable } from '../../../platform/xen/unavailable.js';

const linux = process.platform === 'linux';

(linux ? describe : describe.skip)(`the store by its device${linux ? '' : ' (Linux only)'}`, () => {
  const path = join(tmpdir(), `splitring-store-${process.pid}`);
  const binding = Object.getOwnPropertyDescriptor(process, 'binding') ?? {};
  let opened: number[];

  // A pipe with a name stands for the device: it can be polled, and nothing comes of it.
  const open = (): XenDevice => {
    const fd = openSync(path, 'r+');
    opened.push(fd);
    return { path, fd, [Symbol.dispose]: () => closeSync(fd) };
  };
  const expectAllClosed = (): void => {
    for (const fd of opened) expect(() => fstatSync(fd), `descriptor ${fd}`).to.throw('EBADF');
  };

  beforeEach(() => {
    execFileSync('mkfifo', [path]);
    opened = [];
  });
  afterEach(() => {
    Object.defineProperty(process, 'binding', binding);
    rmSync(path);
  });

  it('closes both of its descriptors', async () => {
    const store = openDeviceStore(open);
    expect(opened).to.have.length(2);
    store[Symbol.dispose]();
    expectAllClosed();
    expect((await store.lost).message).to.equal('this end has closed the connection');
  });

  it('leaves none open when the second cannot be opened', () => {
    const once = (): XenDevice => {
      if (opened.length === 1) throw new XenUnavailable('/dev/xen/xenbus cannot be opened: EMFILE');
      return open();
    };
    expect(() => openDeviceStore(once)).to.throw(XenUnavailable, 'EMFILE');
    expect(opened).to.have.length(1);
    expectAllClosed();
  });

  it('leaves none open where Node does not let a device be polled', () => {
    Object.defineProperty(process, 'binding', { ...binding, value: undefined });
    expect(() => openDeviceStore(open)).to.throw(XenUnavailable, 'no longer lets a device be polled');
    expect(opened).to.have.length(1);
    expectAllClosed();
  });
});
