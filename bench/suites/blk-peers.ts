import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

const runs = (program: string, ...args: readonly string[]): boolean => spawnSync(program, args).status === 0;

/** What fio reads by: one thread's pread, the kernel's rings, or a server of network block devices. */
export type Engine = 'psync' | 'io_uring' | 'nbd';

/** Whether fio is installed, and can do this. */
export const fioHas = (engine: Engine): boolean => {
  const { status, stdout } = spawnSync('fio', [`--enghelp=${engine}`], { encoding: 'utf8' });
  return status === 0 && !stdout.includes('not found');
};

/** Reads a second that fio makes of a file, or of the server at a socket, on one core and by the clock. */
export const fio = (
  engine: Engine,
  from: string,
  bytes: number,
  sequential: boolean,
  depth: number,
  ms: number,
): number => {
  const output = execFileSync(
    'taskset',
    [
      '-c',
      '0',
      'fio',
      '--name=reads',
      `--ioengine=${engine}`,
      ...(engine === 'nbd' ? [`--uri=nbd+unix:///?socket=${from}`] : [`--filename=${from}`, '--direct=0']),
      `--rw=${sequential ? 'read' : 'randread'}`,
      `--bs=${bytes}`,
      `--iodepth=${depth}`,
      `--runtime=${ms}ms`,
      '--time_based',
      '--readonly',
      '--minimal',
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], cwd: '/tmp' },
  );
  // fio(1), "terse output": the eighth field of a job is its reads a second.
  return Number(output.trim().split('\n').at(-1)?.split(';')[7]);
};

/** nbdkit serving a file, for as long as `work` runs; where it is not installed, undefined. */
export const withNbdkit = <T>(file: string, work: (socket: string | undefined) => T): T => {
  if (!runs('nbdkit', '--version') || !fioHas('nbd')) return work(undefined);
  const socket = join(dirname(file), 'nbd.sock');
  const server = spawn('nbdkit', ['--foreground', '--readonly', '--unix', socket, 'file', file], { stdio: 'ignore' });
  try {
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (let waited = 0; !existsSync(socket); waited += 10) {
      if (waited > 5000) throw new Error('nbdkit does not come up: run it by hand to see why');
      Atomics.wait(pause, 0, 0, 10);
    }
    return work(socket);
  } finally {
    server.kill();
  }
};
