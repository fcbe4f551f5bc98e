const head = `# Hypercalls

Every operation of our Xen (\`core/hypervisor\`), by the numbers and names of Xen's headers. This page is made from the doc comments of the
methods that answer them, and from what a C program printed over the headers: \`node scripts/hypercalls.mjs\` writes it anew, and
\`spec/docs/hypercalls.spec.ts\` checks that it has been. What is missing here belongs into a comment there.

**A call is a method.** Its first argument is the domain that makes it, and the vCPU where that matters; the struct that a guest of Xen would
lay into its memory follows, member by member. It is run by the thread that calls it and delivers nothing itself: it changes what stands in
the shared memory, and the domain finds out when it is entered.

**A result** is 0, or what the operation hands out, which is not negative, or a negative errno, or for an element of a batch of grants a
negative status. Where the comment does not say what an error is for, it is what errno.h says. All calls answer -ESRCH to a domain that is not
there any more. A call that fails has changed nothing, unless its text says so.

**A driver makes none of these calls.** It has the abstract classes of \`core/domain\`, which throw the errors as \`XenError\` and \`GrantError\`
with the call's name and numbers; they stand here as *token*.

Of an **argument** the members are \`name offset:bytes\`. Where the 32-bit layout differs it stands behind the 64-bit one.
`;

/** Doc comments as Markdown: links to names, parameters as a list. */
const markdown = (doc) =>
  doc
    .replace(/\{@link ([^}]+)\}/g, '`$1`')
    .replace(/^@param (\w+) /gm, '- `$1`: ')
    .replace(/^@throws ([^@]*[^.\n])(?=\n@|\n*$)/gm, 'Throws $1.')
    .replace(/([^\n])\n(- `)/, '$1\n\n$2')
    .replace(/^(- `.*(?:\n(?!Throws ).+)*)\n(?=Throws )/gm, '$1\n\n');

/** A comment under its operations' heading, which need not name them once more. */
const withoutName = (doc, ops) => {
  const named = [...ops.map(({ op }) => op), ...ops.map(({ name }) => `HYPERVISOR_${name}`)];
  return doc
    .replace(/\s*\(([^()]+)\)/g, (text, inside) =>
      inside.split(/, | and /).every((word) => named.includes(word) || /^hypercall \d+$/.test(word)) ? '' : text,
    )
    .replace(/^\w+ \(\d+\): (.)/, (text, first) =>
      named.some((op) => text.startsWith(op)) ? first.toUpperCase() : text,
    );
};

const fieldsOf = ({ fields }) =>
  Object.entries(fields)
    .map(([name, [offset, size]]) => `\`${name} ${offset}:${size}\``)
    .join(' ');

const same = (a, b) => a.size === b.size && JSON.stringify(a.fields) === JSON.stringify(b.fields);

const argumentOf = ({ name, x86_64, x86_32 }) =>
  [
    `\`struct ${name}\`, ${x86_64.size} bytes: ${fieldsOf(x86_64)}`,
    ...(same(x86_64, x86_32) ? [] : [`; 32-bit, ${x86_32.size} bytes: ${fieldsOf(x86_32)}`]),
  ].join('');

const linkOf = ({ path }) => `[${path}](../${path})`;

/** The entry of one method, with all operations that it answers. */
const entry = (ops) => {
  const [{ method, tokens, errors }] = ops;
  const title = ops.map(({ number, op }) => `${number} · ${op}`).join(', ');
  const layouts = new Map(ops.flatMap(({ layout }) => (layout === undefined ? [] : [[layout.name, layout]])));
  return [
    ...(ops[0].number === undefined ? [] : [`### ${title}`, '']),
    markdown(withoutName(method.doc, ops)),
    '',
    ...[...layouts.values()].map((layout) => `- argument: ${argumentOf(layout)}`),
    `- errors: ${errors.length === 0 ? 'none' : errors.map(({ name, value }) => `${name} ${value}`).join(', ')}`,
    `- call: \`${method.owner}.${method.signature}\` in ${linkOf(method)}`,
    ...(tokens.length === 0 ? [] : [`- token: ${tokens.map(({ owner, name }) => `\`${owner}${name}\``).join(', ')}`]),
  ].join('\n');
};

/** Operations by the method that answers them, in order. */
const byMethod = (ops) => {
  const groups = new Map();
  for (const op of ops) groups.set(op.method, [...(groups.get(op.method) ?? []), op]);
  return [...groups.values()];
};

const section = ({ name, number, ops }) =>
  [
    `## ${name} · ${number}`,
    ...(ops.length > 1 ? [...new Set(ops.map(({ method }) => method.ownerDoc))].map(markdown) : []),
    ...byMethod(ops).map(entry),
  ].join('\n\n');

/** docs/hypercalls.md: the head, what the sources say of addresses, each hypercall, and those that there are not. */
export const page = (calls, absent, addresses) =>
  `${[
    head.trimEnd(),
    '## What an address is',
    addresses,
    ...calls.map(section),
    '## What is not there',
    Object.entries(absent)
      .map(([op, why]) => `- \`${op}\`: ${why}.`)
      .join('\n'),
  ].join('\n\n')}\n`;
