import { fdatasyncSync, readSync, readvSync, writeSync, writevSync } from 'node:fs';
import type { Disk } from '../disk.js';
import { RawImage, viewsAfter } from './raw-image.js';

/** A raw image file as a disk, read and written by synchronous calls straight to and from the views given. */
export class RawDisk extends RawImage implements Disk {
  readInto(views: readonly Uint8Array[], position: number): void {
    const { fd } = this;
    for (let left = views, at = position; left.length > 0; ) {
      const [first] = left;
      const done =
        left.length === 1 && first !== undefined ? readSync(fd, first, 0, first.length, at) : readvSync(fd, left, at);
      if (done === 0) throw this.ended(at);
      left = viewsAfter(left, done);
      at += done;
    }
  }

  writeFrom(views: readonly Uint8Array[], position: number): void {
    const { fd } = this;
    for (let left = views, at = position; left.length > 0; ) {
      const [first] = left;
      const done =
        left.length === 1 && first !== undefined ? writeSync(fd, first, 0, first.length, at) : writevSync(fd, left, at);
      if (done === 0) throw this.full(at);
      left = viewsAfter(left, done);
      at += done;
    }
  }

  flush(): void {
    fdatasyncSync(this.fd);
  }
}
