import { createRequire } from 'node:module';
import type * as rxjs from 'rxjs';

/** Another copy of rxjs than ours: what an author's own is beside the one in the published package. */
export const otherRxjs = (): typeof rxjs => {
  const require = createRequire(import.meta.url);
  const isRxjs = (path: string): boolean => /[/\\]rxjs[/\\]/.test(path);
  const ours = Object.entries(require.cache).filter(([path]) => isRxjs(path));
  for (const [path] of ours) delete require.cache[path];
  try {
    return require('rxjs') as typeof rxjs;
  } finally {
    for (const path of Object.keys(require.cache).filter(isRxjs)) delete require.cache[path];
    Object.assign(require.cache, Object.fromEntries(ours));
  }
};
