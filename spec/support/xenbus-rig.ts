// A machine with a guest and a backend's domain, both run by the test's own code, and drivers made of what a test says.
import { expect } from 'chai';
import { firstValueFrom } from 'rxjs';
import {
  type Abi,
  type Backend,
  type BackendClass,
  type BackLink,
  backend,
  Clock,
  type Domain,
  type Frontend,
  type FrontendClass,
  type FrontLink,
  frontend,
  grantRef,
  i16,
  oneOf,
  protocol,
  ring,
  serveDevices,
  struct,
  u16,
  uint,
  XenStore,
} from '../../core/index.js';
import { type DomainLedger, devicePaths, type MachineLogEntry } from '../../core/toolstack/index.js';
import { LocalMachine } from '../../platform/local/index.js';

/** A device class with a key of every writer and phase. */
export const vtest = protocol({
  device: 'vtest',
  ring: ring({
    request: struct('vtest_request', { id: u16, value: u16, gref: grantRef }),
    response: struct('vtest_response', { id: u16, status: i16 }),
    id: 'id',
  }),
  keys: {
    toolstack: { backend: { mode: oneOf(['r', 'w'], { default: 'w' }) }, frontend: { label: uint({ default: 7 }) } },
    backend: { InitWait: { 'max-bytes': uint({ default: 256, max: 4096 }) }, Connected: { sectors: uint() } },
    frontend: { Initialised: { depth: uint({ default: 1, max: 8 }) } },
  },
  refuse: (rsp, errno) => {
    rsp.status = -errno;
  },
});

export type Vtest = typeof vtest;

/** A frontend whose device is what `connect` returns. */
export const frontendOf = <T>(driver: Frontend<Vtest, T>): FrontendClass<Vtest, T> => {
  class TestFrontend {
    connect(link: FrontLink<Vtest>): T {
      return driver.connect(link);
    }
  }
  if (driver.negotiate !== undefined) Object.assign(TestFrontend.prototype, { negotiate: driver.negotiate });
  frontend(vtest)(TestFrontend);
  return TestFrontend;
};

export const backendOf = (driver: Backend<Vtest>): BackendClass<Vtest> => {
  class TestBackend {
    connect(link: BackLink<Vtest>): unknown {
      return driver.connect(link);
    }
  }
  if (driver.offer !== undefined) Object.assign(TestBackend.prototype, { offer: driver.offer });
  backend(vtest)(TestBackend);
  return TestBackend;
};

/** Sends values, and gets them back doubled. */
export interface Doubler {
  double(value: number): Promise<number>;
  close(): Promise<void>;
}

export const DoublerFrontend = frontendOf<Doubler>({
  connect: ({ ring: requests, close }) => ({
    double: (value) =>
      requests.request(
        (req) => {
          req.value = value;
        },
        (rsp) => rsp.status,
      ),
    close,
  }),
});

export const DoublerBackend = backendOf({
  connect: ({ serve, publish }) => {
    publish({ sectors: 100 });
    serve((req, rsp) => {
      rsp.status = 2 * req.value;
    });
  },
});

export interface RigOptions {
  readonly seed?: number;
  readonly abi?: Abi;
}

export class XenbusRig implements AsyncDisposable {
  readonly machine: LocalMachine;
  readonly guest: Domain;
  readonly backend: Domain;
  readonly log: MachineLogEntry[] = [];

  private constructor(machine: LocalMachine, guest: Domain, back: Domain) {
    this.machine = machine;
    this.guest = guest;
    this.backend = back;
    machine.log$.subscribe((entry) => this.log.push(entry));
  }

  static async create({ seed = 1, abi }: RigOptions = {}): Promise<XenbusRig> {
    const machine = await LocalMachine.create({ seed, clock: 'simulated', memory: 16 << 20 });
    const guest = await machine.guest('guest', abi);
    return new XenbusRig(machine, guest, await machine.guest('backend'));
  }

  get device() {
    return { device: 'vtest', id: 0, frontend: this.guest.domid, backend: this.backend.domid } as const;
  }

  get paths() {
    return devicePaths(this.device);
  }

  /** dom0's store. */
  get store(): XenStore {
    return this.machine.dom0.get(XenStore);
  }

  attach(backendKeys: Readonly<Record<string, string>> = {}): Promise<void> {
    return this.machine.toolstack.attach({ ...this.device, keys: { backend: backendKeys } });
  }

  detach(): Promise<boolean> {
    return this.machine.toolstack.detach(this.device);
  }

  serve(driver: BackendClass = DoublerBackend): ReturnType<typeof serveDevices> {
    return serveDevices(this.backend, driver);
  }

  /** Resolves when nobody can do anything before the next timer. */
  idle(): Promise<void> {
    return this.machine.idle();
  }

  /** Lets simulated time pass. */
  async pass(ms: number): Promise<void> {
    await firstValueFrom(this.machine.dom0.get(Clock).timer$(ms));
    await this.idle();
  }

  state(end: 'frontend' | 'backend'): Promise<string | undefined> {
    return this.store.read(`${this.paths[end]}/state`);
  }

  /** Both states, frontend's first: `4 4`. */
  async states(): Promise<string> {
    return `${await this.state('frontend')} ${await this.state('backend')}`;
  }

  /** Lines of the log, with the name of the domain before them. */
  lines(level?: MachineLogEntry['level']): readonly string[] {
    return this.log
      .filter((entry) => level === undefined || entry.level === level)
      .map(({ domain, text }) => `${domain}: ${text}`);
  }

  /** What the two ends moved to, in order. */
  moves(): readonly string[] {
    return this.lines('info').filter((line) => / (→|again)/.test(line));
  }

  ledgerOf(domain: Domain): DomainLedger {
    const ledger = this.machine.holdings().find(({ domid }) => domid === domain.domid);
    if (ledger === undefined) throw new Error(`domain ${domain.name} is gone`);
    return ledger;
  }

  /** What both domains hold, but for their watches. */
  held(): readonly string[] {
    return this.machine.holdings().flatMap(({ name, ports, grants, mapped, mappings, pages, transactions }) =>
      Object.entries({ ports, grants, mapped, mappings, pages, transactions })
        .filter(([, count]) => count !== 0)
        .map(([what, count]) => `${name}: ${count} ${what}`),
    );
  }

  expectNothingHeld(): void {
    expect(this.held()).to.deep.equal([]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine[Symbol.asyncDispose]();
  }
}
