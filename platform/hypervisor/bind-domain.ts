import { type Domain, type DomainConfig, Physdev, Sched, Traps, Vcpus } from '../../core/index.js';
import { bindProcess, type ProcessBindings } from './bind-process.js';

/** What stands behind the tokens of a domain of our Xen. */
export interface DomainBindings extends ProcessBindings {
  readonly physdev: Physdev;
  /** Called when the domain's code first asks for its vCPUs. */
  readonly vcpus: () => Vcpus;
  readonly sched: Sched;
  /** Called when the domain's code first asks for its virtual exceptions, if it does. */
  readonly traps: () => Traps;
}

/** Binds the tokens of core/domain in a domain of our Xen. What it was made with is its own: whoever hands it over has copied it. */
export const bindDomain = (
  domain: Domain,
  config: Pick<DomainConfig, 'cmdline' | 'offer'>,
  bindings: DomainBindings,
): void => {
  const { physdev, vcpus, sched, traps } = bindings;
  const { container } = domain;
  bindProcess(domain, config, bindings);
  container.bind(Physdev).toConstantValue(physdev);
  container.bind(Vcpus).toDynamicValue(vcpus).inSingletonScope();
  container.bind(Sched).toConstantValue(sched);
  container.bind(Traps).toDynamicValue(traps).inSingletonScope();
};
