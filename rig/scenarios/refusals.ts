import { Backend, CLI, splitring } from '../dom0/backend.js';
import { Guest } from '../dom0/guest.js';
import { makeDisk } from '../dom0/images.js';
import { nothingLeftOf } from '../dom0/leftovers.js';
import { check, failing, run, until } from '../dom0/shell.js';

/** The command says one line that fits, and ends with a code. */
const refused = async (pattern: RegExp, code: number, ...args: readonly string[]): Promise<void> => {
  const { code: found, said } = await failing(process.execPath, CLI, ...args);
  check(found === code && pattern.test(said) && !said.includes('\n'), `splitring ${args.join(' ')}: ${found}: ${said}`);
};

/** Bad input: each is told in one line, and the backend goes on serving the others. */
export const refusals = async (step: (text: string) => void): Promise<string> => {
  const image = await makeDisk('/root/refusals.img', 8);
  const backend = await Backend.start();
  const idle = await backend.holdings();
  const good = await Guest.create('good');
  const attach = (guest: Guest, vdev: string): Promise<string> =>
    splitring('attach', guest.name, 'blk', '--disk', image.path, '--vdev', vdev, '--readonly');
  await attach(good, 'xvda');
  await good.start();
  await good.sh('i=0; while [ ! -b /dev/xvda ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done; [ -b /dev/xvda ]');

  const disk = ['--disk', image.path];
  await refused(/there is no domain nobody: there are good/, 1, 'attach', 'nobody', 'blk', ...disk, '--vdev', 'xvdb');
  await refused(/domain \d+ has a vbd 51712 already/, 1, 'attach', 'good', 'blk', ...disk, '--vdev', 'xvda');
  await refused(/has no vbd 51728 to detach/, 1, 'detach', 'good', 'blk', '--vdev', 'xvdb');
  await refused(/there is no such file/, 2, 'attach', 'good', 'blk', '--disk', '/none.img', '--vdev', 'xvdb');
  const nobody = ['setpriv', '--reuid', '65534', '--clear-groups', process.execPath, CLI, 'backend', 'blk'];
  const { said } = await failing(nobody[0] ?? '', ...nobody.slice(1));
  check(/start this as root/.test(said) && !said.includes('\n'), `without root it says: ${said}`);
  step('five commands were refused, in a line each');

  const before = await backend.holdings();
  const liar = await Guest.create('liar');
  const front = `/local/domain/${liar.domid}/device/vbd/51712`;
  const state = `/local/domain/0/backend/splitring-vbd/${liar.domid}/51712/state`;
  const lies: readonly (readonly [what: string, keys: Readonly<Record<string, string>>, pattern: RegExp])[] = [
    ['a reference that is none', { 'ring-ref': '4000000000', 'event-channel': '5' }, /ring-ref.*GNTST_bad_gntref/],
    // Reference 1 is the page of the store's ring, which dom0 may map, and is no block ring.
    ['a port that is none', { 'ring-ref': '1', 'event-channel': '3999' }, /event-channel.*EINVAL/],
    ['no state', { state: 'quite well' }, /state/],
  ];
  for (const [what, keys, pattern] of lies) {
    const from = backend.lines.length;
    await attach(liar, 'xvda');
    await until('InitWait', async () => ((await run('xenstore-read', state)) === '2' ? true : undefined), 20);
    for (const [key, value] of Object.entries(keys)) await run('xenstore-write', `${front}/${key}`, value);
    if (keys.state === undefined) await run('xenstore-write', `${front}/state`, '3');
    const line = await backend.says(pattern, from, 20);
    check(/error:/.test(line), `${what} is told of as ${line}`);
    await until('Closing', async () => ((await run('xenstore-read', state)) >= '5' ? true : undefined), 20);
    await run('xenstore-write', `${front}/state`, '6');
    await splitring('detach', liar.name, 'blk', '--vdev', 'xvda');
    await backend.holdsNothing(before, 'mappings');
    await good.sh('dd if=/dev/xvda of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null');
  }
  step(`${lies.length} frontends wrote garbage`);
  await attach(liar, 'xvda');
  await until('InitWait', async () => ((await run('xenstore-read', state)) === '2' ? true : undefined), 20);
  await run('xenstore-rm', front);
  await liar.destroy();
  await nothingLeftOf(liar);
  await backend.holdsNothing(before, 'mappings');
  await good.sh('dd if=/dev/xvda of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null');
  await good.destroy();
  await nothingLeftOf(good);
  await backend.holdsNothing(idle);
  await backend.end();
  return `5 commands refused in a line each; ${lies.length} frontends that wrote garbage and one that vanished in the handshake closed, another guest served all the time`;
};
