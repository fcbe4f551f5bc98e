import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { golden } from '../golden/golden.js';
import { projectRoot } from '../support/typescript.js';

const page = readFileSync(join(projectRoot, 'docs/hypercalls.md'), 'utf8');

/** What stands below a heading, up to the next of its rank or above. */
const below = (heading: RegExp): string | undefined => {
  const found = new RegExp(`^(#+) ${heading.source}$`, 'm').exec(page);
  if (found === null) return undefined;
  const rest = page.slice(found.index + found[0].length);
  const next = new RegExp(`^#{1,${found[1]?.length}} `, 'm').exec(rest);
  return next === null ? rest : rest.slice(0, next.index);
};

/** The entry of an operation, by its number and name in Xen's headers. */
const entryOf = (op: string): string | undefined =>
  below(new RegExp(`(?:.*, )?${Number(golden.constants[op])} · ${op}(?:, .*)?`));

/** The errors that an entry lists, by name, with their numbers. */
const errorsOf = (entry: string): Readonly<Record<string, number>> => {
  const [, list = ''] = /^- errors: (.*)$/m.exec(entry) ?? [];
  return Object.fromEntries([...list.matchAll(/(\w+) (-\d+)/g)].map(([, name = '', value]) => [name, Number(value)]));
};

/**
 * The errors that Xen answers, operation by operation, from event_channel.c, grant_table.c, sched/core.c, domain.c, physdev.c and
 * pv/{callback,traps}.c; errors of what is left out of a build, and of memory that a guest cannot be without, aside.
 */
const expected: Readonly<Record<string, string>> = {
  EVTCHNOP_bind_interdomain: 'ESRCH ENOSPC EINVAL',
  EVTCHNOP_bind_virq: 'EINVAL ENOENT EBUSY EEXIST ENOSPC',
  EVTCHNOP_bind_pirq: 'EINVAL EPERM EEXIST',
  EVTCHNOP_close: 'EINVAL',
  EVTCHNOP_send: 'EINVAL',
  EVTCHNOP_status: 'ESRCH EINVAL EPERM',
  EVTCHNOP_alloc_unbound: 'ESRCH EPERM ENOSPC EINVAL ENOMEM',
  EVTCHNOP_bind_ipi: 'ENOENT ENOSPC',
  EVTCHNOP_bind_vcpu: 'ENOENT EINVAL',
  EVTCHNOP_unmask: 'EINVAL',
  EVTCHNOP_reset: 'ESRCH EPERM EINVAL EBUSY EAGAIN',
  // As a Xen without CONFIG_EVTCHN_FIFO.
  EVTCHNOP_init_control: 'EOPNOTSUPP',
  EVTCHNOP_expand_array: 'EOPNOTSUPP',
  EVTCHNOP_set_priority: 'EINVAL ENOSYS',
  GNTTABOP_map_grant_ref: 'GNTST_bad_gntref GNTST_general_error GNTST_bad_domain GNTST_no_space GNTST_bad_page',
  GNTTABOP_unmap_grant_ref: 'GNTST_bad_handle GNTST_bad_dev_addr',
  GNTTABOP_setup_table: 'EINVAL GNTST_bad_domain GNTST_permission_denied GNTST_general_error',
  GNTTABOP_transfer: 'EOPNOTSUPP',
  GNTTABOP_copy:
    'GNTST_bad_domain GNTST_bad_gntref GNTST_general_error GNTST_bad_page GNTST_permission_denied GNTST_bad_copy_arg',
  GNTTABOP_query_size: 'EINVAL GNTST_bad_domain GNTST_permission_denied',
  GNTTABOP_unmap_and_replace: 'GNTST_bad_handle GNTST_general_error',
  GNTTABOP_set_version: 'EINVAL ENOSYS',
  GNTTABOP_get_status_frames: 'GNTST_bad_domain GNTST_permission_denied GNTST_general_error',
  GNTTABOP_get_version: 'ESRCH EPERM',
  GNTTABOP_swap_grant_ref: 'GNTST_bad_gntref GNTST_eagain',
  GNTTABOP_cache_flush: 'EINVAL EPERM EOPNOTSUPP',
  SCHEDOP_yield: '',
  SCHEDOP_block: '',
  SCHEDOP_shutdown: '',
  SCHEDOP_poll: 'EINVAL EFAULT',
  SCHEDOP_remote_shutdown: 'ESRCH EPERM',
  SCHEDOP_shutdown_code: '',
  SCHEDOP_watchdog: 'EINVAL ENOSPC',
  VCPUOP_initialise: 'EEXIST',
  VCPUOP_up: 'EINVAL',
  VCPUOP_down: '',
  VCPUOP_is_up: '',
  VCPUOP_get_runstate_info: '',
  VCPUOP_register_runstate_memory_area: 'EFAULT',
  VCPUOP_set_periodic_timer: 'EINVAL',
  VCPUOP_stop_periodic_timer: '',
  VCPUOP_set_singleshot_timer: 'EINVAL',
  VCPUOP_stop_singleshot_timer: 'EINVAL',
  VCPUOP_send_nmi: '',
  VCPUOP_register_vcpu_time_memory_area: 'EFAULT',
  PHYSDEVOP_irq_status_query: 'EINVAL',
  PHYSDEVOP_eoi: 'EINVAL',
  PHYSDEVOP_map_pirq: 'ESRCH EPERM EINVAL',
  PHYSDEVOP_unmap_pirq: 'ESRCH EPERM EINVAL',
  PHYSDEVOP_pirq_eoi_gmfn_v1: 'EBUSY EINVAL',
  PHYSDEVOP_pirq_eoi_gmfn_v2: 'EBUSY EINVAL',
  CALLBACKOP_register: 'EINVAL ENOSYS EFAULT',
  CALLBACKOP_unregister: 'EINVAL ENOSYS EFAULT',
  XEN_DOMCTL_createdomain: 'EPERM EINVAL EEXIST ENOMEM',
  XEN_DOMCTL_destroydomain: 'ESRCH EPERM EINVAL',
  XEN_DOMCTL_pausedomain: 'ESRCH EPERM EINVAL',
  XEN_DOMCTL_unpausedomain: 'ESRCH EPERM EINVAL',
  XEN_DOMCTL_resumedomain: 'ESRCH EPERM EINVAL',
  XEN_DOMCTL_set_virq_handler: 'ESRCH EPERM EINVAL EBUSY',
};

