import { json } from './small-project.js';

/** The driver of these projects: a device that answers with as many bytes as it is asked for. */
const protocol = `
import { i16, grantRef, protocol, ring, struct, u16 } from 'splitring';

export const bytes = protocol({
  device: 'bytes',
  ring: ring({
    request: struct('bytes_request', { id: u16, length: u16, gref: grantRef }),
    response: struct('bytes_response', { id: u16, status: i16 }),
    id: 'id',
  }),
  keys: {},
  refuse: (rsp, errno) => {
    rsp.status = -errno;
  },
});
`;

const frontend = `
import { type FrontLink, frontend, XenError } from 'splitring';
import { bytes } from './protocol.js';

@frontend(bytes)
export class BytesFrontend {
  connect({ ring, grants }: FrontLink<typeof bytes>) {
    return async (length: number): Promise<Uint8Array> => {
      using page = grants.share();
      const got = await ring.request(
        (req) => req.set({ gref: page.ref, length }),
        (rsp) => rsp.status,
      );
      if (got < 0) throw new XenError(-got, 'bytes');
      return page.bytes.slice(0, got);
    };
  }
}
`;

/** The backend's module and the guest's, over inversify and rxjs as they are imported. */
const backend = (inversify: string): string => `
import { ContainerModule, inject } from '${inversify}';
import { type BackLink, backend } from 'splitring';
import { bytes } from './protocol.js';

abstract class Filling {
  abstract readonly value: number;
}

@backend(bytes)
export class BytesBackend {
  constructor(@inject(Filling) private readonly filling: Filling) {}

  connect({ serve, grants }: BackLink<typeof bytes>): void {
    serve((req, rsp) => {
      rsp.status = grants.copyTo(req.gref, new Uint8Array(req.length).fill(this.filling.value));
    });
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Filling).toConstantValue({ value: 42 });
});
`;

const guest = (inversify: string, rxjs: string): string => `
import { from, ignoreElements, lastValueFrom, merge, mergeMap, switchMap, take } from '${rxjs}';
import { ContainerModule, inject, injectable } from '${inversify}';
import { Domain, devices$, Program, Reporter, XenStore } from 'splitring';
import { BytesFrontend } from './frontend.js';

@injectable()
class User extends Program {
  constructor(
    @inject(Domain) readonly domain: Domain,
    @inject(XenStore) readonly store: XenStore,
    @inject(Reporter) readonly reporter: Reporter,
  ) {
    super();
  }

  async use(device: (length: number) => Promise<Uint8Array>): Promise<void> {
    this.reporter.report((await device(32)).filter((byte) => byte === 42).length);
  }
  run(): Promise<void> {
    const named$ = this.store.watch$('name').pipe(take(1), ignoreElements());
    return lastValueFrom(
      merge(named$, devices$(this.domain, BytesFrontend)).pipe(
        switchMap(({ connections$ }) => from(connections$)),
        mergeMap((device) => this.use(device)),
      ),
    );
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Program).to(User);
});
`;

const main = `
import { filter, firstValueFrom, map } from 'rxjs';
import { LocalMachine } from 'splitring/platform/local';
import { ThreadsMachine } from 'splitring/platform/threads';
import type { Machine } from 'splitring/toolstack';

const [, , platform, driver] = process.argv;
const machine: Machine = platform === 'threads' ? await ThreadsMachine.create() : await LocalMachine.create({ seed: 1 });
const module = (name: string): URL => new URL(driver + '/' + name + '.js', import.meta.url);
const backend = await machine.boot({ name: 'backend', module: module('backend') });
const guest = await machine.boot({ name: 'guest', module: module('guest') });
const reported = firstValueFrom(machine.reports$.pipe(filter(({ domid }) => domid === guest), map(({ value }) => value)));
await machine.toolstack.attach({ device: 'bytes', id: 0, frontend: guest, backend });
const count = await reported;
await machine.toolstack.detach({ device: 'bytes', id: 0, frontend: guest });
machine.quiesce();
await machine.idle();
const left = (await machine.ledger()).flatMap(({ domid, name, ...held }) => Object.entries(held).filter(([, n]) => n !== 0));
console.log(count + ' bytes, ' + (left.length === 0 ? 'nothing' : JSON.stringify(left)) + ' left');
await machine[Symbol.asyncDispose]();
`;

/** A project beside the package, file by file: two drivers and their guests, which differ by where they take inversify and rxjs from. */
export const packageUsers: Readonly<Record<string, string>> = {
  'package.json': json({ name: 'user', version: '1.0.0', type: 'module' }),
  'tsconfig.json': json({
    compilerOptions: {
      target: 'ES2022',
      module: 'nodenext',
      lib: ['ES2023', 'ESNext.Disposable'],
      types: ['node'],
      strict: true,
      experimentalDecorators: true,
      outDir: 'built',
    },
  }),
  'main.ts': main,
  'from-splitring/protocol.ts': protocol,
  'from-splitring/frontend.ts': frontend,
  'from-splitring/backend.ts': backend('splitring'),
  'from-splitring/guest.ts': guest('splitring', 'splitring/rxjs'),
  'own-imports/protocol.ts': protocol,
  'own-imports/frontend.ts': frontend,
  'own-imports/backend.ts': backend('inversify'),
  'own-imports/guest.ts': guest('inversify', 'rxjs'),
};
