// Long, since a frontend has much to hold against: each test plays one backend of another manner on the same rig.
import { expect } from 'chai';
import { firstValueFrom } from 'rxjs';
import {
  connection,
  type Device,
  Disconnected,
  devices$,
  type FrontLink,
  type FrontNegotiation,
  PeerFault,
} from '../../../core/index.js';
import { PersonaBack } from '../../support/personas.js';
import { type Doubler, DoublerFrontend, frontendOf, type Vtest, XenbusRig } from '../../support/xenbus-rig.js';

/** The ring's shared indices (ring.h). */
const sring = { reqProd: 0, rspProd: 2 } as const;

const outcome = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);

describe('a frontend', () => {
  let rig: XenbusRig;
  let back: PersonaBack;

  const start = async (seed = 1): Promise<void> => {
    rig = await XenbusRig.create({ seed });
    back = new PersonaBack(rig);
  };
  const device = async <T>(driver: Parameters<typeof devices$<Vtest, T>>[1]): Promise<Device<T>> => {
    rig.guest.subscription.add(devices$(rig.guest, driver).subscribe());
    return firstValueFrom(devices$(rig.guest, driver));
  };
  const errorNode = (): Promise<string | undefined> =>
    rig.store.read(`/local/domain/${rig.guest.domid}/error/device/vtest/0/error`);

  beforeEach(() => start());
  afterEach(() => rig[Symbol.asyncDispose]());

  describe('goes along with', () => {
    it('a backend that offers, connects and closes as blkback does, with any seed', async () => {
      for (let seed = 0; seed < 10; seed++) {
        await rig[Symbol.asyncDispose]();
        await start(seed);
        await rig.attach();
        const found = await device(DoublerFrontend);
        await back.offers();
        await back.connects();
        await back.sees('Connected');
        const closed = found.close();
        await back.closes();
        await closed;
        await rig.idle();
        expect(rig.moves()).to.deep.equal([
          'guest: Initialising → Initialised',
          'guest: Initialised → Connected',
          'guest: Connected → Closing',
          'guest: Closing → Closed',
        ]);
        rig.expectNothingHeld();
      }
    });

    it('a backend found Connected at boot: it closes what firmware left before it connects (win-xenvif 36)', async () => {
      await rig.attach();
      await back.becomes('Connected', { 'max-bytes': '1', sectors: '1' });
      const connecting = connection(rig.guest, DoublerFrontend);
      await back.closes();
      await back.sees('Initialising');
      await back.offers();
      await back.connects();
      await connecting;
      expect(rig.moves()).to.deep.equal([
        'guest: Initialising → Closing',
        'guest: Closing → Closed',
        'guest: Closed → Initialising',
        'guest: Initialising → Initialised',
        'guest: Initialised → Connected',
      ]);
    });

    it('a backend that goes Closed without Closing, and one that begins anew after it', async () => {
      await rig.attach();
      const found = await device(DoublerFrontend);
      await back.offers();
      await back.connects();
      const first = await firstValueFrom(found.connections$);
      const lost = outcome(first.double(1));
      const failure = firstValueFrom(found.failures$);
      back.unmap();
      await back.becomes('Closed');
      expect(await lost).to.be.instanceOf(Disconnected);
      expect(await failure).to.be.instanceOf(Disconnected);
      await back.sees('Closed');
      await rig.pass(100);
      rig.expectNothingHeld();
      expect(await rig.state('frontend')).to.equal('6');
      await back.offers();
      await back.connects();
      await back.sees('Connected');
    });

    it('a backend that offers itself again without having closed', async () => {
      await rig.attach();
      await device(DoublerFrontend);
      await back.offers();
      await back.connects();
      await back.sees('Connected');
      back.unmap();
      await back.offers();
      await back.sees('Initialised');
      await back.connects();
      await back.sees('Connected');
      expect(rig.ledgerOf(rig.guest)).to.include({ grants: 1, pages: 1, ports: 1 });
    });

    it('a backend that vanishes: it waits for another in Initialising', async () => {
      await rig.attach();
      await device(DoublerFrontend);
      await back.offers();
      await back.connects();
      await back.sees('Connected');
      back.unmap();
      await rig.store.rm(rig.paths.backend);
      await rig.idle();
      expect(await rig.state('frontend')).to.equal('1');
      rig.expectNothingHeld();
    });

    it('a device that the toolstack withdraws before it was ever connected', async () => {
      await rig.attach();
      await device(DoublerFrontend);
      await rig.idle();
      const detached = rig.detach();
      await back.sees('Closed');
      await back.becomes('Closed');
      expect(await detached).to.equal(true);
      expect(rig.moves()).to.deep.equal(['guest: Initialising → Closed']);
    });
  });

  it('closes from every state of its own, whatever the backend is in', async () => {
    const before: Readonly<Record<string, (found: Device<Doubler>) => Promise<unknown>>> = {
      Initialising: () => rig.idle(),
      Initialised: async () => {
        await back.offers();
        await back.sees('Initialised');
      },
      Connected: async (found) => {
        await back.offers();
        await back.connects();
        await firstValueFrom(found.connections$);
      },
    };
    for (const [state, reach] of Object.entries(before)) {
      await rig[Symbol.asyncDispose]();
      await start();
      await rig.attach();
      const found = await device(DoublerFrontend);
      await reach(found);
      const closed = found.close();
      await back.closes();
      await closed;
      await rig.idle();
      expect(await rig.states(), state).to.equal('6 6');
      rig.expectNothingHeld();
      expect(rig.lines('error'), state).to.deep.equal([]);
    }
  });

  it('resolves close() when the device, or its domain, is taken away meanwhile', async () => {
    await rig.attach();
    const found = await device(DoublerFrontend);
    await back.offers();
    await back.sees('Initialised');
    const closed = found.close();
    await rig.store.rm(rig.paths.frontend);
    await closed;
    await rig.idle();
    rig.expectNothingHeld();
  });

  it('keeps its ring until the backend is Closed, and parks what is still mapped then (XSA-396)', async () => {
    await rig.attach();
    const found = await device(DoublerFrontend);
    await back.offers();
    await back.connects();
    await firstValueFrom(found.connections$);
    const closed = found.close();
    await back.sees('Closing');
    await back.becomes('Closing');
    await back.sees('Closed');
    expect(rig.ledgerOf(rig.guest)).to.include({ grants: 1, mapped: 1, pages: 1, ports: 1 });
    // It says Closed, and lets go of nothing.
    await back.becomes('Closed');
    await closed;
    await rig.idle();
    expect(rig.ledgerOf(rig.guest)).to.include({ grants: 1, mapped: 1, pages: 1, ports: 0 });
    back.unmap();
    rig.expectNothingHeld();
  });

  it('shares nothing but zeroes and the ring’s first indices (XSA-403)', async () => {
    await rig.attach();
    await device(DoublerFrontend);
    await back.offers();
    await back.sees('Initialised');
    await back.map();
    const words = [...(back.page?.words ?? [])];
    expect(words.slice(0, 4)).to.deep.equal([0, 1, 0, 1]);
    expect(words.slice(4).every((word) => word === 0)).to.equal(true);
  });

  it('writes the ABI of its domain', async () => {
    await rig[Symbol.asyncDispose]();
    rig = await XenbusRig.create({ abi: 'x86_32-abi' });
    back = new PersonaBack(rig);
    await rig.attach();
    await device(DoublerFrontend);
    await back.offers();
    await back.sees('Initialised');
    expect(await rig.store.read(`${rig.paths.frontend}/protocol`)).to.equal('x86_32-abi');
  });

  describe('does not believe', () => {
    for (const state of ['9', '', 'abc']) {
      it(`the state ${JSON.stringify(state)}: it closes, says why once, and rejects what is outstanding`, async () => {
        await rig.attach();
        const found = await device(DoublerFrontend);
        await back.offers();
        await back.connects();
        const doubler = await firstValueFrom(found.connections$);
        const lost = outcome(doubler.double(1));
        await back.writes(state);
        await rig.idle();
        expect(await lost).to.be.instanceOf(PeerFault);
        expect(await rig.state('frontend')).to.equal('5');
        expect(rig.lines('error')).to.deep.equal([
          `guest: PeerFault: ${rig.paths.backend}/state cannot be ${JSON.stringify(state)}`,
        ]);
        expect(await errorNode()).to.match(/^22 PeerFault: /);
        back.unmap();
        await back.becomes('Closing');
        await back.sees('Closed');
        await back.becomes('Closed');
        await rig.idle();
        rig.expectNothingHeld();
      });
    }

    for (const [what, keys] of [
      ['a max-bytes out of bounds', { 'max-bytes': '5000' }],
      ['a max-bytes of text', { 'max-bytes': 'lots' }],
    ] as const) {
      it(`${what} in the offer: it closes without sharing a ring, and does not try again`, async () => {
        await rig.attach();
        const connecting = outcome(connection(rig.guest, DoublerFrontend));
        await back.becomes('InitWait', keys);
        expect(await connecting)
          .to.be.instanceOf(PeerFault)
          .with.property('message')
          .that.includes('max-bytes');
        await back.sees('Closing');
        await rig.idle();
        rig.expectNothingHeld();
        await back.becomes('Closing');
        await back.sees('Closed');
        await back.becomes('Closed');
        await rig.pass(100);
        expect(await rig.states()).to.equal('6 6');
        expect(rig.lines('error')).to.have.length(1);
      });
    }

    it('a Connected without the keys that come with it', async () => {
      await rig.attach();
      const connecting = outcome(connection(rig.guest, DoublerFrontend));
      await back.offers();
      await back.sees('Initialised');
      await back.map();
      await back.becomes('Connected');
      expect(await connecting)
        .to.be.instanceOf(PeerFault)
        .with.property('message')
        .that.includes('sectors is missing');
      await back.closes();
      await rig.idle();
      rig.expectNothingHeld();
    });

    for (const rspProd of [1, 300, -1]) {
      it(`a rsp_prod of ${rspProd} when nothing was asked: that link closes, with the reason (XSA-376)`, async () => {
        await rig.attach();
        const found = await device(DoublerFrontend);
        await back.offers();
        await back.connects();
        await firstValueFrom(found.connections$);
        const failure = firstValueFrom(found.failures$);
        if (back.page !== undefined) back.page.words[sring.rspProd] = rspProd;
        back.channel?.notify();
        expect(await failure).to.be.instanceOf(PeerFault);
        await back.closes();
        await rig.idle();
        expect(await errorNode()).to.match(/^22 PeerFault: .*rsp_prod/);
        rig.expectNothingHeld();
      });
    }
  });

  describe('whose driver fails', () => {
    for (const [hook, driver] of [
      [
        'negotiate',
        frontendOf({
          negotiate: () => {
            throw new Error('no way');
          },
          connect: () => 1,
        }),
      ],
      [
        'connect',
        frontendOf({
          connect: () => {
            throw new Error('no way');
          },
        }),
      ],
    ] as const) {
      it(`in ${hook}: closes with the reason, which connection() rejects with`, async () => {
        await rig.attach();
        const connecting = outcome(connection(rig.guest, driver));
        await back.offers();
        if (hook === 'connect') await back.connects();
        expect(await connecting)
          .to.be.instanceOf(Error)
          .with.property('message', 'no way');
        await back.closes();
        await rig.pass(100);
        expect(rig.lines('error')).to.deep.equal(['guest: Error: no way']);
        expect(await errorNode()).to.equal('5 Error: no way');
        rig.expectNothingHeld();
      });
    }
  });

  it('refuses a connect that returns a promise: the device is handed over at once', async () => {
    await rig.attach();
    const connecting = outcome(connection(rig.guest, frontendOf({ connect: async () => 1 })));
    await back.offers();
    await back.connects();
    expect(await connecting)
      .to.be.instanceOf(TypeError)
      .with.property('message')
      .that.includes('returned a promise');
    await back.closes();
    await rig.idle();
    rig.expectNothingHeld();
  });

  it('is told by connection() when the backend closes the device before it connects', async () => {
    await rig.attach();
    const connecting = outcome(connection(rig.guest, DoublerFrontend));
    await back.offers();
    await back.sees('Initialised');
    await back.becomes('Closing');
    expect(await connecting)
      .to.be.instanceOf(Disconnected)
      .with.property('message')
      .that.includes('whose log says why');
  });

  it('is told by connection() when its domain ends before the device connects', async () => {
    await rig.attach();
    const connecting = outcome(connection(rig.guest, DoublerFrontend));
    await rig.idle();
    await rig.machine.toolstack.destroy(rig.guest.domid);
    expect(await connecting)
      .to.be.instanceOf(Disconnected)
      .with.property('message')
      .that.includes('guest ended');
  });

  describe('’s driver', () => {
    let link: FrontLink<Vtest>;
    const events: string[] = [];
    const driver = frontendOf({
      negotiate: ({ offered, toolstack }: FrontNegotiation<Vtest>) => ({
        depth: offered['max-bytes'] === 128 ? toolstack.label - 3 : 1,
      }),
      connect: (given: FrontLink<Vtest>) => {
        link = given;
        given.subscription.add(() => events.push('subscription ended'));
        return { [Symbol.dispose]: () => events.push('device disposed') };
      },
    });

    it('negotiates by what the backend offers and what the toolstack wrote', async () => {
      await rig.attach();
      await device(driver);
      await back.offers();
      await back.sees('Initialised');
      expect(await rig.store.read(`${rig.paths.frontend}/depth`)).to.equal('4');
      await back.connects();
      await back.sees('Connected');
      expect(link.own).to.deep.equal({ depth: 4 });
      expect(link.toolstack).to.deep.equal({ label: 7 });
      expect(link.peer).to.deep.equal({ 'max-bytes': 128, sectors: 9 });
      expect(link.device).to.deep.equal({
        id: '0',
        path: 'device/vtest/0',
        otherendPath: rig.paths.backend,
        otherend: rig.backend.domid,
      });
    });

    it('hears a change that the backend announces by Connected again, and no other write', async () => {
      await rig.attach();
      await device(driver);
      await back.offers();
      await back.connects();
      await back.sees('Connected');
      const { peer } = link;
      const seen: number[] = [];
      let completed = false;
      link.peer$.subscribe({
        next: ({ sectors }) => seen.push(sectors),
        complete: () => {
          completed = true;
        },
      });
      await back.becomes('Connected');
      await rig.idle();
      await back.becomes('Connected', { sectors: '11' });
      await rig.idle();
      await back.store.write(`${back.path}/sectors`, '12');
      await rig.idle();
      expect(seen).to.deep.equal([9, 11]);
      expect(peer.sectors).to.equal(11);
      back.unmap();
      await back.becomes('Closed');
      await back.sees('Closed');
      expect(completed).to.equal(true);
    });

    it('has its link ended in order: what is outstanding, its device, its subscription; then it can send no more', async () => {
      events.length = 0;
      await rig.attach();
      await device(driver);
      await back.offers();
      await back.connects();
      await back.sees('Connected');
      const lost = link.ring
        .request(
          () => {},
          () => {},
        )
        .catch((error: unknown) => {
          events.push('rejected');
          return error;
        });
      link.ring.submit(
        (slot) => slot.set({ value: 1, gref: 0 as never }),
        () => {},
        () => events.push('lost'),
      );
      const closed = link.close();
      await back.sees('Closing');
      expect(events.slice(0, 3)).to.deep.equal(['lost', 'device disposed', 'subscription ended']);
      expect(await lost).to.be.instanceOf(Disconnected);
      expect(
        await outcome(
          link.ring.request(
            () => {},
            () => {},
          ),
        ),
      ).to.be.instanceOf(Disconnected);
      expect(() => link.grants.share()).to.throw(Disconnected);
      await back.closes();
      await closed;
    });
  });

  describe('of a hostile backend', () => {
    it('does bounded work for 10^4 changes of state (XSA-349)', async function () {
      this.timeout(60_000);
      await rig.attach();
      const found = await device(DoublerFrontend);
      await back.offers();
      const pending: Promise<void>[] = [];
      for (let i = 0; i < 10_000; i++) {
        pending.push(back.store.write(`${back.path}/state`, String(2 + (i % 5))));
        if (pending.length >= 16) await pending.shift();
      }
      await Promise.all(pending);
      await rig.idle();
      const closed = found.close();
      await back.becomes('Closing');
      await back.sees('Closed');
      await back.becomes('Closed');
      await closed;
      await rig.idle();
      rig.expectNothingHeld();
      expect(rig.log.length).to.be.lessThan(5000);
    });
  });
});
