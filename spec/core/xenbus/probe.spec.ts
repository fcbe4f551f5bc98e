import { expect } from 'chai';
import { Subscription } from 'rxjs';
import { Clock, EventChannels, GrantTable, Log, XenStore } from '../../../core/index.js';
import type { DeviceInfo } from '../../../core/xenbus/device-info.js';
import type { DeviceEnd, Handshake } from '../../../core/xenbus/handshake.js';
import { startProbe } from '../../../core/xenbus/probe.js';
import { XenbusRig } from '../../support/xenbus-rig.js';

/** A handshake that ends when the test says so. */
interface Begun {
  readonly info: DeviceInfo;
  end: DeviceEnd | undefined;
  readonly running: Subscription;
}

describe('a probe', () => {
  let rig: XenbusRig;
  let begun: Begun[];
  let ended: string[];
  beforeEach(async () => {
    rig = await XenbusRig.create();
    begun = [];
    ended = [];
    const domain = rig.guest;
    const store = domain.get(XenStore);
    startProbe(
      {
        store,
        channels: domain.get(EventChannels),
        grants: domain.get(GrantTable),
        clock: domain.get(Clock),
        log: domain.get(Log),
        abi: domain.abi,
      },
      {
        directory: 'device/vtest',
        list: async () => ((await store.directory('device/vtest')) ?? []).map((id) => `device/vtest/${id}`),
        other: 'backend',
        begin: (info) => {
          const running = new Subscription();
          const it: Begun & { start(): Subscription } = { info, end: undefined, running, start: () => running };
          begun.push(it);
          return it as unknown as Handshake<string>;
        },
        end: (path) => ended.push(path),
      },
    );
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  const stop = async (end: DeviceEnd | undefined): Promise<void> => {
    const last = begun.at(-1);
    if (last === undefined) throw new Error('nothing has begun');
    last.end = end;
    last.running.unsubscribe();
    await rig.idle();
  };

  it('begins one handshake for a directory, whatever else is written there', async () => {
    await rig.attach();
    await rig.idle();
    await rig.store.write(`${rig.paths.frontend}/state`, '3');
    await rig.idle();
    expect(begun.map(({ info }) => info)).to.deep.equal([
      { id: '0', path: 'device/vtest/0', otherendPath: rig.paths.backend, otherend: rig.backend.domid },
    ]);
  });

  it('waits until a directory names its other end', async () => {
    await rig.store.write(`${rig.paths.frontend}/state`, '1');
    await rig.idle();
    expect(begun).to.deep.equal([]);
    await rig.attach();
    await rig.idle();
    expect(begun).to.have.length(1);
  });

  it('begins again when a handshake saw its directory go and it has come back since', async () => {
    await rig.attach();
    await rig.idle();
    await stop('gone');
    expect(begun).to.have.length(2);
  });

  it('ends a handshake whose directory has gone', async () => {
    await rig.attach();
    await rig.idle();
    await rig.store.rm(rig.paths.frontend);
    await rig.idle();
    expect(begun[0]?.running.closed).to.equal(true);
    expect(ended).to.deep.equal(['device/vtest/0']);
  });

  it('leaves a device alone that was closed for good, until the toolstack makes it anew', async () => {
    await rig.attach();
    await rig.store.write(`${rig.paths.frontend}/state`, '6');
    await rig.idle();
    await stop('closed');
    await rig.store.write(`${rig.paths.frontend}/x`, '');
    await rig.idle();
    expect(begun).to.have.length(1);
    await rig.store.write(`${rig.paths.frontend}/state`, '1');
    await rig.idle();
    expect(begun).to.have.length(2);
  });

  it('leaves a device alone whose handshake broke, until its directory has gone', async () => {
    await rig.attach();
    await rig.idle();
    await stop('broken');
    await rig.store.write(`${rig.paths.frontend}/state`, '1');
    await rig.idle();
    expect(begun).to.have.length(1);
    await rig.store.rm(rig.paths.frontend);
    await rig.store.rm(rig.paths.trusted);
    await rig.idle();
    await rig.attach();
    await rig.idle();
    expect(begun).to.have.length(2);
  });
});
