const head = `# Hypercalls

TODO
`;

/** Doc comments as Markdown: links to names, parameters as a list. */
const markdown = (doc) =>
  doc
    .replace(/\{@link ([^}]+)\}/g, '`$1`')
    .replace(/^@param (\w+) /gm, '- `$1`: ')
    .replace(/^@throws /gm, 'Throws ');

const fieldsOf = ({ fields }) =>
  Object.entries(fields)
    .map(([name, [offset, size]]) => `\`${name}\` ${offset}:${size}`)
    .join(', ');

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

const argumentOf = ({ name, x86_64, x86_32 }) =>
  same(x86_64, x86_32)
    ? `Argument: \`struct ${name}\`, ${x86_64.size} bytes: ${fieldsOf(x86_64)}`
    : `Argument: \`struct ${name}\`, ${x86_64.size} bytes: ${fieldsOf(x86_64)}; of a 32-bit guest ${x86_32.size} bytes: ${fieldsOf(x86_32)}`;

const entry = ({ op, number, layout, method, tokens, errors }) => {
  const lines = [
    ...(number === undefined ? [] : [`### ${op} · ${number}`, '']),
    `\`${method.owner}.${method.signature}\` in [${method.path.replace(/^.*\//, '')}](../${method.path})`,
    '',
    markdown(method.doc),
    '',
    ...(layout === undefined ? [] : [`${argumentOf(layout)}.`, '']),
    ...(tokens.length === 0
      ? []
      : [`From a driver: ${tokens.map(({ owner, name }) => `\`${owner}.${name}\``).join(', ')}.`, '']),
    `Errors: ${errors.length === 0 ? 'none' : errors.map(({ name, value }) => `${name} ${value}`).join(', ')}.`,
  ];
  return lines.join('\n');
};

const section = ({ name, number, ops }) =>
  [
    `## ${name} · ${number}`,
    ...[...new Set(ops.map(({ method }) => method.ownerDoc))].map(markdown),
    ...ops.map(entry),
  ].join('\n\n');

/** docs/hypercalls.md */
export const page = (calls) => `${[head.trimEnd(), ...calls.map(section)].join('\n\n')}\n`;
