// Compiles spec/golden/layouts.c over the Xen headers of this machine, for the 64-bit and the 32-bit x86 ABI.
//
//   node scripts/golden.mjs           writes what the two programs print to spec/golden/layouts.json
//   node scripts/golden.mjs --print   prints it instead
//
// Exit code 3 says that a compiler or the headers are missing, and standard error names the package.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MISSING = 3;
const source = fileURLToPath(new URL('../spec/golden/layouts.c', import.meta.url));
const target = fileURLToPath(new URL('../spec/golden/layouts.json', import.meta.url));
const abis = { x86_64: '-m64', x86_32: '-m32' };
const cc = process.env.CC ?? 'gcc';

class Missing extends Error {}

function run(command, args, input) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, encoding: 'utf8' });
  return { ok: status === 0, stdout, reason: error?.message ?? stderr };
}

function requireTools(scratch) {
  if (!run(cc, ['--version']).ok) throw new Missing(`${cc} is not installed: apt-get install gcc gcc-multilib`);
  if (!run(cc, ['-E', '-'], '#include <xen/xen.h>\n').ok) {
    throw new Missing('libxen-dev is not installed: apt-get install libxen-dev');
  }
  for (const flag of Object.values(abis)) {
    const probe = join(scratch, `probe${flag}`);
    const program = '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n';
    const built = run(cc, [flag, '-x', 'c', '-', '-o', probe], program).ok;
    if (!built) throw new Missing(`${cc} ${flag} builds no programs: apt-get install gcc-multilib (on an x86 machine)`);
    if (!run(probe, []).ok) throw new Missing(`this machine runs no programs of ${cc} ${flag}`);
  }
}

function print(scratch, flag) {
  const program = join(scratch, `layouts${flag}`);
  const built = run(cc, [flag, '-std=gnu11', '-Wall', '-Wextra', source, '-o', program]);
  if (!built.ok) throw new Error(`${cc} ${flag} refuses spec/golden/layouts.c:\n${built.reason}`);
  const printed = run(program, []);
  if (!printed.ok) throw new Error(`the program of spec/golden/layouts.c failed with ${flag}: ${printed.reason}`);
  return JSON.parse(printed.stdout);
}

/** A constant is one value where both ABIs agree, else one for each. */
function mergeConstants(x86_64, x86_32) {
  const merge = ([name, value]) => [name, value === x86_32[name] ? value : { x86_64: value, x86_32: x86_32[name] }];
  return Object.fromEntries(Object.entries(x86_64).map(merge));
}

function headersVersion() {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own format
  const debian = run('dpkg-query', ['-W', '-f', '${Version}', 'libxen-dev']);
  const version = debian.ok ? debian : run('pkg-config', ['--modversion', 'xencontrol']);
  if (!version.ok) throw new Missing('neither dpkg-query nor pkg-config knows the version of the Xen headers');
  return version.stdout.trim();
}

function golden() {
  const scratch = mkdtempSync(join(tmpdir(), 'golden-'));
  try {
    requireTools(scratch);
    const x86_64 = print(scratch, abis.x86_64);
    const x86_32 = print(scratch, abis.x86_32);
    return {
      xen: headersVersion(),
      x86_64: x86_64.layouts,
      x86_32: x86_32.layouts,
      constants: mergeConstants(x86_64.constants, x86_32.constants),
    };
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** Two spaces deep, each field's [offset, size] on one line. */
const format = (value) => `${JSON.stringify(value, undefined, 2).replace(/\[\s+(\d+),\s+(\d+)\s+\]/g, '[$1, $2]')}\n`;

try {
  const text = format(golden());
  if (process.argv.includes('--print')) process.stdout.write(text);
  else writeFileSync(target, text);
} catch (error) {
  console.error(error.message);
  process.exitCode = error instanceof Missing ? MISSING : 1;
}
