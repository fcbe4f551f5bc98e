import { fdatasync, read, readv, write, writev } from 'node:fs';
import type { Disk } from '../disk.js';
import { RawImage, viewsAfter } from './raw-image.js';

type Resolve = () => void;
type Reject = (error: Error) => void;
type After = (error: Error | null, done: number) => void;

/**
 * A raw image file as a disk whose operations libuv's threads carry out, several at once: for files that take long to answer, where
 * {@link RawDisk} would have everybody wait. On files that are in memory it is several times slower.
 */
export class AsyncRawDisk extends RawImage implements Disk {
  /** Those whose operations the threads have finished: told together once in a turn of the loop, so that their answers go together too. */
  readonly #finished: Resolve[] = [];

  readInto(views: readonly Uint8Array[], position: number): Promise<void> {
    return new Promise((resolve, reject) => this.#read(views, position, resolve, reject));
  }

  writeFrom(views: readonly Uint8Array[], position: number): Promise<void> {
    return new Promise((resolve, reject) => this.#write(views, position, resolve, reject));
  }

  flush(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.fd, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  #read(views: readonly Uint8Array[], at: number, resolve: Resolve, reject: Reject): void {
    const [first] = views;
    const after: After = (error, done) => {
      if (error !== null) return reject(error);
      if (done === 0) return reject(this.ended(at));
      const left = viewsAfter(views, done);
      if (left.length === 0) this.#finish(resolve);
      else this.#read(left, at + done, resolve, reject);
    };
    if (views.length === 1 && first !== undefined) read(this.fd, first, 0, first.length, at, after);
    else readv(this.fd, views, at, after);
  }

  #write(views: readonly Uint8Array[], at: number, resolve: Resolve, reject: Reject): void {
    const [first] = views;
    const after: After = (error, done) => {
      if (error !== null) return reject(error);
      if (done === 0) return reject(this.full(at));
      const left = viewsAfter(views, done);
      if (left.length === 0) this.#finish(resolve);
      else this.#write(left, at + done, resolve, reject);
    };
    if (views.length === 1 && first !== undefined) write(this.fd, first, 0, first.length, at, after);
    else writev(this.fd, views, at, after);
  }

  #finish(resolve: Resolve): void {
    if (this.#finished.push(resolve) === 1) setImmediate(this.#tell);
  }

  readonly #tell = (): void => {
    for (const resolve of this.#finished.splice(0)) resolve();
  };
}
