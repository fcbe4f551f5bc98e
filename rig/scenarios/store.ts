import { firstValueFrom, take, timeout, toArray } from 'rxjs';
import { type StoreOperations, XenError } from '../../core/index.js';
import { openStore, type StoreWay } from '../../platform/xen/index.js';
import { check, run, same } from '../dom0/shell.js';

const base = '/local/domain/0/data/rig';

/** Our client of the store, one way: reads, writes, lists, transactions, watches and refusals, checked by Xen's own tools. */
const through = async (way: StoreWay): Promise<number> => {
  const { store, [Symbol.dispose]: close } = await openStore(way);
  const here = `${base}/${way}`;
  await run('xenstore-write', `${here}/theirs`, 'from xenstore-write');
  same('what xenstore-write wrote', (await store.read(`${here}/theirs`)) ?? '', 'from xenstore-write');
  await store.write(`${here}/ours`, 'from splitring');
  same('what xenstore-read reads', await run('xenstore-read', `${here}/ours`), 'from splitring');
  same('a relative path', (await store.read(`data/rig/${way}/theirs`)) ?? '', 'from xenstore-write');
  check((await store.read(`${here}/none`)) === undefined, 'a node that is not there is read');
  const refused = await store.read(`${here}//x`).catch((error: unknown) => error);
  check(refused instanceof XenError && refused.code === 'EINVAL', `a bad path is not EINVAL but ${refused}`);

  // More names than one reply holds.
  const names = Array.from({ length: 300 }, (_, i) => `name-of-a-child-${i}`);
  await store.transaction(async (t) => {
    for (const name of names) await t.write(`${here}/many/${name}`, '');
  });
  check((await store.directory(`${here}/many`))?.length === names.length, 'a long listing is not whole');

  // A watch fires at once, for a change by others, and for its own.
  const events = firstValueFrom(store.watch$(`${here}/watched`).pipe(take(3), toArray(), timeout(20_000)));
  await new Promise((resolve) => setTimeout(resolve, 100));
  await run('xenstore-write', `${here}/watched/a`, '1');
  await store.write(`${here}/watched`, '2');
  const seen = await events;
  check(seen.at(-1) === `${here}/watched`, `the watch saw ${seen.join(', ')}`);

  // Many watches come and go beside requests: this is what a shared descriptor of /dev/xen/xenbus stops for ever at.
  await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      await firstValueFrom(store.watch$(`${here}/storm/${i}`).pipe(timeout(20_000)));
      await store.write(`${here}/storm/${i}`, 'x');
      await store.read(`${here}/storm/${i}`);
    }),
  );

  // A transaction that others disturb runs again, and none of its tries shows.
  let tries = 0;
  const add = async (t: StoreOperations): Promise<void> => {
    tries++;
    const before = Number(await t.read(`${here}/count`));
    if (tries === 1) await run('xenstore-write', `${here}/count`, '10');
    await t.write(`${here}/count`, String(before + 1));
  };
  await store.write(`${here}/count`, '1');
  await store.transaction(add);
  same('a counter that another changed meanwhile', (await store.read(`${here}/count`)) ?? '', '11');
  check(tries === 2, `the transaction ran ${tries} times`);
  const given = await store
    .transaction(async (t) => {
      await t.write(`${here}/given-up`, 'x');
      throw new Error('given up');
    })
    .catch((error: unknown) => String(error));
  check(
    given === 'Error: given up' && (await store.read(`${here}/given-up`)) === undefined,
    'what was given up is there',
  );
  await store.rm(here);
  check((await store.read(here)) === undefined, 'what was removed is there');
  close();
  return seen.length + 40;
};

/** (e) The store's client over both ways to the store. */
export const store = async (): Promise<string> => {
  const events = (await through('socket')) + (await through('xenbus'));
  return `the socket and /dev/xen/xenbus: values, long listings, transactions with a conflict, ${events} events of watches`;
};
