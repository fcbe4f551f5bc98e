import { errno } from '../abi/errno.js';
import type { PortStatus } from '../abi/port-status.js';
import type { Domid, Port } from '../abi/units.js';
import type { EventChannelOps } from './event-channels.js';
import type { Pirqs } from './pirqs.js';
import { portState } from './ports.js';
import type { Virqs } from './virqs.js';

/** The commands of the event-channel call (event_channel.h `EVTCHNOP_*`). */
export const evtchnop = {
  bindInterdomain: 0,
  bindVirq: 1,
  bindPirq: 2,
  close: 3,
  send: 4,
  status: 5,
  allocUnbound: 6,
  bindIpi: 7,
  bindVcpu: 8,
  unmask: 9,
  reset: 10,
  initControl: 11,
  expandArray: 12,
  setPriority: 13,
} as const;

/** Bytes of each command's structure, the same in both ABIs. */
const SIZES = [12, 12, 12, 4, 4, 24, 8, 8, 8, 4, 2, 24, 8, 8] as const;

/** The calls that the command is one of. */
export interface EventCalls {
  readonly eventChannels: EventChannelOps;
  readonly virqs: Virqs;
  readonly pirqs: Pirqs;
}

/**
 * The event-channel call as a guest makes it (`HYPERVISOR_event_channel_op`): a command and its structure, which the results are written
 * into: for who has bytes of a guest's, or puts the same to this Xen and to another. 0, or what the command answers; -ENOSYS another command,
 * -EFAULT a structure that is not there as a whole.
 * @param arg the guest's memory from the structure on; undefined for a pointer to nowhere
 */
export const eventChannelOp = (
  calls: EventCalls,
  caller: Domid,
  command: number,
  arg: Uint8Array | undefined,
): number => {
  const size = SIZES[command];
  if (size === undefined) return -errno.ENOSYS;
  if (arg === undefined || arg.length < size) return -errno.EFAULT;
  const view = new DataView(arg.buffer, arg.byteOffset, size);
  const domid = (at: number): Domid => view.getUint16(at, true) as Domid;
  const word = (at: number): number => view.getUint32(at, true);
  const port = (at: number): Port => word(at) as Port;
  const { eventChannels, virqs, pirqs } = calls;
  /** Writes the port that a command has made, and answers 0. */
  const made = (at: number, result: number): number => {
    if (result < 0) return result;
    view.setUint32(at, result, true);
    return 0;
  };
  switch (command) {
    case evtchnop.bindInterdomain:
      return made(8, eventChannels.bindInterdomain(caller, domid(0), port(4)));
    case evtchnop.bindVirq:
      return made(8, virqs.bind(caller, word(0), word(4)));
    case evtchnop.bindPirq:
      return made(8, pirqs.bind(caller, word(0), word(4)));
    case evtchnop.close:
      return eventChannels.close(caller, port(0));
    case evtchnop.send:
      return eventChannels.send(caller, port(0));
    case evtchnop.status:
      return writeStatus(view, eventChannels.status(caller, domid(0), port(4)));
    case evtchnop.allocUnbound:
      return made(4, eventChannels.allocUnbound(caller, domid(0), domid(2)));
    case evtchnop.bindIpi:
      return made(4, eventChannels.bindIpi(caller, word(0)));
    case evtchnop.bindVcpu:
      return eventChannels.bindVcpu(caller, port(0), word(4));
    case evtchnop.unmask:
      return eventChannels.unmask(caller, port(0));
    case evtchnop.reset:
      return eventChannels.reset(caller, domid(0));
    case evtchnop.initControl:
      return eventChannels.initControl(caller);
    case evtchnop.expandArray:
      return eventChannels.expandArray(caller);
    default:
      return eventChannels.setPriority(caller, port(0));
  }
};

const writeStatus = (view: DataView, found: PortStatus | number): number => {
  if (typeof found === 'number') return found;
  view.setUint32(8, found.status === 'closed' ? portState.free : portState[found.status], true);
  view.setUint32(12, found.vcpu, true);
  switch (found.status) {
    case 'unbound':
      view.setUint16(16, found.dom, true);
      break;
    case 'interdomain':
      view.setUint16(16, found.dom, true);
      view.setUint32(20, found.port, true);
      break;
    case 'pirq':
      view.setUint32(16, found.pirq, true);
      break;
    case 'virq':
      view.setUint32(16, found.virq, true);
      break;
    default:
  }
  return 0;
};
