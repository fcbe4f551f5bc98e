import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { assertNothingLeft } from '../../contract/index.js';
import { connection, EventChannels, GrantTable, XenStore } from '../../core/index.js';
import { backendOf, DoublerBackend, DoublerFrontend, frontendOf, XenbusRig } from '../support/xenbus-rig.js';

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

describe('assertNothingLeft', () => {
  let rig: XenbusRig;
  beforeEach(async () => {
    rig = await XenbusRig.create();
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  const left = (): Promise<unknown> => outcome(assertNothingLeft(rig.machine));

  it('is content when every device gave everything back', async () => {
    rig.serve();
    await rig.attach();
    await connection(rig.guest, DoublerFrontend);
    expect(await left()).to.equal(undefined);
  });

  const leaks: Readonly<Record<string, { readonly leak: () => unknown; readonly says: RegExp }>> = {
    'a page': { leak: () => rig.guest.get(GrantTable).alloc(2), says: /guest still holds 2 pages/ },
    'a grant': {
      leak: () => rig.guest.get(GrantTable).share(rig.backend.domid),
      says: /guest still holds 1 grants; guest still holds 1 pages/,
    },
    'a channel': {
      leak: () => rig.backend.get(EventChannels).allocUnbound(rig.guest.domid),
      says: /backend still holds 1 ports/,
    },
    'a mapping': {
      leak: () => {
        const { ref } = rig.guest.get(GrantTable).share(rig.backend.domid);
        return rig.backend.get(GrantTable).map(rig.guest.domid, [ref]);
      },
      says: /guest still holds 1 mapped; .*backend still holds 1 mappings/,
    },
    'a watch': { leak: () => rig.guest.get(XenStore).watch$('data').subscribe(), says: /guest still holds 1 watches/ },
    'a transaction': {
      leak: () =>
        void rig.guest.get(XenStore).transaction(async (store) => {
          await store.read('name');
          await new Promise(() => {});
        }),
      says: /guest still holds 1 transactions/,
    },
  };
  for (const [what, { leak, says }] of Object.entries(leaks)) {
    it(`names the domain that keeps ${what}`, async () => {
      leak();
      await rig.idle();
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
        rig.guest.get(GrantTable).share(rig.backend.domid);
        return subscription;
      },
    });
    rig.serve();
    await rig.attach();
    await connection(rig.guest, leaking);
    expect(await left())
      .to.be.instanceOf(Error)
      .with.property('message')
      .that.matches(/^with all devices detached, guest still holds 1 grants/);
  });

  it('finds what only the end of the domain would have given back', async () => {
    rig.serve(DoublerBackend);
    await rig.attach();
    await connection(rig.guest, DoublerFrontend);
    const page = rig.guest.get(GrantTable).alloc();
    rig.guest.subscription.add(() => page[Symbol.dispose]());
    expect(await left())
      .to.be.instanceOf(Error)
      .with.property('message')
      .that.matches(/guest still holds 1 pages/);
  });

  it('names the device whose backend does not close', async () => {
    rig.serve(backendOf({ connect: () => {} }));
    await rig.machine.toolstack.attach({ ...rig.device, device: 'unserved' });
    expect(await left())
      .to.be.instanceOf(Error)
      .with.property('message', 'unserved 0 of guest did not close in time');
  });
});

describe('onEveryPlatform', () => {
  it('makes a test fail that leaks, and says which domain, what, and with which seed', async () => {
    const { code, said } = await run({ LEAK: 'a page', SPLITRING_SEED: '77' });
    expect(code).to.equal(1);
    expect(said).to.match(/with all devices detached, guest still holds 1 pages/);
    expect(said).to.match(/SPLITRING_SEED=77\n.*Initialising/);
    expect(said).to.match(/device\/vrng\/0: Initialised → Connected/);
    // The tests after it have run.
    expect(said).to.match(/1 passing/);
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
