/*
 * Which hypercalls there are, which operations each has, by the names in Xen's headers, and which struct is an operation's argument
 * where the name does not say.
 */

/**
 * Each hypercall: the prefix of its operations' names, and of their structs. Without a prefix it is one operation itself; `some`: it
 * has many that have no meaning here, and only those that somebody answers are shown.
 */
const hypercalls = [
  { name: 'event_channel_op', ops: 'EVTCHNOP_', struct: 'evtchn_' },
  { name: 'grant_table_op', ops: 'GNTTABOP_', struct: 'gnttab_' },
  { name: 'sched_op', ops: 'SCHEDOP_', struct: 'sched_' },
  { name: 'vcpu_op', ops: 'VCPUOP_', struct: 'vcpu_' },
  { name: 'set_timer_op' },
  { name: 'physdev_op', ops: 'PHYSDEVOP_', struct: 'physdev_' },
  { name: 'set_trap_table' },
  { name: 'set_callbacks' },
  { name: 'callback_op', ops: 'CALLBACKOP_', struct: 'callback_' },
  { name: 'stack_switch' },
  { name: 'iret' },
  { name: 'domctl', ops: 'XEN_DOMCTL_', struct: 'xen_domctl_', some: true },
];

/** Arguments whose struct has another name than its operation. */
const structs = {
  VCPUOP_get_runstate_info: 'vcpu_runstate_info',
  VCPUOP_register_vcpu_time_memory_area: 'vcpu_register_time_memory_area',
  PHYSDEVOP_pirq_eoi_gmfn_v1: 'physdev_pirq_eoi_gmfn',
  PHYSDEVOP_pirq_eoi_gmfn_v2: 'physdev_pirq_eoi_gmfn',
  SCHEDOP_shutdown_code: 'sched_shutdown',
  set_trap_table: 'trap_info',
};

/** Operations that no Xen of today has. */
const gone = ['GNTTABOP_dump_table'];

/** Operations that our Xen does not answer, and why. */
export const absent = {
  SCHEDOP_pin_override:
    'it ties a vCPU of the hardware domain to a physical processor, and dom0 is where its thread is',
  VCPUOP_register_vcpu_info:
    'shared_info has room for the vcpu_info of every vCPU that a domain can have, and there it stays',
};

/** Whether a method's comment says that it answers an operation: as its first words, or in parentheses. */
const begins = ({ doc }, op) => new RegExp(`^\`?${op}\`?( \\(|:)`).test(doc);
const names = ({ doc }, op) =>
  [...doc.matchAll(/\(([^()]+)\)/g)].some(([, inside]) =>
    inside.split(/,? and |[,;] /).some((word) => word.replaceAll('`', '').replace(/^HYPERVISOR_/, '') === op),
  );

/** The one method of our Xen that answers an operation; a call names its caller first. */
const methodFor = (methods, op) => {
  const of = methods.filter(
    ({ path, signature }) => path.startsWith('core/hypervisor/') && /\(_?caller: Domid/.test(signature),
  );
  const first = of.filter((method) => begins(method, op));
  const found = first.length > 0 ? first : of.filter((method) => names(method, op));
  const list = found.map(({ owner, name }) => `${owner}${name}`).join(', ');
  if (found.length > 1) throw new Error(`${op} is answered by several methods, by their comments: ${list}`);
  return found[0];
};

/** Every `-E…` and every status that a comment names, with its number. */
const errorsIn = (doc, constants) => {
  const numbers = Object.entries(constants);
  const errnos = numbers.filter(
    ([name]) => /^XEN_E[A-Z0-9]+$/.test(name) && new RegExp(`-${name.slice(4)}\\b`).test(doc),
  );
  const statuses = numbers.filter(
    ([name, value]) => name.startsWith('GNTST_') && value < 0 && new RegExp(`\\b${name.slice(6)}\\b`).test(doc),
  );
  return [
    ...errnos.map(([name, value]) => ({ name: name.slice(4), value: -value })),
    ...statuses.map(([name, value]) => ({ name, value })),
  ];
};

const layoutOf = (golden, op, prefix) => {
  const name = structs[op] ?? (prefix === undefined ? undefined : prefix.struct + op.slice(prefix.ops.length));
  if (name === undefined || golden.x86_64[name] === undefined) return undefined;
  return { name, x86_64: golden.x86_64[name], x86_32: golden.x86_32[name] };
};

/** All hypercalls with their operations. @throws Error that names each operation that nobody answers, or more than one */
export const calls = (golden, methods) => {
  const { constants } = golden;
  const missing = [];
  const entryOf = (name, op, number, prefix) => {
    const method = methodFor(methods, op) ?? methodFor(methods, name);
    if (method === undefined) missing.push(op);
    const tokens = methods.filter((one) => one.path.startsWith('core/domain/') && names(one, op));
    return {
      name,
      op,
      number,
      layout: layoutOf(golden, op, prefix),
      method,
      tokens,
      errors: errorsIn(method?.doc ?? '', constants),
    };
  };
  const found = hypercalls.map(({ name, ops, struct, some = false }) => ({
    name,
    number: constants[`__HYPERVISOR_${name}`],
    ops:
      ops === undefined
        ? [entryOf(name, name, undefined)]
        : Object.entries(constants)
            .filter(([constant]) => constant.startsWith(ops) && !gone.includes(constant) && !(constant in absent))
            .filter(([constant]) => !some || methodFor(methods, constant) !== undefined)
            .sort(([, a], [, b]) => a - b)
            .map(([op, number]) => entryOf(name, op, number, { ops, struct })),
  }));
  const answered = Object.keys(absent).filter((op) => methodFor(methods, op) !== undefined);
  if (answered.length > 0) throw new Error(`${answered.join(', ')} is answered, by a comment, and said to be absent`);
  if (missing.length > 0)
    throw new Error(`no method of core/hypervisor answers, by its comment, ${missing.join(', ')}`);
  return found;
};
