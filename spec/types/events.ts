// Interrupts are named, not numbered, and a port, an interrupt of the domain's and a vCPU are not each other (core/domain/event-channels).

import type { Domid, Pirq, Port } from '../../core/abi/units.js';
import {
  type EventChannel,
  type EventChannels,
  HostInterrupt,
  type Physdev,
  type PortStatus,
  virq,
} from '../../core/index.js';

declare const channels: EventChannels;
declare const physdev: Physdev;
declare const channel: EventChannel;
declare const domid: Domid;
declare const port: Port;
declare const pirq: Pirq;

channels.bindVirq(virq.timer, 3);
channels.bindVirq(virq.console);
channels.bindPirq(pirq, { willShare: true });
channel.bindVcpu(1);
const status: PortStatus = channels.status(port);
if (status.status === 'interdomain') channels.bindInterdomain(status.dom, status.port);

// @ts-expect-error there is no such interrupt
channels.bindVirq(5);
// @ts-expect-error a global interrupt is bound on vCPU 0, and moved from there
channels.bindVirq(virq.console, 1);
// @ts-expect-error an interrupt is not a port
channels.bindPirq(port);
// @ts-expect-error nor a bare number, which Physdev.mapPirq has not given
channels.bindPirq(20);
// @ts-expect-error only an interdomain port has an other end
channels.bindInterdomain(domid, status.port);
// @ts-expect-error the host's number is not the domain's
physdev.mapPirq(domid, { type: 'gsi', index: 20, pirq: 20 });
// @ts-expect-error a line or a message
physdev.mapPirq(domid, { type: 'line', index: 20 });
// @ts-expect-error a port is not an interrupt
physdev.eoi(port);
// @ts-expect-error a level says whether it is up
HostInterrupt.level(20, channel);
HostInterrupt.edge(20, channel);
