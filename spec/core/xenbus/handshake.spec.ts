// Long, since the whole life of a device is told in one place: order, closing, restarts, deaths, over the same rig.
import { expect } from 'chai';
import fc from 'fast-check';
import { firstValueFrom, take, toArray } from 'rxjs';
import {
  connection,
  type Device,
  Disconnected,
  devices$,
  type StoreOperations,
  serveDevices,
} from '../../../core/index.js';
import { devicePaths } from '../../../core/toolstack/index.js';
import { latestMap } from '../../../core/xenbus/latest-map.js';
import {
  backendOf,
  type Doubler,
  DoublerBackend,
  DoublerFrontend,
  frontendOf,
  XenbusRig,
} from '../../support/xenbus-rig.js';

const outcome = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);

/** A frontend's and a backend's directory at one moment. */
type Snapshot = Readonly<Record<'frontend' | 'backend', Readonly<Record<string, string>>>>;

const contents = async (store: StoreOperations, path: string): Promise<Record<string, string>> => {
  const found: Record<string, string> = {};
  for (const name of (await store.directory(path)) ?? []) found[name] = (await store.read(`${path}/${name}`)) ?? '';
  return found;
};

const snapshot = (rig: XenbusRig): Promise<Snapshot> =>
  rig.store.transaction(async (store) => ({
    frontend: await contents(store, rig.paths.frontend),
    backend: await contents(store, rig.paths.backend),
  }));

