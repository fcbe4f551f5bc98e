import { createReadStream, createWriteStream, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { run, until } from './shell.js';

/** What a guest is made of. */
export interface GuestOptions {
  /** With Node and this project, instead of blkfront and netfront. */
  readonly node?: boolean;
  /** With tools of the network besides busybox: nc.traditional, ethtool. */
  readonly tools?: boolean;
  /** A second one doubles the time of the boot on one emulated processor. */
  readonly vcpus?: number;
  /** Other lines of xl's configuration. */
  readonly config?: readonly string[];
}

/** A ramdisk of several, made when it is first needed. */
const ramdiskOf = async (name: string, ...parts: readonly string[]): Promise<string> => {
  const path = `/root/${name}`;
  if (existsSync(path)) return path;
  for (const part of parts) await pipeline(createReadStream(part), createWriteStream(path, { flags: 'a' }));
  return path;
};

const LINUX_RAMDISK = '/rig/guest.cpio.gz';

/** A guest that xl has made; commands are typed on its console. */
export class Guest {
  readonly name: string;
  domid: number;
  #commands = 0;
  #from = 0;

  private constructor(name: string, domid: number) {
    this.name = name;
    this.domid = domid;
  }

  /** Makes a guest that does not run yet. */
  static async create(
    name: string,
    { node = false, tools = false, vcpus = 1, config = [] }: GuestOptions = {},
  ): Promise<Guest> {
    const path = `/tmp/${name}.cfg`;
    let ramdisk = LINUX_RAMDISK;
    if (node) ramdisk = await ramdiskOf('guest-node.cpio', '/rig/guest-node.cpio', '/splitring/guest-splitring.cpio');
    else if (tools) ramdisk = await ramdiskOf('guest-tools.cpio.gz', LINUX_RAMDISK, '/rig/guest-tools.cpio.gz');
    const lines = [
      `name = "${name}"`,
      'type = "pv"',
      'kernel = "/rig/vmlinux"',
      `ramdisk = "${ramdisk}"`,
      `memory = ${node ? 512 : 160}`,
      `vcpus = ${vcpus}`,
      'extra = "console=hvc0 quiet loglevel=4 mitigations=off panic=-1"',
      'on_poweroff = "destroy"',
      'on_reboot = "destroy"',
      'on_crash = "destroy"',
      ...config,
    ];
    writeFileSync(path, `${lines.join('\n')}\n`);
    await run('xl', 'create', '-p', path);
    const guest = new Guest(name, Number(await run('xl', 'domid', name)));
    guest.#from = guest.console.length;
    return guest;
  }

  /** Whatever was written to consoles of guests of this name. */
  get console(): string {
    const path = `/var/log/xen/console/guest-${this.name}.log`;
    return existsSync(path) ? readFileSync(path, 'latin1').replaceAll('\r', '') : '';
  }

  /** Lets it run, and waits until it takes commands. */
  async start(): Promise<void> {
    await run('xl', 'unpause', this.name);
    await until(`guest ${this.name}`, () => this.#said(/guest is up after .*\n/), 120);
  }

  /** Runs a line of shell in the guest; resolves to what it wrote. @throws Error unless it ends with 0 */
  async sh(line: string, seconds = 120): Promise<string> {
    const n = `${this.domid}.${++this.#commands}`;
    await this.#type(`${n} ${line}`);
    const pattern = new RegExp(`<<${n}\\n([\\s\\S]*?)\\n?${n}>> (\\d+)\\n`);
    const [, output = '', code] = await until(`${this.name}: ${line}`, () => this.#said(pattern), seconds);
    if (code !== '0')
      throw new Error(`${this.name}: ${line}: exit code ${code}: ${output.trim().replaceAll('\n', '; ')}`);
    return output.trim();
  }

  /** Has it switch itself off. */
  async powerOff(): Promise<void> {
    await this.#type('0 poweroff -f');
    await this.gone();
  }

  /** Ends it at once. */
  async destroy(): Promise<void> {
    await run('xl', 'destroy', this.name);
    await this.gone();
  }

  /** Waits until Xen knows nothing of it any more: a page that somebody still has mapped would keep it. */
  async gone(seconds = 30): Promise<void> {
    const all = (): Promise<string> => run('xl', 'list', String(this.domid)).catch(() => 'gone');
    await until(`the end of ${this.name}`, async () => ((await all()) === 'gone' ? true : undefined), seconds);
  }

  async #type(line: string): Promise<void> {
    const tty = await run('xenstore-read', `/local/domain/${this.domid}/console/tty`);
    const file = await open(tty, 'r+');
    await file.write(`${line}\n`);
    await file.close();
  }

  #said(pattern: RegExp): RegExpExecArray | undefined {
    return pattern.exec(this.console.slice(this.#from)) ?? undefined;
  }
}
