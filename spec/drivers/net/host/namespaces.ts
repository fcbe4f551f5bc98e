// Network namespaces, in which the kernel's own stack and tools are peers.
import { type ExecFileException, execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { tapProblem } from '../../../../drivers/net/host/tap.js';

const has = (tool: string): boolean =>
  (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, tool)));

/** Why there can be no TAP device in a namespace of its own. */
const noNamespace = ((): string | undefined => {
  const problem = tapProblem({ name: 'srt0' });
  if (problem !== undefined) return problem;
  const missing = ['ip', 'perl'].find((tool) => !has(tool));
  if (missing !== undefined) return `there is no ${missing}`;
  const probe = `srt-probe-${process.pid}`;
  try {
    execFileSync('ip', ['netns', 'add', probe], { stdio: 'ignore' });
    execFileSync('ip', ['netns', 'del', probe], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'network namespaces cannot be made here';
  }
})();

/** Why these peers cannot be had; undefined when they can. */
export const lacking = (...tools: readonly string[]): string | undefined => {
  const missing = tools.find((tool) => !has(tool));
  return noNamespace ?? (missing && `there is no ${missing}`);
};

/** Runs a command while the guest, in this thread, goes on; resolves to its output. */
export const run = (command: string, args: readonly string[], input?: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = execFile(command, args, { timeout: 20_000 }, (error: ExecFileException | null, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${command} ${args.join(' ')}: ${error.message} ${stdout} ${stderr}`));
    });
    child.stdin?.end(input ?? '');
  });
