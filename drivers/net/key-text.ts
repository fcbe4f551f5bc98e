import type { Observable } from 'rxjs';
import { latestMap, XenError, type XenStore } from '../../core/index.js';

/**
 * What a key holds, now and whenever it changes; undefined when it is not there, or may not be read any more because its domain is gone.
 * However often it changes, one read is under way: the other end may write without end (XSA-349).
 */
export const keyText$ = (store: XenStore, path: string): Observable<string | undefined> =>
  store.watch$(path).pipe(
    latestMap(async () => {
      try {
        return await store.read(path);
      } catch (error) {
        if (error instanceof XenError && error.code === 'EACCES') return undefined;
        throw error;
      }
    }),
  );
