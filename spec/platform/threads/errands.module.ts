import { webcrypto } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { threadId } from 'node:worker_threads';
import { ContainerModule, inject, injectable } from 'inversify';
import { concatMap, distinctUntilChanged, firstValueFrom, timer } from 'rxjs';
import {
  CommandLine,
  connection,
  Domain,
  EventChannels,
  type Plain,
  Program,
  Reporter,
  XenStore,
} from '../../../core/index.js';
import rngBindings, { RngBackend } from '../../../examples/rng/backend.js';
import { RngFrontend } from '../../../examples/rng/frontend.js';

export { RngBackend, RngFrontend };

/** Serves vrng devices, and does what its node `data/errand` is set to; reports what came of it. */
@injectable()
class Errands extends Program {
  readonly #domain: Domain;
  readonly #store: XenStore;
  readonly #reporter: Reporter;

  constructor(@inject(Domain) domain: Domain, @inject(XenStore) store: XenStore, @inject(Reporter) reporter: Reporter) {
    super();
    this.#domain = domain;
    this.#store = store;
    this.#reporter = reporter;
  }

  run(): Promise<void> {
    const { value: cmdline } = this.#domain.get(CommandLine);
    if (typeof cmdline === 'string') setImmediate(() => void this.#do(cmdline));
    return new Promise((resolve, reject) => {
      this.#domain.subscription.add(
        this.#store
          .watch$('data/errand')
          .pipe(
            concatMap(() => this.#store.read('data/errand')),
            distinctUntilChanged(),
          )
          .subscribe({
            next: (errand) => {
              if (errand?.startsWith('end ')) resolve();
              else if (errand !== undefined) void this.#do(errand).then((value) => this.#reporter.report(value));
            },
            error: reject,
          }),
      );
      this.#reporter.report('ready');
    });
  }

  async #do(errand: string): Promise<Plain> {
    const [what, argument = ''] = errand.split(' ');
    switch (what) {
      case 'thread':
        return threadId;
      case 'file':
        return (await readFile(argument)).length;
      case 'digest':
        return (await webcrypto.subtle.digest('SHA-256', new Uint8Array(1e7))).byteLength;
      case 'pipe': {
        const socket = connect(argument);
        this.#reporter.report('connected');
        return new Promise<Plain>((resolve) => {
          socket.once('data', (data) => {
            socket.destroy();
            resolve(data.length);
          });
        });
      }
      case 'loopback': {
        const channels = this.#domain.get(EventChannels);
        const channel = channels.allocUnbound(this.#domain.domid);
        const own = channels.bindInterdomain(this.#domain.domid, channel.port);
        channel.subscribe();
        setTimeout(() => own.notify(), Number(argument));
        return channel.port;
      }
      case 'timer':
        await firstValueFrom(timer(Number(argument)));
        return 'rang';
      case 'random':
        return (await (await connection(this.#domain, RngFrontend, argument)).read(16)).length;
      case 'throw':
        setTimeout(() => {
          throw new Error('thrown in a timer');
        }, 0);
        return 'about to throw';
      case 'exit':
        process.exit(Number(argument));
        break;
      case 'spin':
        this.#reporter.report('spinning');
        for (;;);
    }
    return `no such errand: ${errand}`;
  }
}

export default new ContainerModule((options) => {
  rngBindings.load(options);
  options.bind(Program).to(Errands);
});
