import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Domid, XenStore } from 'splitring';
import { RawDisk, vbdKeys, vdevOf } from 'splitring/drivers/blk';
import { defineMachine, expectNothingLeft, type Output, oneOf, size, toldKeys } from 'splitring/machine';
import type { Machine } from 'splitring/toolstack';
import type { GuestCommandLine } from './guest.js';
import { readPart, restorePart, sumOf, sumOfFile, temporaryCopy } from './image.js';
import { DiskReports } from './reports.js';
import { type Part, scratchOf } from './scratch.js';

/** The disk that the guest is given. */
interface Image {
  readonly path: string;
  /** What the output calls it. */
  readonly name: string;
  readonly bytes: number;
  readonly sectorSize: number;
  /** Where the guest writes; undefined on a disk that is read-only. */
  readonly scratch: Part | undefined;
}

const backendModule = new URL('../../drivers/blk/module.js', import.meta.url);
const guestModule = new URL('guest.js', import.meta.url);

export const machine = defineMachine(
  {
    summary: 'a guest reads and writes a disk image through the block driver, and all sums are compared',
    options: {
      disk: {
        value: 'FILE',
        description: 'a raw image, opened read-only (default: a temporary copy of a small one, which is written to)',
        parse: (path) => {
          if (path === '') throw new RangeError('it takes the path of an image');
          return path;
        },
      },
      write: { description: 'let the guest write to the end of FILE too; what was there is put back' },
      'sector-size': {
        value: 'BYTES',
        description: "the disk's sectors, 512 or 4096",
        parse: oneOf(512, 4096),
        default: 512,
      },
    },
  },
  {
    check({ disk, write, 'sector-size': sectorSize }) {
      if (disk !== undefined) new RawDisk(disk, { mode: write ? 'w' : 'r', sectorSize }).close();
    },
    async run({ machine, options, out, cleanup }) {
      const { disk, write, 'sector-size': sectorSize } = options;
      const path = disk === undefined ? temporaryCopy(cleanup) : resolve(disk);
      const before = statSync(path);
      const scratch = disk === undefined || write ? scratchOf(before.size, sectorSize) : undefined;
      const name = disk ?? 'a copy of examples/disk/disk.img';
      if (disk !== undefined && scratch !== undefined) {
        const former = readPart(path, scratch);
        cleanup.add(() => {
          if (restorePart(path, scratch, former)) out.line(`put back what the guest had written to ${name}`);
        });
      }
      out.row('disk', `${name}, ${size(before.size)}, ${scratch === undefined ? 'read-only' : 'writable'}`);
      const sum = await useDisk(machine, { path, name, bytes: before.size, sectorSize, scratch }, out);

      const hashing = out.progress('hash', before.size);
      const sumOnHost = await sumOfFile(path, hashing);
      hashing.end();
      out.row('guest', `sha256 ${sum}`);
      out.row('file', `sha256 ${sumOnHost}`);
      if (sum !== sumOnHost) {
        throw new Error(
          `${name} holds other bytes than the guest read: if nobody else writes to it, the driver is at fault`,
        );
      }
      if (scratch === undefined && statSync(path).mtimeMs !== before.mtimeMs) {
        throw new Error(`${name} was written to, though it was opened read-only: who else has it open?`);
      }
      return true;
    },
  },
);

/** Boots both domains, gives the disk to the guest, and takes it away when the guest is done. Resolves to what the guest read. */
const useDisk = async (machine: Machine, image: Image, out: Output): Promise<string> => {
  const { path, bytes, sectorSize, scratch } = image;
  const reports = new DiskReports(machine);
  const backend = await machine.boot({ name: 'backend', module: backendModule, cmdline: { sectorSize } });
  const cmdline: GuestCommandLine = { scratch };
  const guest = await machine.boot({ name: 'guest', module: guestModule, cmdline });
  const keys = vbdKeys({ vdev: 'xvda', params: path, mode: scratch === undefined ? 'r' : 'w' });
  const device = { device: 'vbd', id: vdevOf('xvda'), frontend: guest, backend, keys };
  await machine.toolstack.attach(device);

  const connected = await reports.next('connected');
  const reading = out.progress('read', bytes);
  const told = await toldKeys(machine, device);
  out.row('guest', told.frontend);
  out.row('backend', told.backend);
  if (connected.bytes !== bytes || connected.sectorSize !== sectorSize) {
    throw new Error(
      `the guest sees ${connected.bytes} bytes in sectors of ${connected.sectorSize}, not ${bytes} in sectors of ${sectorSize}`,
    );
  }
  const { sum, ms } = await reports.next('read', (report) => {
    if (report.event === 'reading') reading.update(report.bytes);
  });
  reading.end(ms);
  if (scratch === undefined) await expectRefusal(reports, out);
  else await followWrites(machine, guest, { ...image, scratch }, reports, out);
  await reports.next('done');

  const ended = machine.shutdownOf(guest);
  const closed = await machine.toolstack.detach(device);
  if (!closed) throw new Error('the backend did not close the disk in time: its last state is in the lines above');
  await ended;
  await expectNothingLeft(machine, out);
  return sum;
};

/** Looks at the file while the guest's bytes are in it, then lets the guest put back what was there. */
const followWrites = async (
  machine: Machine,
  guest: Domid,
  { path, name, scratch }: Image & { readonly scratch: Part },
  reports: DiskReports,
  out: Output,
): Promise<void> => {
  const where = `${size(scratch.length)} at byte ${scratch.offset}`;
  const { sum, readBack } = await reports.next('written');
  if (readBack !== sum) throw new Error(`the guest read back other bytes than it wrote: ${where}`);
  if (sumOf(readPart(path, scratch)) !== sum)
    throw new Error(`${name} does not hold what the guest wrote and flushed: ${where}`);
  await machine.dom0.get(XenStore).write(`/local/domain/${guest}/data/seen`, '1');
  const { same } = await reports.next('restored');
  if (!same) throw new Error(`the guest could not put back what was there: ${where}`);
  out.row('write', `${where}: written, flushed, read back, found in the file, put back`);
};

const expectRefusal = async (reports: DiskReports, out: Output): Promise<void> => {
  const { error } = await reports.next('refused');
  if (error === undefined) throw new Error('a write to the read-only disk was not refused');
  out.row('write', `refused with ${error}`);
};
