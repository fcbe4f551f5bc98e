import { execFileSync } from 'node:child_process';
import { closeSync, fstatSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { asDomid } from '../../../core/abi/units.js';
import type { EventChannel } from '../../../core/domain/event-channels.js';
import { XenError } from '../../../core/errors.js';
import { Arena } from '../../../platform/xen/arena.js';
import { XenEventChannels } from '../../../platform/xen/event-channels.js';
import { evtchn } from '../../../platform/xen/ioctls.js';
import { type Libc, loadLibc } from '../../../platform/xen/libc.js';

const hindrance = await loadLibc().then(
  () => (process.platform === 'linux' ? undefined : 'Linux only'),
  (error: unknown) => String(error),
);

(hindrance === undefined ? describe : describe.skip)(
  `event channels of a process on Xen${hindrance === undefined ? '' : ` (${hindrance})`}`,
  () => {
    const path = join(tmpdir(), `splitring-events-${process.pid}`);
    let fd: number;
    let channels: XenEventChannels;
    let open: EventChannel[];
    let completed: number[];
    /** What UNBIND answers, call by call; 0 behind the last. */
    let answers: number[];

    // A pipe with a name stands for evtchn; only its requests, which a pipe has not, are answered here.
    beforeEach(async () => {
      execFileSync('mkfifo', [path]);
      fd = openSync(path, 'r+');
      answers = [];
      completed = [];
      let ports = 0;
      const ioctl: Libc['ioctl'] = (_fd, request) => {
        if (request === evtchn.BIND_UNBOUND_PORT) return ++ports;
        return request === evtchn.UNBIND ? (answers.shift() ?? 0) : -errno.ENOSYS;
      };
      const libc = { ...(await loadLibc()), ioctl };
      const device = { path, fd, [Symbol.dispose]: () => closeSync(fd) };
      channels = new XenEventChannels(libc, new Arena(libc, 16), device, () => {});
      open = [1, 2, 3].map(() => channels.allocUnbound(asDomid(7)));
      for (const channel of open) channel.subscribe({ complete: () => completed.push(channel.port) });
    });
    afterEach(() => {
      channels[Symbol.dispose]();
      rmSync(path);
    });

    it('are gone, and their subscribers complete, when the device will not close one: the error comes after that', () => {
      answers = [-errno.EINVAL];
      expect(() => open[1]?.[Symbol.dispose]()).to.throw(XenError, 'EVTCHNOP_close of port 2');
      expect(completed).to.deep.equal([2]);
      expect(channels.open).to.equal(2);
      expect(() => open[1]?.[Symbol.dispose]()).not.to.throw();
    });

    it('are all closed with their device when one of them will not close, which is said at the end', () => {
      answers = [0, -errno.EINVAL];
      expect(() => channels[Symbol.dispose]()).to.throw(XenError, 'EVTCHNOP_close of port 2');
      expect(completed.sort()).to.deep.equal([1, 2, 3]);
      expect(channels.open).to.equal(0);
      expect(() => fstatSync(fd)).to.throw('EBADF');
    });

    it('are all closed when several will not, each of which is told of', () => {
      answers = [-errno.EINVAL, 0, -errno.ENOTCONN];
      expect(() => channels[Symbol.dispose]())
        .to.throw(AggregateError)
        .with.property('errors')
        .that.has.length(2);
      expect(completed.sort()).to.deep.equal([1, 2, 3]);
    });
  },
);
