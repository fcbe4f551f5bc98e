import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { assertNothingLeft, platforms } from '../../contract/index.js';
import { connection, type Domain, EventChannels, GrantTable, serveDevices, XenStore } from '../../core/index.js';
import type { Machine } from '../../core/toolstack/index.js';
import { backendOf, DoublerBackend, DoublerFrontend, frontendOf } from '../support/xenbus-rig.js';

const outcome = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);

/** Runs the suites that must fail in a mocha of their own; what it printed. */
const run = (
  environment: Readonly<Record<string, string>>,
): Promise<{ readonly code: number; readonly said: string }> =>
  new Promise((resolve) => {
    const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js');
    const fixture = fileURLToPath(new URL('leaking.fixture.js', import.meta.url));
    execFile(
      process.execPath,
      [mocha, '--no-config', '--reporter', 'spec', fixture],
      { env: { ...process.env, ...environment } },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : 1, said: stdout + stderr }),
    );
  });

for (const platform of platforms) {
  describe(`assertNothingLeft on ${platform.name}`, () => {
    let machine: Machine;
    let guest: Domain;
    let backend: Domain;
    beforeEach(async () => {
      machine = await platform.create({ seed: 1 });
      guest = await machine.guest('guest');
      backend = await machine.guest('backend');
    });
    afterEach(() => machine[Symbol.asyncDispose]());

    const attach = (device = 'vtest'): Promise<void> =>
      machine.toolstack.attach({ device, id: 0, frontend: guest.domid, backend: backend.domid });
    const left = (): Promise<unknown> => outcome(assertNothingLeft(machine));

    it('is content when every device gave everything back', async () => {
      serveDevices(backend, DoublerBackend);
      await attach();
      await connection(guest, DoublerFrontend);
      expect(await left()).to.equal(undefined);
    });

    const leaks: Readonly<Record<string, { readonly leak: () => unknown; readonly says: RegExp }>> = {
      'a page': { leak: () => guest.get(GrantTable).alloc(2), says: /guest still holds 2 pages/ },
      'a grant': {
        leak: () => guest.get(GrantTable).share(backend.domid),
        says: /guest still holds 1 grants; guest still holds 1 pages/,
      },
      'a channel': {
        leak: () => backend.get(EventChannels).allocUnbound(guest.domid),
        says: /backend still holds 1 ports/,
      },
      'a mapping': {
        leak: () => {
          const { ref } = guest.get(GrantTable).share(backend.domid);
          return backend.get(GrantTable).map(guest.domid, [ref]);
        },
        says: /guest still holds 1 mapped; .*backend still holds 1 mappings/,
      },
      'a watch': { leak: () => guest.get(XenStore).watch$('data').subscribe(), says: /guest still holds 1 watches/ },
      'a transaction': {
        leak: () =>
          void guest.get(XenStore).transaction(async (store) => {
            await store.read('name');
            await new Promise(() => {});
          }),
        says: /guest still holds 1 transactions/,
      },
    };
    for (const [what, { leak, says }] of Object.entries(leaks)) {
      it(`names the domain that keeps ${what}`, async () => {
        leak();
        await machine.idle();
        expect(await left())
          .to.be.instanceOf(Error)
          .with.property('message')
          .that.matches(says);
      });
    }

    it('finds what a driver leaks, although its device has closed', async () => {
      const leaking = frontendOf({
        connect: ({ subscription }) => {
          // Held by nothing that ends with the link.
          guest.get(GrantTable).share(backend.domid);
          return subscription;
        },
      });
      serveDevices(backend, DoublerBackend);
      await attach();
      await connection(guest, leaking);
      expect(await left())
        .to.be.instanceOf(Error)
        .with.property('message')
        .that.matches(/^with all devices detached, guest still holds 1 grants/);
    });

    it('finds what only the end of the domain would have given back', async () => {
      serveDevices(backend, DoublerBackend);
      await attach();
      await connection(guest, DoublerFrontend);
      const page = guest.get(GrantTable).alloc();
      guest.subscription.add(() => page[Symbol.dispose]());
      expect(await left())
        .to.be.instanceOf(Error)
        .with.property('message')
        .that.matches(/guest still holds 1 pages/);
    });

    const clocked = platform.name === 'local' ? it : it.skip;
    clocked(
      'names the device whose backend does not close (on local alone: elsewhere xl’s 10 s, twice, are real)',
      async () => {
        serveDevices(backend, backendOf({ connect: () => {} }));
        await attach('unserved');
        expect(await left())
          .to.be.instanceOf(Error)
          .with.property('message', 'unserved 0 of guest did not close in time');
      },
    );
  });
}

describe('onEveryPlatform', () => {
  it('makes a test fail that leaks, and says which domain, what, and with which seed', async () => {
    const { code, said } = await run({ LEAK: 'a page', SPLITRING_SEED: '77' });
    expect(code).to.equal(1);
    expect(said).to.match(/with all devices detached, guest still holds 1 pages/);
    expect(said).to.match(/SPLITRING_SEED=77\n.*Initialising/);
    expect(said).to.match(/device\/vrng\/0: Initialised → Connected/);
    // On each platform, and the tests after it have run.
    expect(said).to.match(new RegExp(`${platforms.length} passing.*\n *${platforms.length} failing`));
  }).timeout(60_000);

  it('makes a test fail whose backend leaks, in whichever thread it runs', async () => {
    const { code, said } = await run({ LEAK: 'a page of the backend', SPLITRING_SEED: '' });
    expect(code).to.equal(1);
    const found = said.match(/with all devices detached, backend-\d+ still holds 1 pages/g);
    expect(found).to.have.length(platforms.length);
  }).timeout(60_000);

  it('makes a test fail that leaks a channel', async () => {
    const { code, said } = await run({ LEAK: 'a channel', SPLITRING_SEED: '' });
    expect(code).to.equal(1);
    expect(said).to.match(/with all devices detached, guest still holds 1 ports/);
  }).timeout(60_000);

  it('repeats the seed of the environment, and prints the seed and the log of a test that fails', async () => {
    expect((await run({ SPLITRING_SEED: '1234' })).code).to.equal(0);
    const { code, said } = await run({ SPLITRING_SEED: '1235' });
    expect(code).to.equal(1);
    expect(said).to.match(/SPLITRING_SEED=1235\n.*Initialising/);
  }).timeout(60_000);

  it('refuses a seed that is none', async () => {
    const { code, said } = await run({ SPLITRING_SEED: 'soon' });
    expect(code).to.equal(1);
    expect(said).to.include('SPLITRING_SEED is a whole number below 2^32, not "soon"');
  }).timeout(60_000);
});
