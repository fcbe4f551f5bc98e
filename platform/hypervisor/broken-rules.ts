import { type ErrnoName, errnoName } from '../../core/abi/errno.js';
import { XenError } from '../../core/errors.js';

const noPort = {
  ENOSPC: 'which has no port free below its limit (max_event_channels)',
  ENOMEM: 'for whose table there is no memory',
  ESRCH: 'which does not exist',
} as const;
const noVcpu = 'which has no such vCPU';

/** The rule that each call's refusals are about, as a clause about the caller. */
const rules = {
  EVTCHNOP_alloc_unbound: { ...noPort, EINVAL: 'which is dying', EPERM: 'which may not act on others' },
  EVTCHNOP_bind_interdomain: {
    ...noPort,
    ESRCH: 'where one of the two domains does not exist',
    EINVAL: 'for which no such port waits: it must be unbound, and reserved for the caller',
  },
  EVTCHNOP_bind_virq: {
    ...noPort,
    EINVAL: 'where it is on vCPU 0, if anywhere: it is not per vCPU, or there is none of that number',
    ENOENT: noVcpu,
    EBUSY: 'which does not own it: a global one is one domain’s',
    EEXIST: 'which has bound it already, on this vCPU',
  },
  EVTCHNOP_bind_ipi: { ...noPort, ENOENT: noVcpu },
  EVTCHNOP_bind_pirq: {
    ...noPort,
    EINVAL: 'which can have no such interrupt',
    EPERM: 'which was not given it: PHYSDEVOP_map_pirq does',
    EEXIST: 'which has bound it already',
    EBUSY: 'while it is another domain’s, and not both will share it',
  },
  EVTCHNOP_bind_vcpu: {
    ENOENT: noVcpu,
    EINVAL: 'where it stays: it is closed, an IPI, a VIRQ that is per vCPU, or Xen’s own',
    ESRCH: noPort.ESRCH,
  },
  EVTCHNOP_send: {
    EINVAL: 'which cannot send on it: it is closed, an interrupt’s, or Xen’s own',
    ESRCH: noPort.ESRCH,
  },
  EVTCHNOP_status: {
    EINVAL: 'whose table does not reach that far',
    ESRCH: noPort.ESRCH,
    EPERM: 'which may not look at others',
  },
  EVTCHNOP_reset: {
    EBUSY: 'while another call does it',
    EAGAIN: 'for which ports were opened meanwhile: call it again',
    ESRCH: noPort.ESRCH,
  },
  PHYSDEVOP_map_pirq: {
    EPERM: 'which is not privileged, or asks for Xen’s own timer',
    ESRCH: 'for a domain that does not exist',
    EINVAL: 'where there is no interrupt of that index, or no such number',
    EEXIST: 'where that number, or that interrupt, is mapped otherwise already',
    EBUSY: 'while the channel of the interrupt that was taken away is still open',
    ENODEV: 'where no PCI device is',
    ENOSPC: 'where no number is free',
  },
  PHYSDEVOP_unmap_pirq: {
    EPERM: 'which is not privileged',
    ESRCH: 'from a domain that does not exist',
    EINVAL: 'where nothing is mapped to that number',
  },
  PHYSDEVOP_eoi: { EINVAL: 'which has no such interrupt', ESRCH: noPort.ESRCH },
  PHYSDEVOP_irq_status_query: { EINVAL: 'which can have no such interrupt', ESRCH: noPort.ESRCH },
} as const satisfies Readonly<Record<string, Readonly<Partial<Record<ErrnoName, string>>>>>;

/** A call that can be refused, by its name in Xen's headers. */
export type Refused = keyof typeof rules;

/**
 * What a refused call throws: the call, what it was about, and the rule that was broken.
 * @param result the call's answer, negative
 * @param about what it was called for, ending in the caller: `of VIRQ_TIMER on vCPU 3 by domain 1`
 */
export const brokenRule = (call: Refused, result: number, about: string): XenError => {
  const rule = (rules[call] as Readonly<Record<string, string>>)[errnoName(-result)];
  return new XenError(-result, `${call} ${about}${rule === undefined ? '' : `, ${rule}`}`);
};
