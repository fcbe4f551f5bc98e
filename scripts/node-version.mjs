// Imported before anything else: says in one line that Node is too old, where newer syntax or a missing API would say it in a stack.
import { readFileSync } from 'node:fs';

const wanted = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).engines.node.replace(
  '>=',
  '',
);
const [major = 0, minor = 0] = wanted.split('.').map(Number);
const [haveMajor = 0, haveMinor = 0] = process.versions.node.split('.').map(Number);

if (haveMajor < major || (haveMajor === major && haveMinor < minor)) {
  console.error(`splitring: needs Node ${wanted} or newer; this is ${process.versions.node}`);
  process.exit(1);
}
