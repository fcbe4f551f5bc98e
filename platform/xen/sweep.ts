import { merge, Observable, Subject, type Subscription } from 'rxjs';
import { XenError, type XenStore } from '../../core/index.js';
import { latestMap } from '../../core/xenbus/latest-map.js';

/** Whether a domain is known to be gone; false where this domain may not ask. */
const isGone = async (store: XenStore, domid: string): Promise<boolean> => {
  try {
    return (await store.directory(`/local/domain/${domid}`)) === undefined;
  } catch (error) {
    if (error instanceof XenError) return false;
    throw error;
  }
};

/** Removes a directory unless something has been made in it meanwhile: a guest that reboots is attached to under another number. */
const removeEmpty = (store: XenStore, directory: string): Promise<void> =>
  store.transaction(async (within) => {
    if ((await within.directory(directory))?.length === 0) await within.rm(directory);
  });

/**
 * Removes, below a kind of backend's directory, those of frontends whose domains are gone, and the reasons of their failures: libxl takes
 * away what it knows, which other kinds are not. Emits each path that it has removed, and goes on until it is unsubscribed from.
 * @param directory `backend/splitring-vbd`
 */
export const sweep$ = (store: XenStore, directory: string): Observable<string> =>
  new Observable((subscriber) => {
    /** Told of the end of each domain that has a directory: its own goes. */
    const ends = new Map<string, Subscription>();
    const again$ = new Subject<void>();
    const sweep = async (): Promise<void> => {
      const domids = (await store.directory(directory)) ?? [];
      const left = new Set(domids);
      for (const domid of domids) {
        if (!(await isGone(store, domid))) continue;
        await store.rm(`${directory}/${domid}`);
        await store.rm(`error/${directory}/${domid}`);
        left.delete(domid);
        subscriber.next(`${directory}/${domid}`);
      }
      if (domids.length > 0 && left.size === 0) await removeEmpty(store, directory);
      for (const [domid, end] of ends) {
        if (left.has(domid)) continue;
        end.unsubscribe();
        ends.delete(domid);
      }
      for (const domid of left) {
        if (ends.has(domid) || subscriber.closed) continue;
        const end = store.watch$(`/local/domain/${domid}/domid`).subscribe({
          next: () => again$.next(),
          // Who may not watch it hears of it by the handshake's last word below the directory.
          error: () => {},
        });
        ends.set(domid, end);
        subscriber.add(end);
      }
    };
    subscriber.add(
      merge(store.watch$(directory), again$)
        .pipe(latestMap(sweep))
        .subscribe({ error: (error) => subscriber.error(error) }),
    );
  });
