import { expect } from 'chai';
import { inject } from 'inversify';
import { firstValueFrom } from 'rxjs';
import {
  backend,
  connection,
  type Device,
  devices$,
  driverInfo,
  type FrontLink,
  frontend,
  serveDevices,
} from '../../../core/index.js';
import { STANDSTILL } from '../../../core/xenbus/standstill.js';
import { PersonaFront } from '../../support/personas.js';
import {
  backendOf,
  type Doubler,
  DoublerFrontend,
  frontendOf,
  type Vtest,
  vtest,
  XenbusRig,
} from '../../support/xenbus-rig.js';

abstract class Missing {}

describe('a domain’s bus', () => {
  let rig: XenbusRig;
  beforeEach(async () => {
    rig = await XenbusRig.create();
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  it('emits a device for each directory, to each who asks, also those that were there before', async () => {
    rig.serve();
    await rig.attach();
    await rig.idle();
    const one: Device<Doubler>[] = [];
    const two: Device<Doubler>[] = [];
    rig.guest.subscription.add(devices$(rig.guest, DoublerFrontend).subscribe((found) => one.push(found)));
    await rig.idle();
    rig.guest.subscription.add(devices$(rig.guest, DoublerFrontend).subscribe((found) => two.push(found)));
    await rig.machine.toolstack.attach({ ...rig.device, id: 'b' });
    await rig.idle();
    expect(one.map(({ info }) => info.path)).to.deep.equal(['device/vtest/0', 'device/vtest/b']);
    expect(two).to.deep.equal(one);
  });

  it('drives only the device that is asked for by its number', async () => {
    rig.serve();
    for (const id of [0, 1]) await rig.machine.toolstack.attach({ ...rig.device, id });
    await connection(rig.guest, DoublerFrontend, 1);
    await rig.idle();
    expect(await rig.states()).to.equal('1 2');
    await connection(rig.guest, DoublerFrontend, 0);
    await rig.idle();
    expect(await rig.states()).to.equal('4 4');
  });

  it('gives up a device when the last who asked for it has gone, and lets it be asked for again', async () => {
    rig.serve();
    await rig.attach();
    const one = devices$(rig.guest, DoublerFrontend).subscribe();
    const two = devices$(rig.guest, DoublerFrontend, 0).subscribe();
    await rig.idle();
    one.unsubscribe();
    await rig.idle();
    expect(rig.ledgerOf(rig.guest)).to.include({ ports: 1 });
    two.unsubscribe();
    await rig.idle();
    expect(rig.ledgerOf(rig.guest)).to.include({ ports: 0, watches: 0 });
    const again = await connection(rig.guest, DoublerFrontend);
    expect(await again.double(2)).to.equal(4);
  });

  it('completes when the domain ends, and so do the connections', async () => {
    rig.serve();
    await rig.attach();
    const ended: string[] = [];
    devices$(rig.guest, DoublerFrontend).subscribe({
      next: ({ connections$, failures$ }) => {
        connections$.subscribe({ complete: () => ended.push('connections$') });
        failures$.subscribe({ complete: () => ended.push('failures$') });
      },
      complete: () => ended.push('devices$'),
    });
    await rig.idle();
    rig.guest[Symbol.dispose]();
    expect(ended).to.have.members(['connections$', 'failures$', 'devices$']);
  });

  it('gives each device a driver of its own, made in the domain’s container', async () => {
    abstract class Token {}
    const token = new (class extends Token {})();
    const made: Counted[] = [];
    class Counted {
      readonly token: Token;
      constructor(given: Token) {
        this.token = given;
        made.push(this);
      }
      connect(_link: FrontLink<Vtest>): this {
        return this;
      }
    }
    inject(Token)(Counted, undefined, 0);
    frontend(vtest)(Counted);
    rig.guest.container.bind(Token).toConstantValue(token);
    rig.serve();
    for (const id of [0, 1]) await rig.machine.toolstack.attach({ ...rig.device, id });
    const one = await connection(rig.guest, Counted, 0);
    const two = await connection(rig.guest, Counted, 1);
    expect(one).to.not.equal(two);
    expect(made.map((driver) => driver.token)).to.deep.equal([token, token]);
  });

  it('says once that a driver cannot be made, and serves the other classes of device', async () => {
    class Broken {
      readonly missing: Missing;
      constructor(missing: Missing) {
        this.missing = missing;
      }
      connect(): void {}
    }
    inject(Missing)(Broken, undefined, 0);
    backend(vtest)(Broken);
    rig.serve(Broken);
    await rig.attach();
    await rig.machine.toolstack.attach({ ...rig.device, id: 1 });
    await rig.idle();
    expect(rig.log.filter(({ level }) => level === 'error').map(({ source }) => source)).to.deep.equal([
      `backend/vtest/${rig.guest.domid}/0`,
      `backend/vtest/${rig.guest.domid}/1`,
    ]);
    expect(rig.lines('error')[0]).to.include('Missing');
  });

  it('refuses a class that is not declared, or is the other end’s', () => {
    class Plain {
      connect(): void {}
    }
    expect(driverInfo(Plain)).to.equal(undefined);
    expect(() => serveDevices(rig.backend, Plain)).to.throw(
      TypeError,
      'Plain is no backend: declare it with @backend(protocol)',
    );
    expect(() => devices$(rig.guest, backendOf({ connect: () => {} }) as never)).to.throw(TypeError, 'is no frontend');
  });

  it('serves what was there before it, and what comes after', async () => {
    await rig.attach();
    rig.serve();
    await rig.machine.toolstack.attach({ ...rig.device, id: 1 });
    await rig.idle();
    expect(await rig.state('backend')).to.equal('2');
    expect(
      await rig.store.read(`/local/domain/${rig.backend.domid}/backend/vtest/${rig.guest.domid}/1/state`),
    ).to.equal('2');
  });

  it('serves a device in dom0 as in any other domain', async () => {
    const { dom0, toolstack } = rig.machine;
    serveDevices(dom0, backendOf({ connect: ({ publish }) => publish({ sectors: 1 }) }));
    await toolstack.attach({ ...rig.device, backend: dom0.domid });
    await connection(rig.guest, DoublerFrontend);
    expect(await toolstack.detach(rig.device)).to.equal(true);
  });

  it('says once that a device’s own state is none, and leaves it alone until it is made anew', async () => {
    rig.serve();
    await rig.attach();
    const device = await connection(rig.guest, DoublerFrontend);
    await rig.store.write(`${rig.paths.frontend}/state`, 'abc');
    await rig.idle();
    await rig.store.write(`${rig.paths.frontend}/state`, 'abcd');
    await rig.pass(100);
    expect(rig.lines('error').filter((line) => line.startsWith('guest'))).to.deep.equal([
      'guest: the handshake cannot go on: PeerFault: device/vtest/0/state cannot be "abc"',
    ]);
    expect(rig.ledgerOf(rig.guest)).to.include({ ports: 0, grants: 0 });
    expect(await device.double(1).catch((error: unknown) => error)).to.be.instanceOf(Error);
    await rig.detach();
    await rig.attach();
    expect(await (await connection(rig.guest, DoublerFrontend)).double(1)).to.equal(2);
  });

  it('lets a garbage backend-id end that device alone', async () => {
    rig.serve();
    await rig.attach();
    await rig.machine.toolstack.attach({ ...rig.device, id: 1 });
    await rig.store.write(`${rig.paths.frontend}/backend-id`, 'x');
    const device = await connection(rig.guest, DoublerFrontend, 1);
    rig.guest.subscription.add(devices$(rig.guest, DoublerFrontend).subscribe());
    await rig.idle();
    expect(rig.lines('error')).to.deep.equal(['guest: PeerFault: device/vtest/0/backend-id cannot be "x"']);
    expect(await device.double(1)).to.equal(2);
  });
});

describe('a handshake that stands still', () => {
  let rig: XenbusRig;
  beforeEach(async () => {
    rig = await XenbusRig.create();
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  it('says after a second, once, for whom it waits, why, and who must act', async () => {
    rig.guest.subscription.add(devices$(rig.guest, frontendOf({ connect: () => 1 })).subscribe());
    await rig.attach();
    await rig.idle();
    await rig.pass(STANDSTILL - 1);
    expect(rig.lines('warning')).to.deep.equal([]);
    await rig.pass(1);
    expect(rig.lines('warning')).to.deep.equal([
      'guest: waiting for the backend in domain 2 to reach InitWait, because it is still Initialising: has domain 2 a driver for it? (this end is Initialising, the backend must act)',
    ]);
    await rig.pass(10 * STANDSTILL);
    expect(rig.lines('warning')).to.have.length(1);
  });

  it('says it at its time, however often watches fire meanwhile without a change', async () => {
    const front = new PersonaFront(rig);
    rig.serve();
    await rig.attach();
    for (let i = 0; i < 5; i++) {
      await rig.pass(300);
      await front.becomes('Initialising');
    }
    await rig.idle();
    const warnings = rig.log.filter(({ level }) => level === 'warning');
    expect(warnings.map(({ time }) => time)).to.deep.equal([STANDSTILL]);
  });

  it('says so for the backend as well, and again when it comes to stand elsewhere', async () => {
    const front = new PersonaFront(rig);
    rig.serve();
    await rig.attach();
    await rig.pass(STANDSTILL);
    expect(rig.lines('warning').at(-1)).to.match(
      /^backend: waiting for the frontend in domain 1 to reach Initialised, because it is still Initialising.*\(this end is InitWait, the frontend must act\)$/,
    );
    await front.connects();
    await rig.pass(10 * STANDSTILL);
    expect(rig.lines('warning')).to.have.length(1);
    await front.becomes('Closing');
    await rig.pass(STANDSTILL);
    expect(rig.lines('warning').at(-1)).to.match(/to reach Closed, because it is still Closing \(this end is Closing/);
    expect(rig.lines('warning')).to.have.length(2);
  });

  it('says nothing when it goes on earlier, and nothing of a device that stands closed', async () => {
    rig.serve();
    await rig.attach();
    await rig.pass(STANDSTILL / 2);
    const device = await connection(rig.guest, DoublerFrontend);
    await device.close();
    await rig.pass(STANDSTILL / 2);
    expect(rig.lines('warning')).to.deep.equal([]);
  });

  it('names a node that is not there', async () => {
    rig.guest.subscription.add(devices$(rig.guest, DoublerFrontend).subscribe());
    await rig.attach();
    await rig.store.rm(rig.paths.backend);
    await rig.pass(STANDSTILL);
    expect(rig.lines('warning')).to.deep.equal([
      `guest: waiting for the backend in domain 2 to reach InitWait, because ${rig.paths.backend}/state does not exist: has domain 2 a driver for it? (this end is Initialising, the backend must act)`,
    ]);
  });

  it('names its own driver when that is what it waits for', async () => {
    const front = new PersonaFront(rig);
    rig.serve(backendOf({ connect: () => new Promise(() => {}) }));
    await rig.attach();
    await front.sees('InitWait');
    await front.becomes('Initialised', front.share());
    await rig.pass(STANDSTILL);
    expect(rig.lines('warning')).to.deep.equal([
      'backend: waiting for its driver, whose promise has not resolved (this end is InitWait, the other end Initialised)',
    ]);
  });

  it('leaves no timer behind when its domain ends', async () => {
    const { connections$ } = await (async () => {
      const found = firstValueFrom(devices$(rig.guest, DoublerFrontend));
      rig.guest.subscription.add(devices$(rig.guest, DoublerFrontend).subscribe());
      await rig.attach();
      return found;
    })();
    connections$.subscribe();
    await rig.idle();
    await rig.machine.toolstack.destroy(rig.guest.domid);
    await rig.pass(10 * STANDSTILL);
    expect(rig.lines('warning')).to.deep.equal([]);
  });
});
