import { DOM0 } from '../../core/abi/units.js';
import { DOMID_XEN } from '../../core/hypervisor/domains.js';
import { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import {
  asDomid,
  type BackLink,
  backend,
  boot,
  ContainerModule,
  flag,
  inject,
  Log,
  optional,
  overlay,
  type Port,
  Program,
  protocol,
  ring,
  struct,
  text,
  u16,
  uint,
} from '../../core/index.js';
import { hostTime } from '../hypervisor/host-time.js';
import { buildStoreRing, checked } from '../hypervisor/store-ring.js';
import { enterable } from './domain-loop.js';
import { houseDomain } from './house-domain.js';

const DOMU = asDomid(1);

/** A driver as drivers are written, declared when it is asked for: what declares it is a part of the rehearsal. */
const driver = (): Readonly<Record<string, unknown>> => {
  const plain = struct('rehearsed_plain', { id: u16, kind: u16 });
  const request = overlay('rehearsed_request', { plain }, { shared: ['id', 'kind'] });
  const rehearsed = protocol({
    device: 'rehearsed',
    ring: ring({ request, response: plain, id: 'id' }),
    keys: {
      toolstack: { backend: { mode: text({ default: '' }) } },
      backend: { InitWait: { 'feature-rehearsed': flag() }, Connected: { size: uint({ default: 0 }) } },
    },
    refuse: () => {},
  });
  @backend(rehearsed)
  class RehearsedBackend {
    constructor(@optional() @inject(Log) readonly log: Log) {}

    connect(_link: BackLink<typeof rehearsed>): void {}
  }
  const bindings = new ContainerModule(({ bind }) => {
    bind(RehearsedBackend).toSelf().inSingletonScope();
  });
  return { default: bindings, RehearsedBackend };
};

/**
 * Boots a domain with a driver in the calling thread, on a machine of its own where nobody answers, and drops both: V8 has then compiled
 * what every domain's thread runs first.
 */
export const rehearse = (): void => {
  const hypervisor = Hypervisor.create({ bytes: 2 ** 20, domains: 2 });
  checked(hypervisor.domains.create(DOMID_XEN, { domid: DOM0, privileged: true }), 'dom0');
  checked(hypervisor.domains.create(DOM0, { domid: DOMU, ownThread: true }), 'a domain');
  const { frame: storeFrame, port: storePort } = buildStoreRing(hypervisor, DOMU);
  const { domain, entry } = houseDomain(
    hypervisor,
    {
      domid: DOMU,
      name: 'rehearsal',
      abi: 'x86_64-abi',
      cmdline: undefined,
      offer: {},
      storeFrame,
      storePort,
      boot: hostTime(),
    },
    { linger: () => false, log: () => {}, report: () => {}, crashed: () => {} },
  );
  boot(domain, driver(), 'rehearsal');
  domain.container.isBound(Program);
  // The store has something to tell, and the domain is entered for it.
  const port = checked(hypervisor.eventChannels.bindInterdomain(DOM0, DOMU, storePort), 'the store port') as Port;
  hypervisor.eventChannels.send(DOM0, port);
  enterable(entry).enter(1);
  domain[Symbol.dispose]();
};
