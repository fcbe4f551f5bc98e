import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { XenError } from '../../../../core/index.js';
import { DiskError } from '../../../../drivers/blk/disk.js';
import { RawDisk } from '../../../../drivers/blk/host/raw-disk.js';
import type { RawDiskOptions } from '../../../../drivers/blk/host/raw-image.js';

const bytes = Uint8Array.from({ length: 16384 }, (_, i) => (i * 7 + (i >> 8)) & 255);

describe('RawDisk', () => {
  let folder: string;
  let image: string;
  let opened: RawDisk[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'raw-disk-'));
    image = join(folder, 'a.img');
    writeFileSync(image, bytes);
    opened = [];
  });

  afterEach(() => {
    for (const disk of opened) disk.close();
    rmSync(folder, { recursive: true });
  });

  const open = (options: RawDiskOptions): RawDisk => {
    const disk = new RawDisk(image, options);
    opened.push(disk);
    return disk;
  };

  it('is as large as its file, in units of 512 bytes whatever its sectors', () => {
    expect(open({ mode: 'r' })).to.include({ sectors: 32, sectorSize: 512, readOnly: true });
    expect(open({ mode: 'w', sectorSize: 4096 })).to.include({ sectors: 32, sectorSize: 4096, readOnly: false });
  });

  it('fills views one after another, those over shared memory too', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(8192));
    const views = [shared.subarray(4096, 8192), new Uint8Array(512), shared.subarray(512, 1024)];
    open({ mode: 'r' }).readInto(views, 1024);
    expect(Buffer.concat(views)).to.deep.equal(Buffer.from(bytes.subarray(1024, 1024 + 5120)));
  });

  it('writes views one after another, and nothing beside them', () => {
    const views = [new Uint8Array(512).fill(1), new Uint8Array(new SharedArrayBuffer(1024)).fill(2)];
    const disk = open({ mode: 'w' });
    disk.writeFrom(views, 512);
    disk.flush();
    const expected = Buffer.from(bytes);
    expected.fill(1, 512, 1024).fill(2, 1024, 2048);
    expect(readFileSync(image)).to.deep.equal(expected);
  });

  it('takes more views than one call of the system does (IOV_MAX)', () => {
    truncateSync(image, 3000 * 512);
    const disk = open({ mode: 'w' });
    const views = Array.from({ length: 2500 }, (_, i) => new Uint8Array(512).fill(i & 255));
    disk.writeFrom(views, 512);
    const back = views.map(() => new Uint8Array(512));
    disk.readInto(back, 512);
    expect(Buffer.concat(back)).to.deep.equal(Buffer.concat(views));
  });

  it('goes on where a call stopped in the middle of a view', () => {
    // The file ends where a call has to stop; what came before the end is read all the same.
    truncateSync(image, 16384);
    const disk = open({ mode: 'r' });
    truncateSync(image, 16384 - 300);
    const views = [new Uint8Array(100), new Uint8Array(200), new Uint8Array(212)];
    expect(() => disk.readInto(views, 16384 - 512)).to.throw(XenError, 'EIO');
    expect(Buffer.concat(views).subarray(0, 212)).to.deep.equal(Buffer.from(bytes.subarray(16384 - 512, 16384 - 300)));
  });

  it('says with EIO that its file has become shorter', () => {
    const disk = open({ mode: 'r' });
    truncateSync(image, 4096);
    expect(() => disk.readInto([new Uint8Array(512)], 8192))
      .to.throw(XenError, 'a.img ends at byte 8192')
      .with.property('code', 'EIO');
  });

  it('cannot be written when it is open read-only', () => {
    const disk = open({ mode: 'r' });
    expect(() => disk.writeFrom([new Uint8Array(512)], 0)).to.throw();
    disk.flush();
    expect(readFileSync(image)).to.deep.equal(Buffer.from(bytes));
  });

  it('is closed once, and then moves nothing more', () => {
    const disk = open({ mode: 'w' });
    disk.close();
    disk.close();
    expect(() => disk.readInto([new Uint8Array(512)], 0)).to.throw(XenError, 'was closed');
    expect(() => disk.writeFrom([new Uint8Array(512)], 0)).to.throw(XenError, 'was closed');
    expect(() => disk.flush()).to.throw(XenError, 'was closed');
  });

  it('has no sectors of other sizes', () => {
    for (const sectorSize of [0, 256, 1024, 8192]) {
      expect(() => open({ mode: 'r', sectorSize })).to.throw(RangeError, `512 or 4096 bytes, not ${sectorSize}`);
    }
  });

  describe('says in one line which file it cannot serve, why, and what to do:', () => {
    const refused = (path: string, options: RawDiskOptions, ...words: readonly string[]): void => {
      let found: unknown;
      try {
        new RawDisk(path, options);
      } catch (error) {
        found = error;
      }
      expect(found).to.be.instanceOf(DiskError);
      const { message } = found as DiskError;
      expect(message.startsWith(`${path}: `), message).to.equal(true);
      expect(message).not.to.include('\n');
      for (const word of words) expect(message).to.include(word);
    };

    it('one that is missing', () => {
      refused(join(folder, 'b.img'), { mode: 'r' }, 'no such file', 'check the path', 'truncate');
      refused(join(image, 'b.img'), { mode: 'r' }, 'no such file', 'check the path');
    });

    it('one that is empty', () => {
      truncateSync(image, 0);
      refused(image, { mode: 'r' }, 'is empty', 'truncate -s 16M');
    });

    it('one that is no whole number of sectors', () => {
      truncateSync(image, 1000);
      refused(image, { mode: 'r' }, '1000 bytes', '512-byte sectors', 'truncate -s 1024');
      truncateSync(image, 4608);
      refused(image, { mode: 'w', sectorSize: 4096 }, '4608 bytes', '4096-byte sectors', 'truncate -s 8192');
    });

    it('a folder', () => {
      refused(folder, { mode: 'r' }, 'is a directory', 'name');
      refused(folder, { mode: 'w' }, 'is a directory', 'name');
    });

    it('a pipe, which it does not wait for (needs mkfifo)', function () {
      const pipe = join(folder, 'pipe');
      const { status } = spawnSync('mkfifo', [pipe]);
      if (status !== 0) this.skip();
      refused(pipe, { mode: 'r' }, 'is a pipe', 'raw image');
    });

    it('a device', () => refused('/dev/null', { mode: 'r' }, 'is a character device', 'raw image'));

    it('a link that leads in a circle', () => {
      symlinkSync('circle', join(folder, 'circle'));
      refused(join(folder, 'circle'), { mode: 'r' }, 'symbolic link', 'name the image');
    });

    it('one that may not be read, or only read', function () {
      if (process.getuid?.() === 0) this.skip();
      chmodSync(image, 0o400);
      refused(image, { mode: 'w' }, 'cannot be opened for writing (EACCES)', 'read-only');
      chmodSync(image, 0);
      refused(image, { mode: 'r' }, 'cannot be read (EACCES)', 'make it readable');
    });

    it('one that runs as a program, for writing', function () {
      if (process.platform !== 'linux') this.skip();
      refused(process.execPath, { mode: 'w' }, 'cannot be opened for writing (ETXTBSY)', 'read-only');
    });
  });

  it('holds what a plain array of bytes would, after any reads and writes', () => {
    const size = 64 * 512;
    truncateSync(image, 0);
    truncateSync(image, size);
    const disk = open({ mode: 'w' });
    const model = new Uint8Array(size);
    const lengths = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.boolean(), fc.nat(43), lengths, fc.nat(255), (write, sector, sizes, value) => {
        const views = sizes.map((n, i) => new Uint8Array(n * 512).fill(value + i));
        const all = Buffer.concat(views);
        if (write) {
          disk.writeFrom(views, sector * 512);
          model.set(all, sector * 512);
        } else {
          disk.readInto(views, sector * 512);
          expect(Buffer.concat(views)).to.deep.equal(
            Buffer.from(model.subarray(sector * 512, sector * 512 + all.length)),
          );
        }
      }),
    );
    expect(readFileSync(image)).to.deep.equal(Buffer.from(model));
  });
});
