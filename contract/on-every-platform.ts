import { type AnyProtocol, connection, type Domain, type FrontendClass, type Plain } from '../core/index.js';
import type { Machine } from '../core/toolstack/index.js';
import { assertNothingLeft } from './assert-nothing-left.js';
import { type PlatformName, platforms } from './platforms.js';

/** How a device under test is set up. */
export interface ConnectOptions {
  /** Values that the backend offers instead of what its driver says. */
  readonly own?: Readonly<Record<string, Plain>>;
  /** Keys of the toolstack's, as text. */
  readonly keys?: {
    readonly frontend?: Readonly<Record<string, string>>;
    readonly backend?: Readonly<Record<string, string>>;
  };
  /** The device's number, 0 without it. */
  readonly id?: string | number;
  /** What the backend's domain is started with. */
  readonly cmdline?: Plain;
}

/** What a suite may look into besides its device. */
export interface Rig {
  readonly platform: PlatformName;
  /** The seed of this test. */
  readonly seed: number;
  readonly machine: Machine;
  /** The domain of the frontends: the test's own thread. */
  readonly guest: Domain;
}

/** Attaches a device to the suite's guest and resolves to what the frontend's `connect` made of it. */
export type Connect<T> = (options?: ConnectOptions) => Promise<T>;

/**
 * Runs a suite once for each platform, each test on a machine of its own: the frontend in the test's thread, the backend in a domain
 * that boots from its module, which has a thread of its own on `threads`. There the two share no objects: what a backend is to know it
 * is told by `cmdline`, what it has seen it tells by its Reporter. A seed decides whether the guest is a 64-bit or a 32-bit one, and on
 * `local` the order of events. After each test the devices are detached, and nothing may be left: no grant, mapping, channel, page,
 * watch or transaction. A test that fails tells its seed and what the domains logged; `SPLITRING_SEED` repeats it.
 */
export const onEveryPlatform = <P extends AnyProtocol, T>(
  protocol: P,
  frontend: FrontendClass<P, T>,
  backendModule: string | URL,
  suite: (connect: Connect<T>, rig: () => Rig) => void,
): void => {
  for (const platform of platforms) {
    describe(`${protocol.device} on ${platform.name}`, function () {
      let rig: Rig | undefined;
      let log: string[] = [];
      const current = (): Rig => {
        if (rig === undefined) throw new Error('there is a machine while a test runs, not before');
        return rig;
      };
      beforeEach(async () => {
        const seed = seedOf(process.env.SPLITRING_SEED);
        const machine = await platform.create({ seed });
        log = [];
        machine.log$.subscribe((entry) => log.push(`${entry.domain} ${entry.source}: ${entry.text}`));
        const abi = seed % 2 === 0 ? 'x86_64-abi' : 'x86_32-abi';
        rig = { platform: platform.name, seed, machine, guest: await machine.guest('guest', abi) };
      });
      afterEach(async function () {
        await rig?.machine[Symbol.asyncDispose]();
        if (rig === undefined || this.currentTest?.state !== 'failed') return;
        process.stdout.write(`${[`        SPLITRING_SEED=${rig.seed}`, ...log].join('\n        ')}\n`);
      });

      let count = 0;
      const connect: Connect<T> = async (options = {}) => {
        const { machine, guest } = current();
        const backend = await machine.boot({
          name: `backend-${count++}`,
          module: backendModule,
          ...(options.own === undefined ? {} : { offer: options.own }),
          ...(options.cmdline === undefined ? {} : { cmdline: options.cmdline }),
        });
        await machine.toolstack.attach({
          device: protocol.device,
          id: options.id ?? 0,
          frontend: guest.domid,
          backend,
          ...(options.keys === undefined ? {} : { keys: options.keys }),
        });
        return connection(guest, frontend, options.id ?? 0);
      };
      suite(connect, current);
      // Part of the test, not of a hook: the tests after one that leaks still run.
      this.eachTest((test) => {
        const { fn } = test;
        if (fn === undefined) return;
        test.fn = async function (this: Mocha.Context): Promise<void> {
          await (fn as Mocha.AsyncFunc).call(this);
          await assertNothingLeft(current().machine);
        };
      });
    });
  }
};

/** The seed that the environment asks for, or any. @throws RangeError for a text that is none */
const seedOf = (text: string | undefined): number => {
  if (text === undefined || text === '') return Math.floor(Math.random() * 2 ** 32);
  const seed = Number(text);
  if (!/^[0-9]{1,10}$/.test(text) || seed >= 2 ** 32) {
    throw new RangeError(`SPLITRING_SEED is a whole number below 2^32, not ${JSON.stringify(text)}`);
  }
  return seed;
};
