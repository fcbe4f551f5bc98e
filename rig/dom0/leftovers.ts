import type { Guest } from './guest.js';
import { check, run, until } from './shell.js';

/**
 * Nothing is left of a domain that has ended: Xen has forgotten it, which it does not as long as anybody has a page of it mapped; dom0 has no
 * channel to it; the store names it nowhere.
 */
export const nothingLeftOf = async ({ domid, name }: Guest): Promise<void> => {
  const list = await run('xl', 'list');
  check(
    !list.includes('(null)'),
    `pages of a domain that has ended are still mapped: ${list.split('\n').slice(2).join('; ')}`,
  );
  const ports = async (): Promise<string> =>
    (await run('lsevtchn', '0'))
      .split('\n')
      .filter((line) => new RegExp(`\\bdomain:? *${domid}\\b|dom\\w* ${domid},`, 'i').test(line))
      .join('; ');
  await until(`the end of dom0's channels to ${name}`, async () => ((await ports()) === '' ? true : undefined), 10);
  const nodes = async (): Promise<string> =>
    (await run('xenstore-ls', '-f'))
      .split('\n')
      .filter((line) => new RegExp(`^/(local/domain|libxl|vm)/${domid}(/| )|/backend/[^/]+/${domid}(/| )`).test(line))
      .join('; ');
  let last = '';
  const empty = async (): Promise<true | undefined> => {
    last = await nodes();
    return last === '' ? true : undefined;
  };
  await until(`a store without ${name}`, empty, 10).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${last}`);
  });
};
