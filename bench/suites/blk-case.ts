// One case of the suite `blk`, in a process of its own: prints how many reads a second it made.
import { connection } from '../../core/index.js';
import type { Machine } from '../../core/toolstack/index.js';
import { BlkFrontend, vbdKeys, vdevOf } from '../../drivers/blk/index.js';
import { LocalMachine } from '../../platform/local/index.js';
import { ThreadsMachine } from '../../platform/threads/index.js';
import { reportedRate } from '../lib/reported-rate.js';
import type { GuestSetup } from './blk-guest.module.js';
import { diskLoops, type Load, readLoop, readSyncLoop } from './blk-loops.js';

const RAW_DISKS = new URL('../../drivers/blk/module.js', import.meta.url);
const NO_DISK = new URL('./blk-null.module.js', import.meta.url);
const GUEST = new URL('./blk-guest.module.js', import.meta.url);

/** What a case's machine is like. */
interface Setup {
  readonly platform: 'local' | 'threads';
  /** Whether the frontend has a thread of its own too; else it is in the main thread. */
  readonly ownThread?: boolean;
  readonly tier?: keyof typeof diskLoops;
  readonly disk?: 'sync' | 'async' | 'none';
  readonly persistent?: boolean;
}

const machineOf = (platform: Setup['platform']): Promise<Machine> =>
  platform === 'local' ? LocalMachine.create({ seed: 1 }) : ThreadsMachine.create();

/** Makes a machine with a disk of the file, reads from that, and takes all of it down again. */
const run = async (
  { platform, ownThread = false, tier = 'requests', disk = 'sync', persistent = true }: Setup,
  load: Load,
): Promise<number> => {
  const machine = await machineOf(platform);
  const backend = await machine.boot({
    name: 'backend',
    module: disk === 'none' ? NO_DISK : RAW_DISKS,
    cmdline: { io: disk === 'async' ? 'async' : 'sync' },
    // Where the disk is done when its call returns, the driver is callbacks alone.
    blocking: disk !== 'async',
    offer: { 'feature-persistent': persistent },
  });
  const id = vdevOf('xvda');
  const attach = (frontend: Parameters<Machine['shutdownOf']>[0]): Promise<unknown> =>
    machine.toolstack.attach({
      device: 'vbd',
      id,
      frontend,
      backend,
      keys: vbdKeys({ vdev: 'xvda', params: load.file, mode: 'r' }),
    });
  try {
    if (!ownThread) {
      const guest = await machine.guest('guest');
      await attach(guest.domid);
      return await diskLoops[tier](await connection(guest, BlkFrontend, id), load);
    }
    const cmdline: GuestSetup = { ...load, tier };
    const guest = await machine.boot({ name: 'guest', module: GUEST, cmdline, blocking: true });
    const [found] = await Promise.all([reportedRate(machine, guest), attach(guest)]);
    return found;
  } finally {
    await machine[Symbol.asyncDispose]();
  }
};

const cases: Readonly<Record<string, (load: Load) => Promise<number>>> = {
  readSync: readSyncLoop,
  read: readLoop,
  local: (load) => run({ platform: 'local' }, load),
  'local-device': (load) => run({ platform: 'local', tier: 'device' }, load),
  'local-map': (load) => run({ platform: 'local', persistent: false }, load),
  'local-none': (load) => run({ platform: 'local', disk: 'none' }, load),
  'local-async': (load) => run({ platform: 'local', disk: 'async' }, load),
  threads: (load) => run({ platform: 'threads' }, load),
  'threads-device': (load) => run({ platform: 'threads', tier: 'device' }, load),
  'threads-none': (load) => run({ platform: 'threads', disk: 'none' }, load),
  'threads-async': (load) => run({ platform: 'threads', disk: 'async' }, load),
  workers: (load) => run({ platform: 'threads', ownThread: true }, load),
};

const [, , name = '', file = '', bytes = '4096', pattern = 'random', depth = '32', ms = '500', mode = 'processor'] =
  process.argv;
const measure = cases[name];
if (measure === undefined) throw new RangeError(`no case ${name}`);
if (mode !== 'check' && mode !== 'processor' && mode !== 'clock') throw new RangeError(`no mode ${mode}`);
const rate = await measure({
  file,
  bytes: Number(bytes),
  depth: Number(depth),
  sequential: pattern === 'sequential',
  ms: Number(ms),
  mode,
});
console.log(rate.toFixed(0));
