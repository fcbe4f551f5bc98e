import { type Domain, type DomainConfig, Physdev, Sched, Traps, Vcpus, XenError } from '../../core/index.js';
import { bindProcess, type ProcessBindings } from '../hypervisor/bind-process.js';

/** What a process of a domain does not have: its kernel has it. */
const kernels = [
  [Traps, 'virtual exceptions'],
  [Vcpus, 'vCPUs'],
  [Sched, 'scheduling operations'],
  [Physdev, 'physical interrupts'],
] as const;

/** Binds the tokens of core/domain in a domain of real Xen; those that a process does not have refuse with ENOSYS when they are asked for. */
export const bindXenDomain = (
  domain: Domain,
  config: Pick<DomainConfig, 'cmdline' | 'offer'>,
  bindings: ProcessBindings,
): void => {
  bindProcess(domain, config, bindings);
  for (const [token, what] of kernels) {
    domain.container.bind<unknown>(token).toDynamicValue(() => {
      throw new XenError('ENOSYS', `a process in a domain of real Xen has no ${what}: its kernel has them`);
    });
  }
};
