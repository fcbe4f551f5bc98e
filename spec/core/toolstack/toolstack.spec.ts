import { expect } from 'chai';
import { connection, type Permission, type StoreOperations, XenError, XenStore } from '../../../core/index.js';
import { DESTROY_TIMEOUT, devicePaths } from '../../../core/toolstack/index.js';
import { latestMap } from '../../../core/xenbus/latest-map.js';
import { PersonaBack, PersonaFront } from '../../support/personas.js';
import { backendOf, DoublerFrontend, XenbusRig } from '../../support/xenbus-rig.js';

const outcome = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);
const show = (permissions: readonly Permission[] | undefined): string =>
  (permissions ?? []).map(({ domid, access }) => `${access}${domid}`).join(' ');

/** Every node below a path, with its value and permissions. */
const tree = async (store: StoreOperations, path: string): Promise<Record<string, string>> => {
  const found: Record<string, string> = {};
  const walk = async (at: string): Promise<void> => {
    const value = await store.read(at);
    if (value === undefined) return;
    found[at.slice(path.length)] = `${value} (${show(await store.getPermissions(at))})`;
    for (const name of (await store.directory(at)) ?? []) await walk(`${at}/${name}`);
  };
  await walk(path);
  return found;
};

describe('the toolstack', () => {
  let rig: XenbusRig;
  beforeEach(async () => {
    rig = await XenbusRig.create();
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  describe('makes a domain', () => {
    it('with the directories and permissions of libxl (libxl_create.c libxl__domain_make)', async () => {
      expect(await tree(rig.store, '/local/domain/1')).to.deep.equal({
        '': ' (n0 r1)',
        '/name': 'guest (n0 r1)',
        '/domid': '1 (n0 r1)',
        '/cpu': ' (n0 r1)',
        '/memory': ' (n0 r1)',
        '/device': ' (n0 r1)',
        '/device/suspend': ' (n0 r1)',
        '/device/suspend/event-channel': ' (n1)',
        '/control': ' (n0 r1)',
        '/control/platform-feature-multiprocessor-suspend': '1 (n0 r1)',
        '/control/platform-feature-xs_reset_watches': '1 (n0 r1)',
        '/control/shutdown': ' (n1)',
        '/control/feature-poweroff': ' (n1)',
        '/control/feature-reboot': ' (n1)',
        '/control/feature-suspend': ' (n1)',
        '/control/sysrq': ' (n1)',
        '/data': ' (n1)',
        '/drivers': ' (n1)',
        '/feature': ' (n1)',
        '/attr': ' (n1)',
        '/error': ' (n1)',
      });
      expect(await tree(rig.store, '/libxl/1')).to.deep.equal({ '': ' (n0)', '/device': ' (n0)' });
    });

    it('whose name no other has, also when two are made at the same time', async () => {
      const { toolstack } = rig.machine;
      expect(await outcome(toolstack.create({ name: 'guest' })))
        .to.be.instanceOf(XenError)
        .with.property('code', 'EEXIST');
      const twins = await Promise.all([
        outcome(toolstack.create({ name: 'twin' })),
        outcome(toolstack.create({ name: 'twin' })),
      ]);
      const [refused, ...more] = twins.filter((made) => made instanceof Error);
      expect(more).to.deep.equal([]);
      expect(refused).to.have.property('code', 'EEXIST');
      expect((await toolstack.domains()).map(({ name }) => name)).to.deep.equal(['guest', 'backend', 'twin']);
      // The one that was too late has left no domain either.
      expect(rig.machine.holdings()).to.have.length(3);
    });

    for (const name of ['', 'a b', 'a/b', 'a\n', '\t']) {
      it(`but none called ${JSON.stringify(name)}`, async () => {
        expect(await outcome(rig.machine.toolstack.create({ name }))).to.be.instanceOf(RangeError);
        expect(await rig.machine.toolstack.domains()).to.have.length(2);
      });
    }

    it('whose module does not load: the error names it and the reason, and the domain is gone', async () => {
      for (const [module, reason] of [
        ['file:///nowhere/at-all.js', 'Cannot find module'],
        [import.meta.resolve('../../support/not-a-domain.js'), 'it is no domain'],
        [import.meta.resolve('../../support/throws.module.js'), 'thrown while loading'],
        [import.meta.resolve('../../support/unbound.module.js'), 'No bindings found'],
      ] as const) {
        const error = await outcome(rig.machine.boot({ name: 'broken', module }));
        expect(error).to.be.instanceOf(Error).with.property('message').that.includes(module);
        expect(String(error)).to.include(reason);
        expect(await rig.machine.toolstack.domains()).to.have.length(2);
        expect(rig.machine.holdings()).to.have.length(2);
      }
    });
  });

  describe('makes a device', () => {
    it('with the keys and permissions of libxl, and its own copy (libxl__device_generic_add)', async () => {
      await rig.machine.toolstack.attach({
        ...rig.device,
        keys: { frontend: { 'virtual-device': '51712' }, backend: { params: '/a disk', mode: 'w' } },
      });
      expect(await tree(rig.store, rig.paths.frontend)).to.deep.equal({
        '': ' (n1 r2)',
        '/virtual-device': '51712 (n1 r2)',
        '/backend': `${rig.paths.backend} (n1 r2)`,
        '/backend-id': '2 (n1 r2)',
        '/state': '1 (n1 r2)',
      });
      const backend = { '/params': '/a disk', '/mode': 'w', '/frontend-id': '1', '/online': '1', '/state': '1' };
      const withPermissions = (keys: Readonly<Record<string, string>>, permissions: string): Record<string, string> =>
        Object.fromEntries(Object.entries(keys).map(([key, text]) => [key, `${text} (${permissions})`]));
      expect(await tree(rig.store, rig.paths.backend)).to.deep.equal({
        '': ' (n2 r1)',
        '/frontend': `${rig.paths.frontend} (n2 r1)`,
        ...withPermissions(backend, 'n2 r1'),
      });
      expect(await tree(rig.store, rig.paths.trusted)).to.deep.equal({
        '': ' (n0)',
        '/frontend': `${rig.paths.frontend} (n0)`,
        '/backend': `${rig.paths.backend} (n0)`,
        ...withPermissions(backend, 'n0'),
      });
      // What lies between is the toolstack's, and the backend's domain may look for its devices.
      expect(show(await rig.store.getPermissions('/local/domain/2/backend/vtest/1'))).to.equal('n0 r2');
      expect(await rig.backend.get(XenStore).directory('backend/vtest')).to.deep.equal(['1']);
      expect(await outcome(rig.guest.get(XenStore).read(rig.paths.trusted))).to.have.property('code', 'EACCES');
    });

    it('all at once: nobody ever sees half of it', async () => {
      for (let seed = 0; seed < 10; seed++) {
        await rig[Symbol.asyncDispose]();
        rig = await XenbusRig.create({ seed });
        const seen = new Set<string>();
        const look = (store: StoreOperations) =>
          Promise.all(Object.values(rig.paths).map(async (path) => ((await store.directory(path)) ?? []).length));
        const watching = rig.store
          .watch$('/')
          .pipe(latestMap(() => rig.store.transaction(look)))
          .subscribe((counts) => seen.add(counts.join(' ')));
        await rig.attach({ mode: 'w' });
        await rig.idle();
        watching.unsubscribe();
        expect([...seen].sort().join(', '), `seed ${seed}`).to.match(/^(0 0 0, )?3 5 6$/);
      }
    });

    it('whose own keys no caller overrides', async () => {
      await rig.machine.toolstack.attach({
        ...rig.device,
        keys: { frontend: { state: '4', backend: '/elsewhere' }, backend: { online: '0' } },
      });
      expect(await rig.states()).to.equal('1 1');
      expect(await rig.store.read(`${rig.paths.frontend}/backend`)).to.equal(rig.paths.backend);
      expect(await rig.store.read(`${rig.paths.backend}/online`)).to.equal('1');
    });

    it('but not a second time, nor for a domain that is not there, nor under a name that is no directory’s', async () => {
      const { toolstack } = rig.machine;
      await rig.attach();
      expect(await outcome(rig.attach()))
        .to.be.instanceOf(XenError)
        .with.property('code', 'EEXIST');
      const nobody = { ...rig.device, id: 1, backend: 77 as typeof rig.device.backend };
      expect(await outcome(toolstack.attach(nobody)))
        .to.be.instanceOf(XenError)
        .with.property('code', 'ENOENT');
      for (const wrong of [{ device: 'v/test' }, { id: '../0' }, { id: '' }]) {
        expect(await outcome(toolstack.attach({ ...rig.device, ...wrong }))).to.be.instanceOf(RangeError);
      }
      expect(await toolstack.devices(rig.guest.domid)).to.deep.equal([
        { device: 'vtest', id: '0', backend: rig.paths.backend },
      ]);
    });
  });

  describe('takes a device away', () => {
    it('by its own copy, whatever the guest wrote into its directory (XSA-175, XSA-178)', async () => {
      const { toolstack } = rig.machine;
      await rig.attach();
      await toolstack.attach({ ...rig.device, id: 1 });
      const other = devicePaths({ ...rig.device, id: 1 });
      const guest = rig.guest.get(XenStore);
      await guest.write(`${rig.paths.frontend}/backend`, other.backend);
      await guest.write(`${rig.paths.frontend}/backend-id`, '0');
      rig.serve();
      await rig.idle();
      expect(await rig.detach()).to.equal(true);
      expect(await rig.store.directory(rig.paths.backend)).to.equal(undefined);
      expect(await rig.store.read(`${other.backend}/state`)).to.equal('2');
    });

    it('by Closing and online 0, in one write of both, and leaves the state of a backend that is Closed', async () => {
      const back = new PersonaBack(rig);
      await rig.attach();
      await back.becomes('Closed');
      const detached = rig.detach();
      expect(await detached).to.equal(true);

      await rig.attach();
      await back.becomes('Connected');
      const again = rig.detach();
      await rig.idle();
      expect(await rig.store.read(`${rig.paths.backend}/state`)).to.equal('5');
      expect(await rig.store.read(`${rig.paths.backend}/online`)).to.equal('0');
      await back.becomes('Closed');
      expect(await again).to.equal(true);
    });

    it('and leaves no empty directory behind, but those of the domain itself', async () => {
      const before = [await tree(rig.store, '/local/domain/1'), await tree(rig.store, '/libxl')];
      rig.serve();
      await rig.attach();
      await rig.detach();
      expect([await tree(rig.store, '/local/domain/1'), await tree(rig.store, '/libxl')]).to.deep.equal(before);
      expect(await rig.store.directory('/local/domain/2/backend/vtest')).to.equal(undefined);
    });

    it('by force when the backend does not close: first the frontend’s directory, ten seconds later the rest', async () => {
      await rig.attach();
      const detached = rig.detach();
      await rig.pass(DESTROY_TIMEOUT - 1);
      expect(await rig.store.read(`${rig.paths.frontend}/state`)).to.equal('1');
      await rig.pass(1);
      expect(await rig.store.directory(rig.paths.frontend)).to.equal(undefined);
      expect(await rig.store.read(`${rig.paths.backend}/state`)).to.equal('5');
      expect(await detached).to.equal(false);
      for (const path of Object.values(rig.paths)) expect(await rig.store.directory(path)).to.equal(undefined);
    });

    it('but not one that is not there', async () => {
      expect(await outcome(rig.detach()))
        .to.be.instanceOf(XenError)
        .with.property('code', 'ENOENT');
    });

    it('at once when the backend’s domain is gone, and makes it anew with another', async () => {
      await rig.attach();
      await rig.machine.toolstack.destroy(rig.backend.domid);
      const other = await rig.machine.guest('other');
      const device = { ...rig.device, backend: other.domid };
      await rig.machine.toolstack.attach(device);
      expect(await rig.store.read(`${rig.paths.frontend}/backend`)).to.equal(devicePaths(device).backend);
      await rig.machine.toolstack.destroy(other.domid);
      expect(await rig.detach()).to.equal(true);
      expect(await rig.machine.toolstack.devices(rig.guest.domid)).to.deep.equal([]);
    });
  });

  describe('ends a domain', () => {
    it('with its directories, and with both ends of its devices, after their backends have let go', async () => {
      const { toolstack } = rig.machine;
      rig.serve(
        backendOf({
          connect: ({ publish, serve }) => {
            publish({ sectors: 1 });
            serve(() => new Promise(() => {}));
          },
        }),
      );
      await rig.attach();
      void outcome((await connection(rig.guest, DoublerFrontend)).double(1));
      await rig.idle();
      await toolstack.destroy(rig.guest.domid);
      expect(await tree(rig.store, '/local/domain/1')).to.deep.equal({});
      expect(await tree(rig.store, '/libxl/1')).to.deep.equal({});
      expect(await rig.store.directory('/local/domain/2/backend/vtest')).to.equal(undefined);
      await rig.idle();
      rig.expectNothingHeld();
    });

    it('but not one that is not there', async () => {
      await rig.machine.toolstack.destroy(rig.guest.domid);
      expect(await outcome(rig.machine.toolstack.destroy(rig.guest.domid))).to.have.property('code', 'ESRCH');
    });

    it('and the frontends that it served wait for another backend', async () => {
      const front = new PersonaFront(rig);
      await rig.attach();
      await rig.machine.toolstack.destroy(rig.backend.domid);
      await front.sees('Unknown');
      expect(await rig.machine.toolstack.devices(rig.guest.domid)).to.have.length(1);
    });
  });
});
