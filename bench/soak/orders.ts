import { distinctUntilChanged, type Observable, switchMap, tap } from 'rxjs';
import type { Domain, XenStore } from '../../core/index.js';
import { ORDERS } from './protocol.js';

/** A domain's orders, as they come; those to end its thread are obeyed here. */
const orders$ = (store: XenStore): Observable<string | undefined> =>
  store.watch$(ORDERS).pipe(
    switchMap(() => store.read(ORDERS)),
    distinctUntilChanged(),
    tap((order) => {
      if (order === 'exit') process.exit(3);
      if (order === 'throw') {
        setImmediate(() => {
          throw new Error('was told to throw');
        });
      }
    }),
  );

/** Obeys for as long as the domain lives. */
export const obey = (domain: Domain, store: XenStore, stop: () => void): void =>
  domain.subscription.add(orders$(store).subscribe((order) => order === 'stop' && stop()));
