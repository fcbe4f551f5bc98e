import { createHash } from 'node:crypto';
import { ContainerModule, inject, injectable } from 'inversify';
import { filter, firstValueFrom, lastValueFrom, mergeMap, switchMap } from 'rxjs';
import {
  asSector,
  Clock,
  CommandLine,
  type Device,
  Domain,
  devices$,
  Program,
  Reporter,
  SECTOR_SIZE,
  type Sector,
  XenError,
  XenStore,
} from 'splitring';
import { BlkFrontend, type BlockDevice } from 'splitring/drivers/blk';
import type { DiskReport } from './reports.js';
import { type Part, scrambled } from './scratch.js';

export { BlkFrontend };

/** What the guest is started with. */
export type GuestCommandLine = {
  /** Where it writes; undefined: nowhere. */
  readonly scratch: Part | undefined;
};

/** Bytes of one read or write, each of which takes several requests, and how many are under way at once. */
const CHUNK = 128 * 1024;
const IN_FLIGHT = 8;
/** How often progress is reported over a whole disk. */
const STEPS = 200;

/** Reads the whole of its disk, writes to the scratch area and puts it back, and stays until the disk is taken away. */
@injectable()
class DiskUser extends Program {
  readonly #domain: Domain;
  readonly #store: XenStore;
  readonly #reporter: Reporter;
  readonly #clock: Clock;
  readonly #scratch: Part | undefined;

  constructor(
    @inject(Domain) domain: Domain,
    @inject(XenStore) store: XenStore,
    @inject(Reporter) reporter: Reporter,
    @inject(Clock) clock: Clock,
    @inject(CommandLine) commandLine: CommandLine,
  ) {
    super();
    this.#domain = domain;
    this.#store = store;
    this.#reporter = reporter;
    this.#clock = clock;
    this.#scratch = (commandLine.value as GuestCommandLine).scratch;
  }

  run(): Promise<void> {
    return firstValueFrom(devices$(this.#domain, BlkFrontend).pipe(mergeMap((device) => this.#use(device))));
  }

  async #use({ connections$ }: Device<BlockDevice>): Promise<void> {
    const disk = await firstValueFrom(connections$);
    this.#report({ event: 'connected', bytes: disk.sectors * SECTOR_SIZE, sectorSize: disk.sectorSize });
    await this.#readAll(disk);
    if (this.#scratch === undefined) await this.#tryToWrite(disk);
    else await this.#write(disk, this.#scratch);
    this.#report({ event: 'done' });
    await lastValueFrom(connections$, { defaultValue: undefined });
  }

  async #readAll(disk: BlockDevice): Promise<void> {
    const bytes = disk.sectors * SECTOR_SIZE;
    const hash = createHash('sha256');
    const start = this.#clock.now();
    let done = 0;
    let told = 0;
    for await (const chunk of chunksOf(disk, { offset: 0, length: bytes })) {
      hash.update(chunk);
      done += chunk.length;
      if (done - told < bytes / STEPS) continue;
      told = done;
      this.#report({ event: 'reading', bytes: done });
    }
    this.#report({ event: 'read', sum: hash.digest('hex'), ms: this.#clock.now() - start });
  }

  /** Writes to the scratch area what was not there, reads it back, and puts back what was there. */
  async #write(disk: BlockDevice, scratch: Part): Promise<void> {
    const former = await readPart(disk, scratch);
    const bytes = scrambled(former);
    await writePart(disk, scratch, bytes);
    await disk.flush();
    this.#report({ event: 'written', sum: sumOf(bytes), readBack: sumOf(await readPart(disk, scratch)) });
    // Meanwhile the host looks at the file.
    await firstValueFrom(
      this.#store.watch$('data/seen').pipe(
        switchMap(() => this.#store.read('data/seen')),
        filter((seen) => seen !== undefined),
      ),
    );
    await writePart(disk, scratch, former);
    await disk.flush();
    this.#report({ event: 'restored', same: sumOf(await readPart(disk, scratch)) === sumOf(former) });
  }

  async #tryToWrite(disk: BlockDevice): Promise<void> {
    try {
      await disk.write(asSector(0), new Uint8Array(disk.sectorSize));
      this.#report({ event: 'refused', error: undefined });
    } catch (error) {
      if (!(error instanceof XenError)) throw error;
      this.#report({ event: 'refused', error: error.code });
    }
  }

  #report(report: DiskReport): void {
    this.#reporter.report(report);
  }
}

const sectorAt = (offset: number): Sector => asSector(offset / SECTOR_SIZE);

const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A part of a disk in order, while the chunks that follow are under way; each chunk's bytes are good until the next is asked for. */
async function* chunksOf(disk: BlockDevice, { offset, length }: Part): AsyncGenerator<Uint8Array> {
  const buffers: readonly Uint8Array[] = Array.from(
    { length: IN_FLIGHT },
    () => new Uint8Array(Math.min(CHUNK, length)),
  );
  const underWay: { readonly chunk: Uint8Array; readonly done: Promise<void> }[] = [];
  for (let sent = 0; sent < length || underWay.length > 0; ) {
    while (sent < length && underWay.length < IN_FLIGHT) {
      const buffer = buffers[(sent / CHUNK) % IN_FLIGHT] as Uint8Array;
      const chunk = buffer.subarray(0, length - sent);
      const done = disk.read(sectorAt(offset + sent), chunk);
      done.catch(() => {}); // whoever waits for one before it is told first
      underWay.push({ chunk, done });
      sent += chunk.length;
    }
    const next = underWay.shift();
    if (next === undefined) break;
    await next.done;
    yield next.chunk;
  }
}

const readPart = async (disk: BlockDevice, part: Part): Promise<Uint8Array> => {
  const bytes = new Uint8Array(part.length);
  let at = 0;
  for await (const chunk of chunksOf(disk, part)) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
};

const writePart = async (disk: BlockDevice, { offset, length }: Part, bytes: Uint8Array): Promise<void> => {
  const writes: Promise<void>[] = [];
  for (let at = 0; at < length; at += CHUNK) {
    writes.push(disk.write(sectorAt(offset + at), bytes.subarray(at, at + CHUNK)));
  }
  await Promise.all(writes);
};

export default new ContainerModule(({ bind }) => {
  bind(Program).to(DiskUser);
});