describe('a handshake', () => {
  let rig: XenbusRig;

  const start = async (seed = 1): Promise<void> => {
    rig = await XenbusRig.create({ seed });
  };
  const connected = async (): Promise<Doubler> => {
    rig.serve();
    await rig.attach();
    return connection(rig.guest, DoublerFrontend);
  };

  /** Resolves when somebody has been picked to run so many times. */
  const picked = (picks: number): Promise<void> =>
    new Promise((resolve) => {
      let left = picks;
      rig.machine.onPick(() => {
        if (left-- === 0) resolve();
      });
    });

  beforeEach(() => start());
  afterEach(() => rig[Symbol.asyncDispose]());

  it('goes through the states in the order of xenbus.h, with any seed', async () => {
    for (let seed = 0; seed < 20; seed++) {
      await rig[Symbol.asyncDispose]();
      await start(seed);
      await connected();
      expect(rig.moves(), `seed ${seed}`).to.deep.equal([
        'backend: Initialising → InitWait',
        'guest: Initialising → Initialised',
        'backend: InitWait → Connected',
        'guest: Initialised → Connected',
      ]);
      await rig.detach();
    }
  });

  it('shows each key with the state that it belongs to, never before and never after, at any moment', async () => {
    for (let seed = 0; seed < 20; seed++) {
      await rig[Symbol.asyncDispose]();
      await start(seed);
      const seen: Snapshot[] = [];
      const watching = rig.store
        .watch$('/local/domain')
        .pipe(latestMap(() => snapshot(rig)))
        .subscribe((found) => seen.push(found));
      await connected();
      await rig.idle();
      watching.unsubscribe();
      for (const { frontend, backend } of seen.filter((found) => 'state' in found.frontend)) {
        const shared = Number(frontend.state) >= 3;
        for (const key of ['ring-ref', 'event-channel', 'protocol', 'depth'])
          expect(key in frontend, key).to.equal(shared);
        expect('max-bytes' in backend).to.equal(Number(backend.state) >= 2);
        expect('sectors' in backend).to.equal(Number(backend.state) >= 4);
      }
      const states = new Set(seen.map(({ frontend, backend }) => `${frontend.state} ${backend.state}`));
      expect(states.has('4 4'), `seed ${seed}: ${[...states]}`).to.equal(true);
      expect(seen.at(-1)).to.deep.equal({
        frontend: {
          backend: rig.paths.backend,
          'backend-id': '2',
          state: '4',
          'ring-ref': seen.at(-1)?.frontend['ring-ref'],
          'event-channel': seen.at(-1)?.frontend['event-channel'],
          protocol: 'x86_64-abi',
          depth: '1',
        },
        backend: {
          frontend: rig.paths.frontend,
          'frontend-id': '1',
          online: '1',
          state: '4',
          'max-bytes': '256',
          sectors: '100',
        },
      });
    }
  });

  it('closes by the frontend, in the order of xenbus.h, and gives everything back', async () => {
    const device = await connected();
    expect(await device.double(21)).to.equal(42);
    rig.log.length = 0;
    await device.close();
    expect(rig.moves()).to.deep.equal([
      'guest: Connected → Closing',
      'backend: Connected → Closing',
      'guest: Closing → Closed',
      'backend: Closing → Closed',
    ]);
    await rig.idle();
    rig.expectNothingHeld();
    expect(await rig.states()).to.equal('6 6');
  });

  it('leaves a device that was closed for good alone, also when others of its class come and go', async () => {
    const device = await connected();
    await device.close();
    await rig.machine.toolstack.attach({ ...rig.device, id: 1 });
    await rig.idle();
    expect(await rig.states()).to.equal('6 6');
    expect(await rig.store.read(`/local/domain/${rig.guest.domid}/device/vtest/1/state`)).to.equal('4');
    // Made anew by the toolstack, it is another device.
    await rig.detach();
    await rig.attach();
    await rig.idle();
    expect(await rig.states()).to.equal('4 4');
  });

  it('closes by the toolstack, which takes both directories and its own copy away', async () => {
    await connected();
    rig.log.length = 0;
    expect(await rig.detach()).to.equal(true);
    expect(rig.moves()).to.deep.equal([
      'guest: Connected → Closing',
      'guest: Closing → Closed',
      'backend: Closing → Closed',
    ]);
    await rig.idle();
    for (const path of Object.values(rig.paths)) expect(await rig.store.directory(path)).to.equal(undefined);
    rig.expectNothingHeld();
  });

  it('connects and closes a hundred times, and the ledger and the store are what they were', async function () {
    this.timeout(60_000);
    rig.serve();
    const devices = devices$(rig.guest, DoublerFrontend).subscribe();
    await rig.idle();
    const before = rig.machine.holdings();
    const names = async (): Promise<unknown> => [
      await rig.store.directory(`/local/domain/${rig.guest.domid}`),
      await rig.store.directory(`/local/domain/${rig.backend.domid}`),
      await rig.store.directory('/libxl'),
    ];
    await rig.attach();
    await rig.detach();
    const nodes = await names();
    for (let i = 0; i < 100; i++) {
      await rig.attach();
      await rig.idle();
      expect(await rig.states(), `round ${i}`).to.equal('4 4');
      expect(await rig.detach()).to.equal(true);
    }
    await rig.idle();
    expect(rig.machine.holdings()).to.deep.equal(before);
    expect(await names()).to.deep.equal(nodes);
    devices.unsubscribe();
  });

  describe('whose backend begins anew', () => {
    it('connects again when the backend’s program restarts in a living domain, and rejects what was outstanding', async () => {
      const forgetful = backendOf({
        connect: ({ serve, publish }) => {
          publish({ sectors: 1 });
          serve(() => new Promise(() => {}));
        },
      });
      const first = rig.serve(forgetful);
      await rig.attach();
      const found = firstValueFrom(devices$(rig.guest, DoublerFrontend));
      const held = devices$(rig.guest, DoublerFrontend).subscribe();
      const { connections$ } = await found;
      const both = firstValueFrom(connections$.pipe(take(2), toArray()));
      const early = await firstValueFrom(connections$);
      const lost = outcome(early.double(1));
      await rig.idle();
      first.unsubscribe();
      rig.serve();
      const [one, two] = await both;
      expect(one).to.equal(early);
      expect(await lost).to.be.instanceOf(Disconnected);
      expect(await two?.double(4)).to.equal(8);
      expect(await rig.states()).to.equal('4 4');
      await rig.detach();
      held.unsubscribe();
      await rig.idle();
      rig.expectNothingHeld();
    });

    it('connects again when the toolstack makes both directories anew under a living connection', async () => {
      const device = await connected();
      const lost = outcome(device.double(1));
      const found = await firstValueFrom(devices$(rig.guest, DoublerFrontend));
      await rig.store.rm(rig.paths.trusted);
      await rig.attach();
      expect(await outcome(lost)).to.satisfy((result: unknown) => result === 2 || result instanceof Disconnected);
      await rig.idle();
      expect(await rig.states()).to.equal('4 4');
      const again = await firstValueFrom(found.connections$);
      expect(again).to.not.equal(device);
      expect(await again.double(7)).to.equal(14);
      expect(rig.ledgerOf(rig.guest)).to.include({ grants: 1, ports: 1 });
      await rig.detach();
      await rig.idle();
      rig.expectNothingHeld();
    });

    it('connects again when a directory comes back as soon as it has gone, with any seed', async () => {
      for (let seed = 0; seed < 30; seed++) {
        await rig[Symbol.asyncDispose]();
        await start(seed);
        await connected();
        await rig.store.rm(rig.paths.trusted);
        await rig.store.rm(rig.paths.frontend);
        // As long as a look takes, or a bit less or more.
        for (let i = 0; i < seed % 10; i++) await rig.store.read(rig.paths.frontend);
        await rig.attach();
        await rig.idle();
        expect(await rig.states(), `seed ${seed}`).to.equal('4 4');
      }
    });

    it('connects again whatever state its program restarts in', async function () {
      this.timeout(60_000);
      for (let picks = 0; picks < 170; picks += 2) {
        await rig[Symbol.asyncDispose]();
        await start(picks);
        const first = rig.serve();
        const held = devices$(rig.guest, DoublerFrontend).subscribe();
        const restarting = picked(picks);
        await rig.attach();
        await restarting;
        first.unsubscribe();
        rig.serve();
        await rig.pass(10);
        expect(await rig.states(), `restarted after ${picks} picks`).to.equal('4 4');
        held.unsubscribe();
      }
    });

    it('connects again whatever state the frontend’s program restarts in', async function () {
      this.timeout(60_000);
      for (let picks = 0; picks < 170; picks += 2) {
        await rig[Symbol.asyncDispose]();
        await start(picks);
        rig.serve();
        const first = devices$(rig.guest, DoublerFrontend).subscribe();
        const restarting = picked(picks);
        await rig.attach();
        await restarting;
        first.unsubscribe();
        const second = devices$(rig.guest, DoublerFrontend).subscribe();
        await rig.pass(10);
        expect(await rig.states(), `restarted after ${picks} picks`).to.equal('4 4');
        await rig.detach();
        second.unsubscribe();
        await rig.idle();
        rig.expectNothingHeld();
      }
    });
  });

  describe('whose other end dies', () => {
    it('goes back to Initialising when the backend’s domain is destroyed, and connects when another serves the device', async () => {
      const device = await connected();
      const silent = outcome(device.double(3));
      await rig.machine.toolstack.destroy(rig.backend.domid);
      expect(await silent).to.be.instanceOf(Disconnected);
      expect(await outcome(device.double(3))).to.be.instanceOf(Disconnected);
      await rig.idle();
      expect(await rig.state('frontend')).to.equal('1');
      expect(rig.held()).to.deep.equal([]);

      const other = await rig.machine.guest('other');
      await rig.machine.toolstack.attach({ ...rig.device, backend: other.domid });
      serveDevices(other, DoublerBackend);
      const found = await firstValueFrom(devices$(rig.guest, DoublerFrontend));
      const again = await firstValueFrom(found.connections$);
      expect(found.info.otherend).to.equal(other.domid);
      expect(await again.double(5)).to.equal(10);
      expect(await rig.detach()).to.equal(true);
      await rig.idle();
      rig.expectNothingHeld();
    });

    it('lets go of a guest that is destroyed in the middle of a request', async () => {
      let answer: () => void = () => {};
      const slow = backendOf({
        connect: ({ serve, publish }) => {
          publish({ sectors: 1 });
          serve(
            () =>
              new Promise<void>((resolve) => {
                answer = resolve;
              }),
          );
        },
      });
      rig.serve(slow);
      await rig.attach();
      const device = await connection(rig.guest, DoublerFrontend);
      const lost = outcome(device.double(1));
      await rig.idle();
      const gone = rig.machine.toolstack.destroy(rig.guest.domid);
      await rig.idle();
      // The ring stays mapped while the driver owes an answer.
      expect(rig.ledgerOf(rig.backend).mappings).to.equal(1);
      answer();
      await gone;
      expect(await lost).to.be.instanceOf(Error);
      for (const path of Object.values(rig.paths)) expect(await rig.store.directory(path)).to.equal(undefined);
      expect(await rig.store.directory(`/local/domain/${rig.guest.domid}`)).to.equal(undefined);
      rig.expectNothingHeld();
    });

    it('lets go when the frontend’s directory vanishes', async () => {
      await connected();
      await rig.store.rm(rig.paths.frontend);
      await rig.idle();
      expect(await rig.state('backend')).to.equal('6');
      rig.expectNothingHeld();
      expect(await rig.detach()).to.equal(true);
    });

    it('lets go when both directories vanish at once', async () => {
      await connected();
      await rig.store.transaction(async (store) => {
        await store.rm(rig.paths.frontend);
        await store.rm(rig.paths.backend);
      });
      await rig.idle();
      rig.expectNothingHeld();
    });

    it('lets go when both domains die at once', async () => {
      const device = await connected();
      const lost = outcome(device.double(1));
      const { toolstack } = rig.machine;
      await Promise.all([toolstack.destroy(rig.guest.domid), toolstack.destroy(rig.backend.domid)]);
      expect(await lost).to.be.instanceOf(Error);
      expect(rig.machine.holdings()).to.deep.equal([]);
      expect(await rig.store.directory('/libxl')).to.deep.equal([]);
      expect(await rig.store.directory('/local/domain')).to.deep.equal(['0']);
    });

    it('survives the death of either domain at any moment of the handshake', async function () {
      this.timeout(60_000);
      for (const victim of ['guest', 'backend'] as const) {
        for (let picks = 0; picks < 170; picks += 5) {
          await rig[Symbol.asyncDispose]();
          await start(picks);
          rig.serve();
          const survivor = victim === 'guest' ? rig.backend : rig.guest;
          const held = devices$(rig.guest, DoublerFrontend).subscribe();
          const killing = picked(picks);
          await rig.attach();
          await killing;
          await rig.machine.toolstack.destroy(rig[victim].domid);
          await rig.pass(10);
          expect(rig.held(), `${victim} died after ${picks} picks`).to.deep.equal([]);
          expect(rig.ledgerOf(survivor)).to.include({ ports: 0, mappings: 0 });
          expect(rig.lines('error'), `${victim} died after ${picks} picks`).to.deep.equal([]);
          held.unsubscribe();
        }
      }
    });
  });

  describe('with several devices', () => {
    it('ends one without the others', async () => {
      rig.serve();
      for (const id of [0, 1, 2]) await rig.machine.toolstack.attach({ ...rig.device, id });
      const devices = await Promise.all([0, 1, 2].map((id) => connection(rig.guest, DoublerFrontend, id)));
      await devices[1]?.close();
      expect(await devices[0]?.double(1)).to.equal(2);
      expect(await devices[2]?.double(2)).to.equal(4);
      for (const id of [0, 1, 2]) expect(await rig.machine.toolstack.detach({ ...rig.device, id })).to.equal(true);
      await rig.idle();
      rig.expectNothingHeld();
    });

    it('is one handshake for a device, however many ask for it', async () => {
      rig.serve();
      await rig.attach();
      const one = connection(rig.guest, DoublerFrontend, 0);
      const two = connection(rig.guest, DoublerFrontend);
      expect(await one).to.equal(await two);
      expect(rig.moves()).to.have.length(4);
    });
  });

  it('refuses a second driver class for the same directory', async () => {
    rig.serve();
    expect(() => rig.serve(backendOf({ connect: () => {} }))).to.throw(TypeError, 'has a driver already');
    await rig.attach();
    await connection(rig.guest, DoublerFrontend);
    const other = frontendOf({ connect: () => 1 });
    expect(await outcome(connection(rig.guest, other))).to.be.instanceOf(TypeError);
    expect(await rig.states()).to.equal('4 4');
  });

  it('stands connected after any sequence of restarts, closes, detachments and deaths, and in the end nothing is left', async function () {
    this.timeout(120_000);
    const mishap = fc.record({
      what: fc.constantFrom(
        'frontend restarts',
        'backend restarts',
        'backend dies',
        'device closes',
        'device is detached',
      ),
      /** How much later it comes, in readings of the store. */
      after: fc.nat(40),
    });
    const live = async (
      seed: number,
      mishaps: readonly { readonly what: string; readonly after: number }[],
    ): Promise<void> => {
      await rig[Symbol.asyncDispose]();
      await start(seed);
      const { machine } = rig;
      let back = rig.backend;
      let device: Device<Doubler> | undefined;
      const config = () => ({ ...rig.device, backend: back.domid });
      const drive = () => devices$(rig.guest, DoublerFrontend).subscribe((found) => (device = found));
      const anew = async (): Promise<void> => {
        await machine.toolstack.detach(config());
        await machine.toolstack.attach(config());
      };
      let serving = serveDevices(back, DoublerBackend);
      let driving = drive();
      const befall: Readonly<Record<string, () => unknown>> = {
        'frontend restarts': () => {
          driving.unsubscribe();
          driving = drive();
        },
        'backend restarts': () => {
          serving.unsubscribe();
          serving = serveDevices(back, DoublerBackend);
        },
        'backend dies': async () => {
          await machine.toolstack.destroy(back.domid);
          back = await machine.guest(`${back.name}-`);
          serving = serveDevices(back, DoublerBackend);
          await machine.toolstack.attach(config());
        },
        'device closes': async () => {
          void device?.close();
          await rig.pass(1);
          await anew();
        },
        'device is detached': anew,
      };
      await machine.toolstack.attach(config());
      for (const { what, after } of mishaps) {
        for (let i = 0; i < after; i++) await rig.store.read('/tool');
        await befall[what]?.();
      }
      await rig.pass(30_000);
      const { frontend, backend } = devicePaths(config());
      expect(`${await rig.store.read(`${frontend}/state`)} ${await rig.store.read(`${backend}/state`)}`).to.equal(
        '4 4',
      );
      expect(await (await connection(rig.guest, DoublerFrontend)).double(21)).to.equal(42);
      await machine.toolstack.detach(config());
      driving.unsubscribe();
      await rig.idle();
      rig.expectNothingHeld();
    };
    await fc.assert(fc.asyncProperty(fc.nat(), fc.array(mishap, { maxLength: 10 }), live), { numRuns: 30 });
  });
});
