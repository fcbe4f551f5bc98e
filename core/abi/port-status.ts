import type { Domid, Port } from './units.js';

/** What EVTCHNOP_status reports of a port (event_channel.h `evtchn_status`): what it is bound to, and the vCPU that it notifies. */
export type PortStatus = { readonly vcpu: number } & (
  | { readonly status: 'closed' | 'ipi' }
  | { readonly status: 'unbound'; readonly dom: Domid }
  | { readonly status: 'interdomain'; readonly dom: Domid; readonly port: Port }
  | { readonly status: 'pirq'; readonly pirq: number }
  | { readonly status: 'virq'; readonly virq: number }
);
