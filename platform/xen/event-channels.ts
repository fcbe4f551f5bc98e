import { writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Domid, Port } from '../../core/abi/units.js';
import { PAGE_SIZE } from '../../core/abi/units.js';
import type { VcpuVirq, Virq } from '../../core/abi/virq.js';
import { Cleanup } from '../../core/domain/cleanup.js';
import { type EventChannel, EventChannels } from '../../core/domain/event-channels.js';
import { XenError } from '../../core/errors.js';
import type { Arena } from './arena.js';
import type { XenDevice } from './device.js';
import { deviceStream } from './device-stream.js';
import { type PortControl, XenEventChannel } from './event-channel.js';
import { evtchn } from './ioctls.js';
import type { Libc } from './libc.js';

/** Ports that are taken from the device at once. */
const PORTS = 1024;

/** Told of an exception that a subscriber threw, or of what the device answered; the other channels go on. */
export type OnChannelError = (error: unknown, port: Port | undefined) => void;

/**
 * The event channels of the domain that this process runs in, through /dev/xen/evtchn. Upcalls come from Node's event loop. The kernel
 * closes them all when the process ends, however it does.
 */
export class XenEventChannels extends EventChannels implements Disposable {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #stream: Socket;
  readonly #argument: { readonly address: number; readonly words: Int32Array };
  readonly #byPort = new Map<Port, XenEventChannel>();
  readonly #read = new Uint32Array(PORTS);
  /** Ports that the device is to have back, all together at the end of what it handed out together. */
  readonly #back = new Uint32Array(PORTS);
  #backs = 0;
  #delivering = false;
  readonly #onError: OnChannelError;
  #closed = false;
  /** Resolves, with the reason, when no event comes any more. */
  readonly lost: Promise<Error>;

  /** @param device belongs to the channels from now on */
  constructor(libc: Libc, arena: Arena, device: XenDevice, onError: OnChannelError) {
    super();
    this.#libc = libc;
    this.#fd = device.fd;
    this.#onError = onError;
    const page = arena.take(1);
    this.#argument = { address: arena.addressOf(page), words: new Int32Array(arena.buffer, page * PAGE_SIZE, 2) };
    this.#stream = deviceStream(device.fd, new Uint8Array(this.#read.buffer), (bytes) => this.#take(bytes / 4));
    let error = new Error(`${device.path} has been closed`);
    this.#stream.on('error', (thrown) => {
      error = new Error(`${device.path} cannot be read: ${thrown.message}`);
    });
    this.lost = new Promise((resolve) => this.#stream.on('close', () => resolve(error)));
  }

  /** Channels that have not been disposed of. */
  get open(): number {
    return this.#byPort.size;
  }

  override allocUnbound(remote: Domid): EventChannel {
    this.#argument.words[0] = remote;
    return this.#channel(this.#call(evtchn.BIND_UNBOUND_PORT), () => `EVTCHNOP_alloc_unbound for domain ${remote}`);
  }

  override bindInterdomain(remote: Domid, remotePort: Port): EventChannel {
    this.#argument.words[0] = remote;
    this.#argument.words[1] = remotePort;
    const what = (): string => `EVTCHNOP_bind_interdomain to port ${remotePort} of domain ${remote}`;
    return this.#channel(this.#call(evtchn.BIND_INTERDOMAIN), what);
  }

  /** As {@link EventChannels.bindVirq}, on vCPU 0, which Linux chooses. @throws XenError ENOSYS for another */
  override bindVirq(virq: Virq, vcpu = 0): EventChannel {
    if (vcpu !== 0) return super.bindVirq(virq as VcpuVirq, vcpu);
    this.#argument.words[0] = virq;
    return this.#channel(this.#call(evtchn.BIND_VIRQ), () => `EVTCHNOP_bind_virq of VIRQ ${virq}`);
  }

  /** Closes all channels and the device. @throws what it answered to those that it would not close, as {@link Cleanup} does */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    const cleanup = new Cleanup();
    cleanup.add(() => {
      this.#closed = true;
      this.#stream.destroy();
    });
    for (const channel of this.#byPort.values()) cleanup.use(channel);
    cleanup[Symbol.dispose]();
  }

  readonly #control: PortControl = {
    notify: (port) => {
      if (!this.#byPort.has(port)) throw new XenError('EINVAL', `EVTCHNOP_send on port ${port}, which is closed`);
      this.#argument.words[0] = port;
      const result = this.#call(evtchn.NOTIFY);
      if (result < 0) throw new XenError(-result, `EVTCHNOP_send on port ${port}`);
    },
    unmask: (port) => {
      this.#back[this.#backs++] = port;
      if (!this.#delivering || this.#backs === PORTS) this.#giveBack();
    },
    close: (port) => {
      this.#byPort.delete(port);
      if (this.#closed) return;
      this.#argument.words[0] = port;
      const result = this.#call(evtchn.UNBIND);
      if (result < 0) throw new XenError(-result, `EVTCHNOP_close of port ${port}`);
    },
    error: (error, port) => this.#onError(error, port),
  };

  #call(request: number): number {
    if (this.#closed) throw new XenError('EBADF', '/dev/xen/evtchn has been closed');
    return this.#libc.ioctl(this.#fd, request, this.#argument.address);
  }

  #channel(result: number, what: () => string): EventChannel {
    if (result < 0) throw new XenError(-result, what());
    const port = result as Port;
    const channel = new XenEventChannel(this.#control, port);
    this.#byPort.set(port, channel);
    return channel;
  }

  /** The device has handed ports out; those that were closed since are left out. */
  #take(count: number): void {
    this.#delivering = true;
    try {
      for (let i = 0; i < count; i++) this.#byPort.get(this.#read[i] as Port)?.fired();
    } finally {
      this.#delivering = false;
      this.#giveBack();
    }
  }

  #giveBack(): void {
    const ports = this.#back.subarray(0, this.#backs);
    this.#backs = 0;
    if (ports.length === 0 || this.#closed) return;
    try {
      writeSync(this.#fd, ports);
    } catch (error) {
      this.#onError(error, undefined);
    }
  }
}