/** The same of hypercalls that are one operation. */
const single: Readonly<Record<string, string>> = {
  set_trap_table: 'EINVAL EFAULT',
  set_callbacks: '',
  stack_switch: '',
  iret: '',
  set_timer_op: '',
};

/** Operations that are answered by nobody, each with its reason on the page. */
const absent = ['SCHEDOP_pin_override', 'VCPUOP_register_vcpu_info'];

describe('docs/hypercalls.md', function () {
  this.timeout(30_000);

  it('is what the doc comments say today', () => {
    const script = join(projectRoot, 'scripts/hypercalls.mjs');
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--print'], { encoding: 'utf8' });
    expect(stderr).to.equal('');
    expect(status).to.equal(0);
    expect(stdout === page, 'run node scripts/hypercalls.mjs').to.equal(true);
  });

  it('has every operation of the hypercalls that our Xen has', () => {
    const prefixes = /^(EVTCHNOP|GNTTABOP|SCHEDOP|VCPUOP|PHYSDEVOP|CALLBACKOP)_/;
    const ops = Object.keys(golden.constants).filter((name) => prefixes.test(name) && name !== 'GNTTABOP_dump_table');
    const known = [...Object.keys(expected).filter((op) => prefixes.test(op)), ...absent];
    expect(ops).to.have.members(known);
    for (const op of absent) expect(page, op).to.include(`\`${op}\``);
  });

  for (const [op, errors] of Object.entries(expected)) {
    it(`tells of ${op} ${errors === '' ? 'that it has' : `${errors}, and has`} an entry that leads to its code`, () => {
      const entry = entryOf(op) ?? '';
      expect(entry, op).not.to.equal('');
      expect(Object.keys(errorsOf(entry))).to.include.members(errors.split(' ').filter(Boolean));
      const [, path = ''] = /^- call: .* in \[.*\]\(\.\.\/(.*)\)$/m.exec(entry) ?? [];
      expect(existsSync(join(projectRoot, path)), path).to.equal(true);
    });
  }

  for (const [name, errors] of Object.entries(single)) {
    it(`tells of ${name} ${errors}`, () => {
      const entry = below(new RegExp(`${name} · ${Number(golden.constants[`__HYPERVISOR_${name}`])}`)) ?? '';
      expect(entry, name).to.match(/^- call: /m);
      expect(Object.keys(errorsOf(entry))).to.include.members(errors.split(' ').filter(Boolean));
    });
  }

  it('numbers errors as Xen’s headers do, negated', () => {
    for (const [line] of page.matchAll(/^- errors: .*$/gm)) {
      for (const [name, value] of Object.entries(errorsOf(line))) {
        const number = name.startsWith('GNTST_') ? golden.constants[name] : -Number(golden.constants[`XEN_${name}`]);
        expect(value, name).to.equal(number);
      }
    }
  });

  it('says what an address is', () => {
    expect(below(/What an address is/)).to.include('opaque handle');
  });
});
