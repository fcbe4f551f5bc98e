import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { XenError } from '../../../../core/index.js';
import { AsyncRawDisk } from '../../../../drivers/blk/host/async-raw-disk.js';
import { RawDisk } from '../../../../drivers/blk/host/raw-disk.js';
import { RawDisks } from '../../../../drivers/blk/host/raw-disks.js';

const bytes = Uint8Array.from({ length: 65536 }, (_, i) => (i * 7 + (i >> 8)) & 255);

describe('AsyncRawDisk', () => {
  let folder: string;
  let image: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'async-raw-disk-'));
    image = join(folder, 'disk.img');
    writeFileSync(image, bytes);
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  const views = (...lengths: readonly number[]): readonly Uint8Array[] =>
    lengths.map((length) => new Uint8Array(new SharedArrayBuffer(length)));

  for (const lengths of [[512], [4096, 512], [1024, 1024, 2048, 4096]]) {
    it(`reads and writes views of ${lengths.join(', ')} bytes`, async () => {
      const disk = new AsyncRawDisk(image, { mode: 'w' });
      const into = views(...lengths);
      await disk.readInto(into, 1536);
      const length = lengths.reduce((sum, one) => sum + one, 0);
      expect(Buffer.concat(into)).to.deep.equal(Buffer.from(bytes.subarray(1536, 1536 + length)));
      for (const [i, view] of into.entries()) view.fill(i + 1);
      await disk.writeFrom(into, 8192);
      await disk.flush();
      const found = readFileSync(image);
      expect(found.subarray(8192, 8192 + length)).to.deep.equal(Buffer.concat(into));
      expect(found.subarray(0, 8192)).to.deep.equal(Buffer.from(bytes.subarray(0, 8192)));
      disk.close();
      disk.close();
    });
  }

  const failure = (promise: Promise<void>): Promise<unknown> => promise.catch((error: unknown) => error);

  it('rejects with EIO where the file has become shorter', async () => {
    const disk = new AsyncRawDisk(image, { mode: 'r' });
    truncateSync(image, 6144);
    expect(await failure(disk.readInto(views(4096), 4096)))
      .to.be.instanceOf(XenError)
      .with.property('message')
      .that.includes('ends at byte 6144');
    disk.close();
  });

  it('rejects what the system refuses, and what comes when it is closed', async () => {
    const disk = new AsyncRawDisk(image, { mode: 'r' });
    expect(await failure(disk.writeFrom(views(512), 0))).to.have.property('code', 'EBADF');
    disk.close();
    expect(await failure(disk.readInto(views(512), 0))).to.have.property('code', 'ENODEV');
    expect(await failure(disk.writeFrom(views(512), 0))).to.have.property('code', 'ENODEV');
    expect(await failure(disk.flush())).to.have.property('code', 'ENODEV');
  });

  it("is what a block domain's disks are if its command line says so", () => {
    const open = (value?: object): unknown => {
      const disk = new RawDisks(value as never).open({ params: image, mode: 'r' });
      disk.close();
      return disk.constructor;
    };
    expect(open()).to.equal(RawDisk);
    expect(open({ value: {} })).to.equal(RawDisk);
    expect(open({ value: { io: 'sync' } })).to.equal(RawDisk);
    expect(open({ value: { io: 'async', sectorSize: 4096 } })).to.equal(AsyncRawDisk);
    expect(() => open({ value: { io: 'fast' } })).to.throw(TypeError, "'sync' or 'async'");
  });
});
