// Long, since all of it is run twice: from a guest and from the store’s own program.
import { expect } from 'chai';
import fc from 'fast-check';
import { firstValueFrom, take, toArray } from 'rxjs';
import { asDomid } from '../../core/abi/units.js';
import type { StoreOperations } from '../../core/domain/xenstore.js';
import { Disconnected, XenError } from '../../core/errors.js';
import { DirectXenStore, RingXenStore, type WireXenStore } from '../../xenstore/index.js';
import { PAYLOAD_MAX } from '../../xenstore/wire.js';
import { RETRIES_MAX } from '../../xenstore/wire-store.js';
import { failure } from '../support/failure.js';
import { StoreMachine } from '../support/store-machine.js';

describe('a client of the store', () => {
  let machine: StoreMachine;
  let dom0: DirectXenStore;

  beforeEach(async () => {
    machine = new StoreMachine();
    dom0 = new DirectXenStore(machine.server);
  });

  /** A guest that owns its directory. */
  const guest = async (domid: number): Promise<RingXenStore> => {
    const store = machine.ring(domid);
    const path = `/local/domain/${domid}`;
    await machine.finish(dom0.mkdir(path));
    await machine.finish(dom0.setPermissions(path, [{ domid: asDomid(domid), access: 'n' }]));
    return store;
  };

  const clients: readonly (readonly [string, () => Promise<WireXenStore>])[] = [
    ['over a ring page', () => guest(1)],
    ['in the store’s own program', async () => dom0],
  ];
  for (const [where, client] of clients) {
    describe(where, () => {
      let store: WireXenStore;
      const finish = <T>(work: Promise<T>): Promise<T> => machine.finish(work);

      beforeEach(async () => {
        store = await client();
      });

      it('writes and reads text in UTF-8, with a mark at its beginning too', async () => {
        for (const value of ['', 'plain', 'Grüße ☃ 𝄞', '\ufeffmarked', 'a\0b']) {
          await finish(store.write('name', value));
          expect(await finish(store.read('name'))).to.equal(value);
        }
      });

      it('says undefined for a node that is not there, in every question', async () => {
        expect(await finish(store.read('none'))).to.equal(undefined);
        expect(await finish(store.directory('none'))).to.equal(undefined);
        expect(await finish(store.getPermissions('none'))).to.equal(undefined);
      });

      it('takes rm of a missing node for done, also when its parent is missing', async () => {
        await finish(store.rm('none'));
        await finish(store.rm('none/deep'));
        await finish(store.write('a/b', ''));
        await finish(store.rm('a'));
        expect(await finish(store.read('a/b'))).to.equal(undefined);
      });

      it('makes directories and lists them', async () => {
        await finish(store.mkdir('d/b'));
        await finish(store.mkdir('d/a'));
        await finish(store.mkdir('d/a'));
        expect(await finish(store.directory('d'))).to.deep.equal(['b', 'a']);
        expect(await finish(store.directory('d/a'))).to.deep.equal([]);
      });

      it('lists a directory that is longer than a reply (DIRECTORY_PART)', async () => {
        const names = Array.from({ length: 700 }, (_, i) => `node-number-${i}`);
        for (const name of names) await finish(store.mkdir(`d/${name}`));
        expect(await finish(store.directory('d'))).to.deep.equal(names);
      });

      it('lists such a directory as it was at one moment, while others change it', async () => {
        const names = Array.from({ length: 700 }, (_, i) => `node-number-${i}`);
        for (const name of names) await finish(store.mkdir(`d/${name}`));
        const listing = store.directory('d');
        const base = store === dom0 ? '/local/domain/0' : '/local/domain/1';
        const rival = machine.dom0;
        for (let i = 0; i < 3; i++) {
          for (let step = 0; step < 9; step++) {
            machine.step();
            await new Promise((resolve) => setImmediate(resolve));
          }
          rival.do('RM', `${base}/d/${names[i]}`);
          rival.do('MKDIR', `${base}/d/${names[i]}`);
        }
        const listed = await finish(listing);
        expect(listed).to.have.length(700);
        expect(new Set(listed).size).to.equal(700);
      });

      it('sets and reads permissions', async () => {
        await finish(store.write('p', ''));
        const own = store === dom0 ? 0 : 1;
        machine.states.set(7, 'running');
        const permissions = [
          { domid: asDomid(own), access: 'n' },
          { domid: asDomid(7), access: 'b' },
        ] as const;
        await finish(store.setPermissions('p', permissions));
        expect(await finish(store.getPermissions('p'))).to.deep.equal(permissions);
      });

      it('says in an error what was asked and of which path', async () => {
        const error = await failure(finish(store.write('a//b', 'x')));
        expect(error).to.be.instanceOf(XenError);
        expect(error.message).to.equal('WRITE a//b: EINVAL');
        expect(await failure(finish(store.setPermissions('none', [{ domid: asDomid(0), access: 'n' }])))).to.include({
          message: 'SET_PERMS none: ENOENT',
        });
      });

      it('refuses what would end the connection or change its meaning: more than a payload, a NUL in a path', async () => {
        expect(await failure(finish(store.write('a', 'x'.repeat(PAYLOAD_MAX))))).to.include({ code: 'E2BIG' });
        expect(await failure(finish(store.write('a\0b', 'x')))).to.include({ code: 'EINVAL' });
        expect(await failure(firstValueFrom(store.watch$('a\0b')))).to.include({ code: 'EINVAL' });
        await finish(store.write('a', 'x'.repeat(PAYLOAD_MAX - 2)));
        expect(await finish(store.read('a'))).to.have.length(PAYLOAD_MAX - 2);
      });

      it('keeps many requests under way, more than the ring holds, each with its own answer', async () => {
        const writes = Array.from({ length: 100 }, (_, i) => store.write(`n/${i}`, `${i}`.repeat(100)));
        const reads = Array.from({ length: 100 }, (_, i) => store.read(`n/${i}`));
        await finish(Promise.all(writes));
        const values = await finish(Promise.all(reads));
        for (const [i, value] of values.entries()) expect(value).to.equal(`${i}`.repeat(100));
      });

      it('watches: once at subscription, then with each change at or below', async () => {
        const seen: string[] = [];
        const subscription = store.watch$('w').subscribe((path) => seen.push(path));
        expect(seen).to.deep.equal([]);
        await machine.settle();
        expect(seen).to.deep.equal(['w']);
        await finish(store.write('w/x', '1'));
        expect(seen).to.deep.equal(['w', 'w/x']);
        await finish(store.rm('w'));
        expect(seen).to.deep.equal(['w', 'w/x', 'w']);
        subscription.unsubscribe();
      });

      it('sees its own event before its own write is answered', async () => {
        const order: string[] = [];
        store.watch$('w').subscribe((path) => order.push(path));
        await machine.settle();
        await finish(store.write('w', '1').then(() => order.push('written')));
        expect(order).to.deep.equal(['w', 'w', 'written']);
      });

      it('gives each subscription a watch of its own, and takes it away with UNWATCH', async () => {
        const domid = asDomid(store === dom0 ? 0 : 1);
        const watch$ = store.watch$('w');
        const [first, second]: [string[], string[]] = [[], []];
        const one = watch$.subscribe((path) => first.push(path));
        const two = watch$.subscribe((path) => second.push(path));
        await machine.settle();
        expect(machine.server.openBy(domid).watches).to.equal(2);
        one.unsubscribe();
        await finish(store.write('w', 'x'));
        expect(first).to.deep.equal(['w']);
        expect(second).to.deep.equal(['w', 'w']);
        two.unsubscribe();
        await machine.settle();
        expect(machine.server.openBy(domid).watches).to.equal(0);
      });

      it('drops what was on its way to a watch that has ended', async () => {
        const seen: string[] = [];
        const subscription = store.watch$('w').subscribe((path) => seen.push(path));
        await machine.settle();
        const write = store.write('w', 'x');
        subscription.unsubscribe();
        await finish(write);
        await machine.settle();
        expect(seen).to.deep.equal(['w']);
      });

      it('ends a watch before it is even set', async () => {
        store.watch$('w').subscribe().unsubscribe();
        await machine.settle();
        expect(machine.server.openBy(asDomid(store === dom0 ? 0 : 1)).watches).to.equal(0);
      });

      it('can end a watch and set another inside of an event', async () => {
        const seen = await finish(firstValueFrom(store.watch$('w').pipe(take(1), toArray())));
        expect(seen).to.deep.equal(['w']);
        await machine.settle();
        expect(machine.server.openBy(asDomid(store === dom0 ? 0 : 1)).watches).to.equal(0);
      });

      it('fails a watch of a path that cannot be', async () => {
        expect(await failure(finish(firstValueFrom(store.watch$('a//b'))))).to.include({ code: 'EINVAL' });
      });

      it('commits a transaction whole, and returns what its body does', async () => {
        const result = await finish(
          store.transaction(async (tx) => {
            await tx.write('t/a', '1');
            await tx.write('t/b', '2');
            expect(await tx.read('t/a')).to.equal('1');
            expect(await store.read('t/a')).to.equal(undefined);
            return 'done';
          }),
        );
        expect(result).to.equal('done');
        expect(await finish(store.directory('t'))).to.deep.equal(['a', 'b']);
      });

      it('abandons a transaction whose body throws, and passes the error on', async () => {
        const wrong = new Error('changed my mind');
        const attempt = store.transaction(async (tx) => {
          await tx.write('t', '1');
          throw wrong;
        });
        expect(await failure(finish(attempt))).to.equal(wrong);
        expect(await finish(store.read('t'))).to.equal(undefined);
        expect(machine.server.openBy(asDomid(store === dom0 ? 0 : 1)).transactions).to.equal(0);
      });

      it('runs the body again when others got in between (EAGAIN), until it succeeds', async () => {
        await finish(store.write('counter', '0'));
        const rival = machine.dom0;
        const path = store === dom0 ? '/local/domain/0/counter' : '/local/domain/1/counter';
        let tries = 0;
        await finish(
          store.transaction(async (tx) => {
            const value = Number(await tx.read('counter'));
            if (++tries <= 4) rival.do('WRITE', path, String(value + 100));
            await tx.write('counter', String(value + 1));
          }),
        );
        expect(tries).to.equal(5);
        expect(await finish(store.read('counter'))).to.equal('401');
      });

      it('gives up after a bound of tries, and says so', async () => {
        await finish(store.write('counter', '0'));
        const rival = machine.dom0;
        const path = store === dom0 ? '/local/domain/0/counter' : '/local/domain/1/counter';
        let tries = 0;
        const hopeless = store.transaction(async (tx) => {
          await tx.read('counter');
          rival.do('WRITE', path, String(++tries));
        });
        const error = await failure(finish(hopeless));
        expect(error).to.include({ code: 'EAGAIN' });
        expect(error.message).to.contain(`${RETRIES_MAX} tries`);
        expect(tries).to.equal(RETRIES_MAX);
      });

      it('begins a transaction anew in which a commit of another leaves a node without its parent', async () => {
        await finish(store.write('a/b/c', 'x'));
        const root = store === dom0 ? '' : '/local/domain/1/';
        let runs = 0;
        await finish(
          store.transaction(async (tx) => {
            runs++;
            // Seen before the other's commit, and its parent after it: to be removed from where it is not.
            await tx.read('a/b/c');
            if (runs === 1) await dom0.rm(`${root}a`);
            await tx.rm('a/b/c');
          }),
        );
        expect(runs).to.equal(2);
        expect(await finish(store.read('a'))).to.equal(undefined);
      });

      it('begins a transaction anew that has changed a node of a domain that is gone by then', async () => {
        machine.boot(9);
        const path = '/local/domain/1/of-nine';
        await finish(dom0.write(path, 'x'));
        await finish(
          dom0.setPermissions(path, [
            { domid: asDomid(9), access: 'n' },
            { domid: asDomid(1), access: 'b' },
          ]),
        );
        const found: (string | undefined)[] = [];
        await finish(
          store.transaction(async (tx) => {
            found.push(await tx.read(path));
            if (found.at(-1) === undefined) return;
            await tx.write(path, 'y');
            machine.states.delete(9);
            machine.server.checkDomains();
          }),
        );
        expect(found).to.deep.equal(['x', undefined]);
      });

      it('passes on what a transaction is refused twice', async () => {
        let runs = 0;
        const attempt = store.transaction(async (tx) => {
          runs++;
          await tx.setPermissions('none', [{ domid: asDomid(1), access: 'n' }]);
        });
        expect(await failure(finish(attempt)))
          .to.be.instanceOf(XenError)
          .with.property('code', 'ENOENT');
        expect(runs).to.equal(2);
      });

      it('lets nothing more be done in a transaction that has ended', async () => {
        let kept: StoreOperations | undefined;
        await finish(
          store.transaction(async (tx) => {
            kept = tx;
          }),
        );
        expect(await failure(kept?.write('late', '') ?? Promise.resolve())).to.be.instanceOf(TypeError);
        expect(await finish(store.read('late'))).to.equal(undefined);
      });

      it('counts right under concurrent transactions, in whatever order the tasks run', async () => {
        await finish(store.write('counter', '0'));
        await fc.assert(
          fc.asyncProperty(fc.array(fc.nat(), { minLength: 1, maxLength: 50 }), async (picks) => {
            let at = 0;
            machine.pick = (count) => (picks[at++ % picks.length] ?? 0) % count;
            const before = Number(await finish(store.read('counter')));
            const add = (other: WireXenStore, path: string) =>
              other.transaction(async (tx) => {
                const value = Number(await tx.read(path));
                await tx.write(path, String(value + 1));
              });
            const path = store === dom0 ? '/local/domain/0/counter' : '/local/domain/1/counter';
            const all = [add(store, 'counter'), add(dom0, path), add(store, path), add(dom0, path)];
            await finish(Promise.all(all));
            expect(await finish(store.read('counter'))).to.equal(String(before + 4));
          }),
          { numRuns: 20 },
        );
      });

      it('rejects what waits with Disconnected when the store ends, and everything after', async () => {
        const seen: string[] = [];
        store.watch$('w').subscribe({ next: () => {}, error: (error: Error) => seen.push(error.name) });
        await machine.settle();
        const waiting: Promise<unknown>[] = [store.read('a'), store.transaction(async () => {}), store.directory('b')];
        machine.server[Symbol.dispose]();
        const ends = await finish(Promise.allSettled(waiting));
        for (const end of ends) expect(end).to.have.property('reason').that.is.instanceOf(Disconnected);
        expect(await failure(finish(store.read('a')))).to.be.instanceOf(Disconnected);
        expect(seen).to.deep.equal(['Disconnected']);
        expect(await failure(firstValueFrom(store.watch$('w')))).to.be.instanceOf(Disconnected);
      });

      it('rejects what waits with Disconnected when it is closed, and completes its watches', async () => {
        const seen: string[] = [];
        store.watch$('w').subscribe({ complete: () => seen.push('complete') });
        await machine.settle();
        const waiting = store.read('a');
        store[Symbol.dispose]();
        expect(await failure(waiting)).to.be.instanceOf(Disconnected);
        expect(await failure(store.read('a'))).to.be.instanceOf(Disconnected);
        expect(seen).to.deep.equal(['complete']);
        store[Symbol.dispose]();
      });
    });
  }

  it('of dom0 introduces and releases domains', async () => {
    const made = machine.create(4);
    expect(await machine.finish(dom0.isIntroduced(made.domid))).to.equal(false);
    const seen: string[] = [];
    dom0.watch$('@introduceDomain').subscribe((path) => seen.push(path));
    await machine.settle();
    await machine.finish(dom0.introduce(made.domid, made.port));
    expect(await machine.finish(dom0.isIntroduced(made.domid))).to.equal(true);
    expect(seen).to.deep.equal(['@introduceDomain', '@introduceDomain']);
    expect(await machine.finish(dom0.domainPath(made.domid))).to.equal('/local/domain/4');
    await machine.finish(dom0.release(made.domid));
    expect(await failure(machine.finish(dom0.release(made.domid)))).to.include({ message: 'RELEASE 4: ENOENT' });
    expect(await failure(machine.finish((await guest(1)).introduce(made.domid, made.port)))).to.include({
      code: 'EACCES',
    });
  });

  it('is told why the store has dropped it', async () => {
    const made = machine.boot(4);
    const store = new RingXenStore(made.page, made.channel);
    await machine.finish(store.read('x').catch(() => {}));
    const waiting = store.read('x');
    made.setWord(2052, 0);
    made.channel.notify();
    const error = await failure(machine.finish(waiting));
    expect(error).to.be.instanceOf(Disconnected);
    expect(error.message).to.equal('the store no longer serves this domain: ringIndex');
  });

  it('sends nothing before a store that comes later is there', async () => {
    const made = machine.create(4);
    for (const at of [2048, 2052, 2056, 2060]) made.setWord(at, 1000);
    made.setWord(2068, 1);
    const store = new RingXenStore(made.page, made.channel);
    const path = store.domainPath(made.domid);
    expect(made.word(2052)).to.equal(1000);
    machine.server.introduce(made.domid, made.port);
    expect(await machine.finish(path)).to.equal('/local/domain/4');
  });
});
