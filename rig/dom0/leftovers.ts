import type { Guest } from './guest.js';
import { run, until } from './shell.js';

/**
 * Nothing is left of a domain that has ended: Xen has forgotten it, which it does not as long as anybody has a page of it mapped; dom0 has no
 * channel to it; the store names it nowhere.
 */
export const nothingLeftOf = async ({ domid, name }: Guest): Promise<void> => {
  // A domain that ends is there a moment longer, without its name.
  const zombies = async (): Promise<string> =>
    (await run('xl', 'list'))
      .split('\n')
      .filter((line) => line.startsWith('(null)'))
      .join('; ');
  await until(
    `the end of ${name}, of which nobody has a page mapped`,
    async () => ((await zombies()) === '' ? true : undefined),
    20,
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
