import { catchError, concatMap, EMPTY, from, merge, type Observable, of } from 'rxjs';
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

/**
 * Removes, below a kind of backend's directory, those of frontends whose domains are gone: libxl takes away what it knows, which other
 * kinds are not. Emits each path that it has removed, and goes on until it is unsubscribed from.
 * @param directory `backend/splitring-vbd`
 */
export const sweep$ = (store: XenStore, directory: string): Observable<string> => {
  const sweep = async (): Promise<readonly string[]> => {
    const removed: string[] = [];
    const domids = (await store.directory(directory)) ?? [];
    for (const domid of domids) {
      if (!(await isGone(store, domid))) continue;
      await store.rm(`${directory}/${domid}`);
      removed.push(`${directory}/${domid}`);
    }
    if (removed.length > 0 && removed.length === domids.length) await store.rm(directory);
    return removed;
  };
  // Who may not watch for the end of domains hears of it by the handshake's last word below the directory.
  const released$ = store
    .watch$('@releaseDomain')
    .pipe(catchError((error) => (error instanceof XenError ? EMPTY : of(''))));
  return merge(released$, store.watch$(directory)).pipe(
    latestMap(sweep),
    concatMap((removed) => from(removed)),
  );
};
