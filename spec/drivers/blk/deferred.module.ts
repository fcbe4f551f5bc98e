import { ContainerModule, inject, injectable } from 'inversify';
import { asSector, Domain, Reporter, XenError } from '../../../core/index.js';
import { type Disk, Disks } from '../../../drivers/blk/disk.js';
import { obey } from '../../support/orders.js';

export { BlkBackend } from '../../../drivers/blk/backend.js';

/** An operation that a disk was asked for, and that a spec settles when it wants. */
export type Operation = {
  readonly number: number;
  readonly what: 'read' | 'write' | 'flush';
  /** In units of 512 bytes, and how many; for a flush 0. */
  readonly sector: number;
  readonly sectors: number;
};

/** What a domain of deferred disks reports. */
export type DeferredReport = Operation | 'closed';

interface Pending {
  readonly views: readonly Uint8Array[];
  readonly succeed: () => void;
  readonly fail: (error: Error) => void;
}

/** Opens disks that do nothing by themselves: they report what they are asked for, and settle it, or touch its first view, by order. */
@injectable()
class DeferredDisks extends Disks {
  readonly #reporter: Reporter;
  readonly #pending: Pending[] = [];

  constructor(@inject(Domain) domain: Domain, @inject(Reporter) reporter: Reporter) {
    super();
    this.#reporter = reporter;
    obey(domain, {
      succeed: (number: number) => this.#of(number).succeed(),
      fail: (number: number, text: string) => this.#of(number).fail(new XenError('EIO', text)),
      fill: (number: number, value: number) => void this.#viewOf(number).fill(value),
      bytes: (number: number) => this.#viewOf(number).slice(),
      place: (number: number) => this.#viewOf(number).byteOffset,
    });
  }

  open(): Disk {
    return {
      sectors: asSector(4096),
      sectorSize: 512,
      readOnly: false,
      readInto: (views, position) => this.#begin('read', views, position),
      writeFrom: (views, position) => this.#begin('write', views, position),
      flush: () => this.#begin('flush', [], 0),
      close: () => this.#report('closed'),
    };
  }

  #begin(what: Operation['what'], views: readonly Uint8Array[], position: number): Promise<void> {
    return new Promise((succeed, fail) => {
      const sectors = views.reduce((sum, { length }) => sum + length, 0) / 512;
      const number = this.#pending.push({ views, succeed, fail }) - 1;
      this.#report({ number, what, sector: position / 512, sectors });
    });
  }

  #of(number: number): Pending {
    const pending = this.#pending[number];
    if (pending === undefined) throw new Error(`there was no operation ${number}`);
    return pending;
  }

  #viewOf(number: number): Uint8Array {
    const [view] = this.#of(number).views;
    if (view === undefined) throw new Error(`operation ${number} moves nothing`);
    return view;
  }

  #report(report: DeferredReport): void {
    this.#reporter.report(report);
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Disks).to(DeferredDisks).inSingletonScope();
});
