import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Seconds that a boot may take besides its scenarios, and each scenario. On a machine with other work it takes three times as long as alone. */
const BOOT = 180;
const SCENARIO = 430;

/**
 * Nehalem has no SMAP, which QEMU 7.2 gets wrong for a PV kernel's IRET in ring 3, and no XSAVE, with which registers leak from one
 * domain to another there; without RDRAND getrandom() waits for ten seconds.
 */
const CPU = 'Nehalem,+rdrand';

/** What a boot is told. */
export interface BootOptions {
  readonly cache: string;
  readonly scenarios: readonly string[];
  readonly say: (line: string) => void;
}

const since = (start: number): string => `${((performance.now() - start) / 1000).toFixed(1)} s`;

/**
 * Boots Xen once and has the scenarios run in its dom0, each of which prints one line. Resolves to whether all went well; if not, the serial
 * log is kept.
 */
export const boot = async ({ cache, scenarios, say }: BootOptions): Promise<boolean> => {
  const files = join(cache, 'boot');
  const logs = join(cache, 'logs');
  mkdirSync(logs, { recursive: true });
  const log = join(logs, `${new Date().toISOString().replaceAll(/[:.]/g, '-')}.log`);
  const serial = createWriteStream(log);
  const start = performance.now();
  const dom0 = [
    `${files}/vmlinux console=hvc0 quiet loglevel=4 mitigations=off panic=-1`,
    `rig.scenarios=${scenarios.join('+')}`,
  ].join(' ');
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ...['-accel', 'tcg,thread=multi,tb-size=512', '-cpu', CPU, '-m', '2048', '-smp', '1'],
      ...['-display', 'none', '-serial', 'stdio', '-monitor', 'none', '-no-reboot', '-nic', 'none', '-vga', 'none'],
      ...['-kernel', `${files}/xen.elf`],
      '-append',
      'console=com1 com1=115200,8n1 loglvl=warning guest_loglvl=warning spec-ctrl=no xpti=0 dom0_mem=1024M,max:1024M dom0_max_vcpus=1',
      ...['-initrd', `${dom0},${files}/dom0.cpio.gz`],
      ...['-drive', `file=${files}/dom0.ext4,format=raw,if=virtio,snapshot=on`],
      ...['-drive', `file=${files}/splitring.ext4,format=raw,if=virtio,snapshot=on`],
    ],
    // Not /dev/null: a pipe that nobody writes to cannot type into the console.
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  const kill = (): void => {
    qemu.kill('SIGKILL');
  };
  const stop = (signal: NodeJS.Signals): void => {
    kill();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const limit = setTimeout(kill, (BOOT + SCENARIO * scenarios.length) * 1000);
  qemu.stderr.pipe(serial, { end: false });
  const well = new Set<string>();
  let exit: string | undefined;
  for await (const raw of createInterface({ input: qemu.stdout })) {
    serial.write(`${raw}\n`);
    const found = /RIG (step|ok|failed|lost|exit) (.*)/.exec(raw.replaceAll('\r', ''));
    if (found === null) continue;
    const [, kind, text = ''] = found;
    if (kind === 'exit') exit = text;
    else if (kind === 'ok') well.add(text.split(' ')[0] ?? '');
    if (kind !== 'exit') say(`${since(start).padStart(8)}  ${kind?.padEnd(6)} ${text}`);
  }
  clearTimeout(limit);
  process.off('SIGINT', stop).off('SIGTERM', stop);
  await new Promise((resolve) => serial.end(resolve));
  const lacking = scenarios.filter((name) => !well.has(name));
  const all = lacking.length === 0 && exit === '0';
  say(`${all ? 'all well' : `not well: ${lacking.join(', ') || 'dom0'}`} after ${since(start)}`);
  if (all) rmSync(log);
  else say(`the serial log is ${log}`);
  return all;
};
