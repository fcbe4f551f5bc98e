// What a guest runs: reads the whole of its disk, writes to the end of it, reads that back, and says the sums.
import { createHash } from 'node:crypto';
import { firstValueFrom, Subscription } from 'rxjs';
import { asSector, type Device, devices$ } from '../../core/index.js';
import { BlkFrontend, type BlockDevice } from '../../drivers/blk/index.js';
import { XenDomain } from '../../platform/xen/index.js';

const CHUNK = 128 * 1024;

const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A part of the disk, several chunks at a time. */
const readPart = async (disk: BlockDevice, offset: number, length: number): Promise<Uint8Array> => {
  const bytes = new Uint8Array(length);
  const parts = Array.from({ length: Math.ceil(length / CHUNK) }, (_, i) => i * CHUNK);
  await Promise.all(
    parts.map((at) => disk.read(asSector((offset + at) / 512), bytes.subarray(at, Math.min(at + CHUNK, length)))),
  );
  return bytes;
};

const xen = await XenDomain.open({ log: ({ level, source, text }) => console.error(`${level} ${source} ${text}`) });
const idle = xen.holdings;
// A device is given up when nobody is subscribed for it.
const stay = new Subscription();
const device = await new Promise<Device<BlockDevice>>((resolve) => {
  stay.add(devices$(xen.domain, BlkFrontend).subscribe(resolve));
});
const disk = await firstValueFrom(device.connections$);
const bytes = disk.sectors * 512;
const before = sumOf(await readPart(disk, 0, bytes));
const scratch = new Uint8Array(bytes / 4).map((_, i) => (i * 7 + (i >> 8)) & 255);
for (let at = 0; at < scratch.length; at += CHUNK) {
  await disk.write(asSector((bytes - scratch.length + at) / 512), scratch.subarray(at, at + CHUNK));
}
await disk.flush();
const written = sumOf(scratch);
const readBack = sumOf(await readPart(disk, bytes - scratch.length, scratch.length));
const after = sumOf(await readPart(disk, 0, bytes));
await device.close();
stay.unsubscribe();
const left = Object.entries(xen.holdings).filter(([what, count]) => count > idle[what as keyof typeof idle]);
xen[Symbol.dispose]();
console.log(JSON.stringify({ bytes, before, written, readBack, after, left: Object.fromEntries(left) }));
process.exit(0);
