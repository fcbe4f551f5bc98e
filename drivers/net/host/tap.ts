import { Buffer } from 'node:buffer';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { closeSync, constants, existsSync, openSync, writeSync } from 'node:fs';
import { getuid, platform } from 'node:process';
import type { Readable, Writable } from 'node:stream';
import { helper } from './tap-helper.js';

const DEVICE = '/dev/net/tun';
/** What Linux calls an interface (if.h `IFNAMSIZ`). */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/;

/** How a TAP device is made. */
export interface TapOptions {
  /** Its name, `tap0`; it must not be there yet, or be a TAP device that nobody uses. */
  readonly name: string;
  /** The Linux bridge that it becomes a port of. */
  readonly bridge?: string | undefined;
  /** Bytes of payload. */
  readonly mtu?: number;
  /** Whether each frame has a virtio_net_hdr before it, both ways, if the kernel can do that; not without it. */
  readonly vnetHeader?: boolean;
}

/**
 * Says why a TAP device cannot be made, before anything is tried; undefined when it should work.
 * @param surroundings what there is, without it as it is
 */
export const tapProblem = (
  { name, bridge }: TapOptions,
  surroundings: {
    readonly uid?: number;
    readonly exists?: (path: string) => boolean;
  } = {},
): string | undefined => {
  const { uid = getuid?.(), exists = existsSync } = surroundings;
  if (!NAME.test(name))
    return `an interface's name has up to 15 letters, digits, . _ and -, unlike ${JSON.stringify(name)}`;
  if (platform !== 'linux') return `TAP devices are Linux's, and this is ${platform}`;
  if (uid !== 0) return 'a TAP device needs root: run this as root, or leave --tap out';
  if (!exists(DEVICE)) return `there is no ${DEVICE}: load the module tun (modprobe tun)`;
  if (exists(`/sys/class/net/${name}`) && !exists(`/sys/class/net/${name}/tun_flags`))
    return `there is an interface ${name}, and it is no TAP device: name another`;
  if (bridge !== undefined && !exists(`/sys/class/net/${bridge}/bridge`))
    return `there is no Linux bridge ${bridge}: make it (ip link add ${bridge} type bridge), or name another`;
  return undefined;
};

/**
 * A Linux TAP device: the other end of its cable is the kernel. Frames to it are written right from memory; those that come are read by a
 * helper, many at a time. It is gone with this process, however that ends.
 */
export class Tap implements Disposable {
  /** What the kernel calls it. */
  readonly name: string;
  /** Bytes of the virtio_net_hdr that each frame has before it; 0 without. */
  readonly header: number;
  readonly #file: number;
  readonly #helper: ChildProcessByStdio<Writable, Readable, Readable>;
  #open = true;

  private constructor(
    name: string,
    header: number,
    file: number,
    child: ChildProcessByStdio<Writable, Readable, Readable>,
  ) {
    this.name = name;
    this.header = header;
    this.#file = file;
    this.#helper = child;
  }

  /**
   * Makes the device and sets it up.
   * @param each is given every frame that comes, valid during the call, `batch` is called after the last of those that came together
   * @throws Error when the kernel refuses, saying why
   */
  static open(options: TapOptions, each: (frame: Uint8Array) => void, batch: () => void): Promise<Tap> {
    const problem = tapProblem(options);
    if (problem !== undefined) return Promise.reject(new Error(problem));
    const file = openSync(DEVICE, constants.O_RDWR);
    const { name, bridge = '', mtu = 1500, vnetHeader = false } = options;
    const child = spawn('perl', ['-e', helper, name, bridge, String(mtu), vnetHeader ? '1' : '0'], {
      stdio: ['pipe', 'pipe', 'pipe', file],
    }) as ChildProcessByStdio<Writable, Readable, Readable>;
    return new Promise((resolve, reject) => {
      let tap: Tap | undefined;
      let errors = '';
      let left: Buffer = Buffer.alloc(0);
      child.stderr.on('data', (text) => {
        errors += String(text);
      });
      child.stdin.on('error', () => {}); // it may be gone before us
      child.on('error', (error) => {
        closeSync(file);
        reject(new Error(`perl, which makes TAP devices here, does not start: ${error.message}`));
      });
      child.on('close', () => {
        if (tap !== undefined) return;
        closeSync(file);
        reject(new Error(`the TAP device ${name} cannot be made: ${errors.trim() || 'the helper ended'}`));
      });
      child.stdout.on('data', (chunk: Buffer) => {
        left = left.length === 0 ? chunk : Buffer.concat([left, chunk]);
        let at = 0;
        while (at + 4 <= left.length) {
          const length = left.readUInt32BE(at);
          if (at + 4 + length > left.length) break;
          const frame = left.subarray(at + 4, at + 4 + length);
          at += 4 + length;
          if (tap !== undefined) each(frame);
          else {
            // The first tells of the device.
            tap = new Tap(frame.toString('latin1', 1), frame.readUInt8(), file, child);
            resolve(tap);
          }
        }
        left = left.subarray(at);
        if (at > 0) batch();
      });
    });
  }

  /** Hands a frame to the kernel; false when it does not take it: the device is down. */
  write(memory: Uint8Array, offset: number, length: number): boolean {
    if (!this.#open) return false;
    try {
      return writeSync(this.#file, memory, offset, length) === length;
    } catch {
      return false;
    }
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#file);
    this.#helper.stdin.end();
    this.#helper.stdout.removeAllListeners('data');
    this.#helper.stdout.resume();
    this.#helper.kill();
  }
}
