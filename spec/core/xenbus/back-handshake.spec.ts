// Long, since a backend has much to hold against: each test plays one frontend of another manner on the same rig.
import { expect } from 'chai';
import { Observable } from 'rxjs';
import { type BackLink, Offer, PeerFault } from '../../../core/index.js';
import { DRAIN_TIMEOUT } from '../../../core/xenbus/back-handshake.js';
import { PersonaFront } from '../../support/personas.js';
import { backendOf, DoublerBackend, type Vtest, XenbusRig } from '../../support/xenbus-rig.js';

/** The ring's shared indices (ring.h). */
const sring = { reqProd: 0, reqEvent: 1, rspProd: 2, rspEvent: 3, first: 16 } as const;

describe('a backend', () => {
  let rig: XenbusRig;
  let front: PersonaFront;

  const start = async (seed = 1, abi?: 'x86_32-abi'): Promise<void> => {
    rig = await XenbusRig.create({ seed, ...(abi === undefined ? {} : { abi }) });
    front = new PersonaFront(rig);
  };
  /** Puts a request for `value` onto the ring by hand, and says so. */
  const ask = (value: number, id = 0): void => {
    const { page, channel } = front;
    if (page === undefined || channel === undefined) throw new Error('nothing is shared');
    const at = (page.words[sring.reqProd] as number) + 0;
    page.words[sring.first + 2 * (at & 0xff)] = id | (value << 16);
    page.words[sring.reqProd] = at + 1;
    channel.notify();
  };
  const errorNode = (): Promise<string | undefined> =>
    rig.store.read(`/local/domain/${rig.backend.domid}/error/backend/vtest/${rig.guest.domid}/0/error`);
  /** Nothing of the frontend's is held, and the domain's other devices go on. */
  const expectOnlyThisGone = async (): Promise<void> => {
    const { mappings, ports } = rig.ledgerOf(rig.backend);
    expect({ mappings, ports }).to.deep.equal({ mappings: 0, ports: 0 });
    await rig.machine.toolstack.attach({ ...rig.device, id: 1 });
    await rig.idle();
    expect(
      await rig.store.read(`/local/domain/${rig.backend.domid}/backend/vtest/${rig.guest.domid}/1/state`),
    ).to.equal('2');
  };

  beforeEach(() => start());
  afterEach(() => rig[Symbol.asyncDispose]());

  describe('goes along with', () => {
    it('a Windows frontend, which closes before it connects, with any seed', async () => {
      for (let seed = 0; seed < 10; seed++) {
        await rig[Symbol.asyncDispose]();
        await start(seed);
        rig.serve();
        await rig.attach();
        for (let round = 0; round < 2; round++) {
          await front.closes();
          await front.becomes('Initialising');
          await front.connects();
          ask(4);
          await rig.idle();
          expect(front.page?.words[sring.rspProd], `seed ${seed}`).to.equal(1);
        }
        await front.closes();
        await rig.idle();
        rig.expectNothingHeld();
      }
    });

    it('a frontend that goes straight to Connected (netfront)', async () => {
      rig.serve();
      await rig.attach();
      await front.sees('InitWait');
      await front.becomes('Connected', front.share());
      await front.sees('Connected');
      ask(4);
      await rig.idle();
      expect(front.page?.words[sring.rspProd]).to.equal(1);
    });

    it('a frontend that shares its ring before there is an offer (fbfront)', async () => {
      await rig.attach();
      await front.becomes('Initialised', front.share());
      rig.serve();
      await front.sees('Connected');
    });

    it('a frontend that skips Closing, and comes back', async () => {
      rig.serve();
      await rig.attach();
      await front.connects();
      await front.becomes('Closed');
      await front.sees('Closed');
      front.free();
      rig.expectNothingHeld();
      await front.becomes('Initialising');
      await front.connects();
    });

    it('a frontend that comes back without closing, and lets go of the ring it had', async () => {
      rig.serve();
      await rig.attach();
      await front.connects();
      const old = front.page;
      await front.becomes('Initialising');
      await front.sees('InitWait');
      expect(old?.inUse).to.equal(false);
      front.free();
      await front.connects();
      expect(rig.ledgerOf(rig.backend).mappings).to.equal(1);
    });

    it('a frontend of the 32-bit ABI', async () => {
      await rig[Symbol.asyncDispose]();
      await start(1, 'x86_32-abi');
      rig.serve();
      await rig.attach();
      await front.connects();
      ask(4);
      await rig.idle();
      expect(front.page?.words[sring.rspProd]).to.equal(1);
    });

    it('a frontend that closes in any state of its own, or of the backend', async () => {
      for (const state of ['Initialising', 'Initialised', 'Connected'] as const) {
        for (const how of ['orderly', 'at once'] as const) {
          await rig[Symbol.asyncDispose]();
          await start();
          rig.serve();
          await rig.attach();
          await front.sees('InitWait');
          if (state !== 'Initialising') await front.becomes('Initialised', front.share());
          if (state === 'Connected') {
            await front.sees('Connected');
            await front.becomes('Connected');
          }
          if (how === 'orderly') await front.closes();
          else {
            await front.becomes('Closed');
            await front.sees('Closed');
            front.free();
          }
          await rig.idle();
          rig.expectNothingHeld();
          expect(rig.lines('error'), `${how} from ${state}`).to.deep.equal([]);
        }
      }
    });
  });

  it('never writes its state twice for a frontend that has not moved', async () => {
    rig.serve();
    await rig.attach();
    await front.connects();
    await rig.idle();
    rig.log.length = 0;
    for (let i = 0; i < 5; i++) await front.becomes('Connected');
    await rig.idle();
    expect(rig.log).to.deep.equal([]);
  });

  it('closes for the toolstack in every state, and is gone with its directory', async () => {
    for (const state of ['none', 'Initialised', 'Connected'] as const) {
      await rig[Symbol.asyncDispose]();
      await start();
      rig.serve();
      await rig.attach();
      await front.sees('InitWait');
      if (state !== 'none') {
        await front.becomes('Initialised', front.share());
        await front.sees('Connected');
      }
      if (state === 'Connected') await front.becomes('Connected');
      const detached = rig.detach();
      await front.sees('Closing', 'Closed');
      await front.becomes('Closing');
      await front.becomes('Closed');
      expect(await detached, state).to.equal(true);
      front.free();
      await rig.idle();
      rig.expectNothingHeld();
    }
  });

  it('loses its frontend after ten seconds when that does not close, as libxl has it', async () => {
    rig.serve();
    await rig.attach();
    await front.connects();
    expect(await rig.detach()).to.equal(false);
    await rig.idle();
    front.free();
    rig.expectNothingHeld();
    for (const path of Object.values(rig.paths)) expect(await rig.store.directory(path)).to.equal(undefined);
  });

  describe('does not believe', () => {
    for (const state of ['9', '', 'abc', '-1', '4 ', '04']) {
      it(`the state ${JSON.stringify(state)}: it closes, says why once, and goes on when the frontend is Closed`, async () => {
        rig.serve();
        await rig.attach();
        await front.connects();
        await front.writes(state);
        await rig.idle();
        expect(await rig.state('backend')).to.equal('5');
        expect(rig.lines('error')).to.deep.equal([
          `backend: PeerFault: ${rig.paths.frontend}/state cannot be ${JSON.stringify(state)}`,
        ]);
        expect(await errorNode()).to.equal(
          `22 PeerFault: ${rig.paths.frontend}/state cannot be ${JSON.stringify(state)}`,
        );
        await expectOnlyThisGone();
        await front.becomes('Closed');
        await front.sees('Closed');
        front.free();
        await front.becomes('Initialising');
        await front.connects();
      });
    }

    const cases: readonly {
      readonly what: string;
      readonly keys: Readonly<Record<string, string>>;
      readonly says: RegExp;
      readonly without?: string;
    }[] = [
      { what: 'ring-ref of text', keys: { 'ring-ref': 'x' }, says: /ring-ref cannot be "x"/ },
      { what: 'negative ring-ref', keys: { 'ring-ref': '-1' }, says: /ring-ref cannot be "-1"/ },
      { what: 'ring-ref of 2^32', keys: { 'ring-ref': '4294967296' }, says: /ring-ref cannot be "4294967296"/ },
      { what: 'empty ring-ref', keys: { 'ring-ref': '' }, says: /ring-ref cannot be ""/ },
      {
        what: 'ring-ref that grants nothing',
        keys: { 'ring-ref': '77' },
        says: /ring-ref cannot be 77 \(GNTTABOP_map_grant_ref .*GNTST_/,
      },
      { what: 'oversized ring-ref', keys: { 'ring-ref': '7'.repeat(1500) }, says: /ring-ref cannot be "7{60}…"/ },
      { what: 'missing ring-ref', keys: {}, without: 'ring-ref', says: /ring-ref is missing/ },
      { what: 'missing event-channel', keys: {}, without: 'event-channel', says: /event-channel is missing/ },
      { what: 'event-channel 0', keys: { 'event-channel': '0' }, says: /event-channel cannot be "0"/ },
      {
        what: 'event-channel that cannot be bound',
        keys: { 'event-channel': '900' },
        says: /event-channel cannot be 900 \(.*EINVAL/,
      },
      { what: 'protocol of an unknown name', keys: { protocol: 'vax-abi' }, says: /protocol cannot be "vax-abi"/ },
      { what: 'key of its own out of bounds', keys: { depth: '9' }, says: /depth cannot be "9"/ },
    ];
    for (const { what, keys, says, without } of cases) {
      it(`the ${what}: it closes this device alone, without trying again`, async () => {
        rig.serve();
        await rig.attach();
        await front.sees('InitWait');
        const { ...shared } = front.share() as Record<string, string>;
        if (without !== undefined) delete shared[without];
        await front.becomes('Initialised', { ...shared, ...keys });
        await rig.idle();
        expect(await rig.state('backend')).to.equal('5');
        expect(rig.lines('error')).to.have.length(1);
        expect(rig.lines('error')[0])
          .to.match(says)
          .and.match(/^backend: PeerFault: /);
        expect(await errorNode())
          .to.match(says)
          .and.match(/^22 PeerFault: /);
        rig.log.length = 0;
        await rig.pass(100);
        expect(rig.log).to.deep.equal([]);
        expect(front.page?.inUse).to.equal(false);
        await expectOnlyThisGone();
        await front.closes();
        await rig.idle();
        expect(rig.held()).to.deep.equal([]);
        await front.becomes('Initialising', { depth: '1' });
        await front.connects();
      });
    }

    for (const ahead of [257, 0x7fffffff, -1]) {
      it(`a req_prod of ${ahead}: the ring is unmapped at once, and only that link closes (XSA-39)`, async () => {
        rig.serve();
        await rig.attach();
        await front.connects();
        await rig.idle();
        const { page, channel } = front;
        if (page === undefined || channel === undefined) throw new Error('nothing is shared');
        page.words[sring.reqProd] = ahead;
        channel.notify();
        await rig.idle();
        expect(page.inUse).to.equal(false);
        expect(await rig.state('backend')).to.equal('5');
        expect(await errorNode()).to.match(/^22 PeerFault: .*req_prod/);
        await expectOnlyThisGone();
        await front.closes();
        await rig.idle();
        rig.expectNothingHeld();
      });
    }

    it('a req_prod of a frontend that is gone in the same moment, but for a line in the log', async () => {
      rig.serve();
      await rig.attach();
      await front.connects();
      await rig.idle();
      if (front.page !== undefined) front.page.words[sring.reqProd] = 1000;
      front.channel?.notify();
      await rig.store.rm(rig.paths.frontend);
      await rig.idle();
      expect([...rig.lines('warning'), ...rig.lines('error')].join()).to.match(/^backend: PeerFault: req_prod/);
      expect(await rig.state('backend')).to.equal('6');
      front.free();
      rig.expectNothingHeld();
    });

    it('a ring that claims more requests than it holds before the link begins', async () => {
      rig.serve();
      await rig.attach();
      await front.sees('InitWait');
      const keys = front.share();
      if (front.page !== undefined) front.page.words[sring.reqProd] = 1000;
      await front.becomes('Initialised', keys);
      await rig.idle();
      expect(rig.lines('error')).to.have.length(1);
      await expectOnlyThisGone();
    });

    it('a frontend that hides its state: it is treated as gone, and may come back', async () => {
      rig.serve();
      await rig.attach();
      await front.connects();
      const { domid } = rig.guest;
      await front.store.setPermissions(`${front.path}/state`, [{ domid, access: 'n' }]);
      await rig.idle();
      expect(await rig.state('backend')).to.equal('6');
      expect(rig.ledgerOf(rig.backend).mappings).to.equal(0);
      await front.store.setPermissions(`${front.path}/state`, [
        { domid, access: 'n' },
        { domid: rig.backend.domid, access: 'r' },
      ]);
      front.free();
      await front.becomes('Initialising');
      await front.connects();
    });
  });

  it('finds no fault in a frontend that vanishes in the middle of a step, with any seed', async () => {
    for (let seed = 0; seed < 30; seed++) {
      await rig[Symbol.asyncDispose]();
      await start(seed);
      rig.serve();
      await rig.attach();
      await front.sees('InitWait');
      await front.becomes('Initialised', front.share());
      for (let i = 0; i < seed % 6; i++) await rig.store.read(rig.paths.frontend);
      await rig.store.rm(rig.paths.frontend);
      await rig.idle();
      expect(rig.lines('error'), `seed ${seed}`).to.deep.equal([]);
      expect(await rig.state('backend')).to.equal('6');
      front.free();
      rig.expectNothingHeld();
    }
  });

  describe('whose driver fails', () => {
    it('in offer: closes with the reason, and does not try again for a frontend that has not moved', async () => {
      let offers = 0;
      const driver = backendOf({
        offer: () => {
          offers++;
          throw new Error('there is no disk');
        },
        connect: () => {},
      });
      rig.serve(driver);
      await rig.attach();
      await rig.idle();
      await rig.pass(5000);
      expect(offers).to.equal(1);
      expect(await rig.state('backend')).to.equal('6');
      expect(rig.lines('error')).to.deep.equal(['backend: Error: there is no disk']);
      expect(await errorNode()).to.equal('5 Error: there is no disk');
      expect(await rig.detach()).to.equal(true);
    });

    it('in offer, but not for ever: a frontend that closes and comes again is offered it anew', async () => {
      let offers = 0;
      const driver = backendOf({
        offer: () => {
          if (offers++ === 0) throw new Error('not yet');
          return {};
        },
        connect: ({ publish }) => publish({ sectors: 1 }),
      });
      rig.serve(driver);
      await rig.attach();
      await front.sees('Closed');
      await front.becomes('Closed');
      await rig.idle();
      await front.becomes('Initialising');
      await front.connects();
    });

    it('in connect: closes this device alone, and gives back what was mapped', async () => {
      const driver = backendOf({
        connect: () => {
          throw new RangeError('a depth of 1 will not do');
        },
      });
      rig.serve(driver);
      await rig.attach();
      await front.sees('InitWait');
      await front.becomes('Initialised', front.share());
      await front.sees('Closing');
      await rig.idle();
      expect(rig.lines('error')).to.deep.equal(['backend: RangeError: a depth of 1 will not do']);
      await expectOnlyThisGone();
      await front.closes();
      await rig.idle();
      expect(rig.held()).to.deep.equal([]);
    });

    it('to give a key of Connected that has no default', async () => {
      rig.serve(backendOf({ connect: () => {} }));
      await rig.attach();
      await front.sees('InitWait');
      await front.becomes('Initialised', front.share());
      await front.sees('Closing');
      await rig.idle();
      expect(rig.lines('error')).to.have.length(1);
      expect(rig.lines('error')[0]).to.match(/gives no value for the key sectors, which has no default/);
    });

    it('in publish: the call itself throws, for a value that is none of its key’s', async () => {
      let link: BackLink<Vtest> | undefined;
      rig.serve(
        backendOf({
          connect: (given) => {
            link = given;
            given.publish({ sectors: 5 });
          },
        }),
      );
      await rig.attach();
      await front.connects();
      expect(() => link?.publish({ sectors: -1 })).to.throw(RangeError, 'sectors');
      expect(() => link?.publish({ 'max-bytes': 3 } as never)).to.throw(TypeError, 'max-bytes');
      await rig.idle();
      expect(await rig.store.read(`${rig.paths.backend}/sectors`)).to.equal('5');
      expect(link?.own.sectors).to.equal(5);
    });

    it('to answer at all: it is given up after DRAIN_TIMEOUT, with a warning, and the ring is unmapped', async () => {
      rig.serve(
        backendOf({
          connect: ({ serve, publish }) => {
            publish({ sectors: 1 });
            serve(() => new Promise(() => {}));
          },
        }),
      );
      await rig.attach();
      await front.connects();
      ask(1);
      ask(2, 1);
      await rig.idle();
      const closed = front.closes();
      await rig.idle();
      expect(await rig.state('backend')).to.equal('4');
      expect(front.page?.inUse).to.equal(true);
      const began = rig.log.length;
      await closed;
      await rig.idle();
      rig.expectNothingHeld();
      const warnings = rig.log.slice(began).filter(({ level }) => level === 'warning');
      expect(warnings.map(({ text }) => text)).to.deep.equal([
        'waiting for its driver to answer 2 requests (this end is Connected, the other end Closing)',
        `2 requests are still not answered after ${DRAIN_TIMEOUT} ms: they are given up`,
      ]);
    });
  });

  describe('that closes', () => {
    it('waits for the answers that its driver owes, publishes them, and then lets go', async () => {
      let answer: () => void = () => {};
      const events: string[] = [];
      rig.serve(
        backendOf({
          connect: ({ serve, publish, subscription }) => {
            publish({ sectors: 1 });
            subscription.add(() => events.push('subscription ended'));
            serve(
              (req, rsp) =>
                new Promise<void>((resolve) => {
                  answer = () => {
                    rsp.status = req.value + 1;
                    resolve();
                  };
                }),
            );
            return { [Symbol.dispose]: () => events.push('result disposed') };
          },
        }),
      );
      await rig.attach();
      await front.connects();
      ask(6);
      await rig.idle();
      await front.becomes('Closing');
      await rig.idle();
      expect(events).to.deep.equal(['result disposed']);
      expect(await rig.state('backend')).to.equal('4');
      answer();
      await front.sees('Closing');
      expect(events).to.deep.equal(['result disposed', 'subscription ended']);
      expect(front.page?.words[sring.rspProd]).to.equal(1);
      expect((front.page?.words[sring.first] as number) >> 16).to.equal(7);
      await front.becomes('Closed');
      await front.sees('Closed');
      front.free();
      rig.expectNothingHeld();
    });

    it('unsubscribes from an Observable that has not answered when it is given up', async () => {
      let ended = false;
      rig.serve(
        backendOf({
          connect: ({ serve, publish }) => {
            publish({ sectors: 1 });
            serve(
              () =>
                new Observable(() => () => {
                  ended = true;
                }),
            );
          },
        }),
      );
      await rig.attach();
      await front.connects();
      ask(1);
      await rig.idle();
      await front.closes();
      expect(ended).to.equal(true);
    });

    it('hears no more requests once it is leaving', async () => {
      const heard: number[] = [];
      rig.serve(
        backendOf({
          connect: ({ serve, publish }) => {
            publish({ sectors: 1 });
            serve((req) => {
              heard.push(req.value);
            });
          },
        }),
      );
      await rig.attach();
      await front.connects();
      ask(1);
      await rig.idle();
      await front.becomes('Closing');
      await front.sees('Closing');
      ask(2, 1);
      await rig.idle();
      expect(heard).to.deep.equal([1]);
    });

    it('lets a late answer touch nothing that may be another link’s (XSA-374)', async () => {
      let late: (() => number) | undefined;
      rig.serve(
        backendOf({
          connect: ({ serve, publish, grants }) => {
            publish({ sectors: 1 });
            serve((req) => {
              const { gref } = req;
              late = () => grants.copyTo(gref, new Uint8Array(8));
            });
          },
        }),
      );
      await rig.attach();
      await front.connects();
      ask(1);
      await rig.idle();
      await front.closes();
      expect(() => late?.()).to.throw('has ended');
      rig.expectNothingHeld();
    });

    it('is not kept from it by a driver whose connect never resolves, and disposes of what it makes too late', async () => {
      let resolve: (value: Disposable) => void = () => {};
      let ended = false;
      let disposed = false;
      rig.serve(
        backendOf({
          connect: ({ subscription }) => {
            subscription.add(() => {
              ended = true;
            });
            return new Promise<Disposable>((done) => {
              resolve = done;
            });
          },
        }),
      );
      await rig.attach();
      await front.sees('InitWait');
      await front.becomes('Initialised', front.share());
      await rig.idle();
      await front.closes();
      expect(ended).to.equal(true);
      resolve({
        [Symbol.dispose]: () => {
          disposed = true;
        },
      });
      await rig.idle();
      expect(disposed).to.equal(true);
      rig.expectNothingHeld();
    });

    it('is not kept from it by a driver whose offer never resolves', async () => {
      rig.serve(backendOf({ offer: () => new Promise(() => {}), connect: () => {} }));
      await rig.attach();
      await rig.idle();
      expect(await rig.detach()).to.equal(true);
      await rig.idle();
      rig.expectNothingHeld();
    });

    it('survives a driver that throws in every clean-up', async () => {
      rig.serve(
        backendOf({
          connect: ({ publish, subscription }) => {
            publish({ sectors: 1 });
            subscription.add(() => {
              throw new Error('one');
            });
            return {
              [Symbol.dispose]: () => {
                throw new Error('two');
              },
            };
          },
        }),
      );
      await rig.attach();
      await front.connects();
      await front.closes();
      await rig.idle();
      rig.expectNothingHeld();
      expect(rig.lines('error').join('; ')).to.match(/two/).and.match(/one/);
    });
  });

  it('offers what its domain was started with instead of what its driver says, within the key’s bounds', async () => {
    await rig.attach({ mode: 'r' });
    let seen: unknown;
    rig.backend.container.bind(Offer).toConstantValue({ values: { 'max-bytes': 99 } });
    rig.serve(
      backendOf({
        offer: ({ toolstack }) => {
          seen = toolstack;
          return { 'max-bytes': 77 };
        },
        connect: ({ own, publish, peer }) => {
          publish({ sectors: 3 });
          seen = [seen, own, peer];
        },
      }),
    );
    await front.sees('InitWait');
    await front.becomes('Initialised', { ...front.share(), depth: '4' });
    await front.sees('Connected');
    expect(seen).to.deep.equal([{ mode: 'r' }, { 'max-bytes': 99, sectors: 3 }, { depth: 4 }]);
    expect(await rig.store.read(`${rig.paths.backend}/max-bytes`)).to.equal('99');
  });

  it('publishes what its domain was started with, also when its driver says otherwise later', async () => {
    let link: BackLink<Vtest> | undefined;
    rig.backend.container.bind(Offer).toConstantValue({ values: { sectors: 64 } });
    rig.serve(
      backendOf({
        connect: (given) => {
          link = given;
        },
      }),
    );
    await rig.attach();
    await front.connects();
    expect(await rig.store.read(`${rig.paths.backend}/sectors`)).to.equal('64');
    link?.publish({ sectors: 65 });
    await rig.idle();
    expect(await rig.store.read(`${rig.paths.backend}/sectors`)).to.equal('64');
  });

  it('refuses what its domain was started with when its class has no such key', async () => {
    rig.backend.container.bind(Offer).toConstantValue({ values: { sector: 64 } });
    rig.serve();
    await rig.attach();
    await rig.idle();
    expect(rig.lines('error')).to.deep.equal([
      `backend: TypeError: the domain's offer for backend/vtest/1/0 writes the key sector, which its protocol does not declare`,
    ]);
  });

  it('is not Connected to a ring that the frontend has replaced meanwhile', async () => {
    let resolve: () => void = () => {};
    rig.serve(
      backendOf({
        connect: ({ publish }) => {
          publish({ sectors: 1 });
          return new Promise<void>((done) => {
            resolve = done;
          });
        },
      }),
    );
    await rig.attach();
    await front.sees('InitWait');
    await front.becomes('Initialised', front.share());
    await rig.idle();
    const [old, oldChannel] = [front.page, front.channel];
    // The same state again, with another ring: no state tells of it.
    await front.becomes('Initialised', front.share());
    await rig.idle();
    resolve();
    await rig.idle();
    expect(await rig.state('backend')).to.equal('2');
    expect(old?.inUse).to.equal(false);
    expect(front.page?.inUse).to.equal(true);
    resolve();
    await front.sees('Connected');
    old?.[Symbol.dispose]();
    oldChannel?.[Symbol.dispose]();
    await front.closes();
    await rig.idle();
    rig.expectNothingHeld();
  });

  it('does not come back to a device that the toolstack takes offline meanwhile', async () => {
    let resolve: () => void = () => {};
    let offers = 0;
    rig.serve(
      backendOf({
        offer: () =>
          new Promise((done) => {
            offers++;
            resolve = () => done({});
          }),
        connect: ({ publish }) => publish({ sectors: 1 }),
      }),
    );
    await rig.attach();
    await rig.idle();
    resolve();
    await front.closes();
    await front.becomes('Initialising');
    await rig.idle();
    expect(offers).to.equal(2);
    await rig.store.write(`${rig.paths.backend}/online`, '0');
    resolve();
    await rig.idle();
    expect(await rig.state('backend')).to.equal('6');
  });

  it('says again what it is when publish is called on a connected device, with the keys in the same transaction', async () => {
    let link: BackLink<Vtest> | undefined;
    rig.serve(
      backendOf({
        connect: (given) => {
          link = given;
          given.publish({ sectors: 5 });
        },
      }),
    );
    await rig.attach();
    await front.connects();
    await rig.idle();
    rig.log.length = 0;
    link?.publish({ sectors: 6 });
    link?.publish({ sectors: 7 });
    await rig.idle();
    expect(await rig.store.read(`${rig.paths.backend}/sectors`)).to.equal('7');
    expect(rig.moves()).to.deep.equal(['backend: Connected again']);
  });

  describe('of a hostile frontend', () => {
    it('does bounded work for 10^4 changes of state, and remembers only the last (XSA-349)', async function () {
      this.timeout(60_000);
      let connects = 0;
      rig.serve(
        backendOf({
          connect: async ({ publish }) => {
            connects++;
            publish({ sectors: 1 });
            await new Promise((resolve) => setImmediate(resolve));
          },
        }),
      );
      await rig.attach();
      await front.sees('InitWait');
      const keys = front.share();
      const flips = 10_000;
      const pending: Promise<void>[] = [];
      await front.becomes('Initialised', keys);
      for (let i = 0; i < flips; i++) {
        pending.push(front.store.write(`${front.path}/state`, i % 2 === 0 ? '5' : '3'));
        if (pending.length >= 16) await pending.shift();
      }
      await Promise.all(pending);
      await front.closes();
      await rig.idle();
      rig.expectNothingHeld();
      expect(connects).to.be.lessThan(flips / 10);
      expect(rig.log.length).to.be.lessThan(flips / 2);
    });

    it('survives quick toggling between Connected and Closed, with several seeds (XSA-350)', async function () {
      this.timeout(60_000);
      for (let seed = 0; seed < 10; seed++) {
        await rig[Symbol.asyncDispose]();
        await start(seed);
        const open = new Set<object>();
        rig.serve(
          backendOf({
            connect: ({ publish, serve }) => {
              publish({ sectors: 1 });
              serve(() => {});
              const worker = { [Symbol.dispose]: () => open.delete(worker) };
              open.add(worker);
              expect(open.size).to.equal(1);
              return worker;
            },
          }),
        );
        await rig.attach();
        await front.sees('InitWait');
        const keys = front.share();
        for (let i = 0; i < 100; i++) {
          await front.becomes((['Connected', 'Closed', 'Initialising'] as const)[i % 3] ?? 'Closed', keys);
        }
        await front.closes();
        await rig.idle();
        rig.expectNothingHeld();
        expect(open.size).to.equal(0);
        expect(rig.lines('error'), `seed ${seed}`).to.deep.equal([]);
      }
    });

    it('goes through the fatal and the orderly end of the same link once each (XSA-374)', async () => {
      let disposals = 0;
      rig.serve(
        backendOf({
          connect: ({ publish, serve }) => {
            publish({ sectors: 1 });
            serve(() => {
              throw new PeerFault('this');
            });
            return { [Symbol.dispose]: () => disposals++ };
          },
        }),
      );
      await rig.attach();
      await front.connects();
      ask(1);
      await rig.idle();
      await front.closes();
      expect(await rig.detach()).to.equal(true);
      await rig.idle();
      expect(disposals).to.equal(1);
      expect(rig.lines('error')).to.deep.equal(['backend: PeerFault: this']);
      rig.expectNothingHeld();
    });
  });

  it('answers with DoublerBackend’s arithmetic, by hand', async () => {
    rig.serve(DoublerBackend);
    await rig.attach();
    await front.connects();
    ask(21, 3);
    await rig.idle();
    expect(front.page?.words[sring.first]).to.equal(3 | (42 << 16));
  });
});
