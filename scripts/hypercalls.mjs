// Writes docs/hypercalls.md: every hypercall of our Xen, from the doc comments of the methods that answer it and from the layouts and
// numbers that a C program printed over Xen's headers (spec/golden/layouts.json).
//
//   node scripts/hypercalls.mjs           writes docs/hypercalls.md
//   node scripts/hypercalls.mjs --print   prints it instead
//
// A method answers the operation that its comment begins with (`GNTTABOP_copy (5): …`), or names in parentheses (`… (EVTCHNOP_send).`).
import { readFileSync, writeFileSync } from 'node:fs';
import { at } from './checkout.mjs';
import { absent, calls } from './hypercalls/calls.mjs';
import { methodsOf } from './hypercalls/methods.mjs';
import { page } from './hypercalls/page.mjs';

const golden = JSON.parse(readFileSync(at('spec/golden/layouts.json'), 'utf8'));

/** A comment that begins with a heading, in a source: its paragraphs. */
const commentOf = (path, heading) => {
  const source = readFileSync(at(path), 'utf8');
  const [, comment] = new RegExp(`/\\*\n \\* ${heading}\n((?: \\*.*\n)*?) \\*/`).exec(source) ?? [];
  if (comment === undefined) throw new Error(`${path} has no comment that begins with “${heading}”`);
  return comment.replace(/^ \* ?/gm, '').trim();
};

try {
  const methods = methodsOf(['core/hypervisor', 'core/domain']);
  const addresses = commentOf('core/hypervisor/traps.ts', 'What an address is here');
  const text = page(calls(golden, methods), absent, addresses);
  if (process.argv.includes('--print')) process.stdout.write(text);
  else writeFileSync(at('docs/hypercalls.md'), text);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
