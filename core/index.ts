import 'reflect-metadata';

/**
 * What a driver and a domain's module need of inversify, from the copy that this package runs on: a worker that takes it from here
 * does not load another.
 */
export {
  ContainerModule,
  type ContainerModuleLoadOptions,
  inject,
  injectable,
  multiInject,
  named,
  optional,
  tagged,
} from 'inversify';
export { BackRing } from './abi/back-ring.js';
export { type ErrnoName, errno, errnoName } from './abi/errno.js';
export {
  type ArrayField,
  array,
  domid,
  type Element,
  type Field,
  type Fields,
  grantRef,
  i8,
  i16,
  i32,
  type Opaque,
  opaque64,
  type Padding,
  padding,
  port,
  type Scalar,
  type ScalarKind,
  sector,
  u8,
  u16,
  u32,
  u64,
} from './abi/fields.js';
export { FrontRing } from './abi/front-ring.js';
export { type GntstName, gntst } from './abi/gntst.js';
export { type Abi, abis } from './abi/layout.js';
export type { PortStatus } from './abi/port-status.js';
export { type PacketShape, type RingFormat, type RingOptions, ringEntries } from './abi/ring.js';
export {
  type ArrayDraft,
  type ArrayView,
  type Choice,
  type Draft,
  draft,
  layoutOf,
  type NumbersDraft,
  overlay,
  type Slot,
  type Struct,
  struct,
  type Values,
  type View,
  view,
  type Words,
  type WordsDraft,
} from './abi/struct.js';
export {
  asDomid,
  asGrantRef,
  asPirq,
  asPort,
  asSector,
  asVdev,
  DOMID_FIRST_RESERVED,
  DOMID_SELF,
  type Domid,
  type GrantRef,
  PAGE_SIZE,
  type Pirq,
  type Port,
  SECTOR_SIZE,
  type Sector,
  type Unit,
  type Vdev,
} from './abi/units.js';
export { NR_VIRQS, type VcpuVirq, type Virq, type VirqClass, virq, virqClass, virqName } from './abi/virq.js';
export { Cleanup } from './domain/cleanup.js';
export { Clock } from './domain/clock.js';
export { Domain } from './domain/domain.js';
export {
  type DomainConfig,
  Domctl,
  type Plain,
  type Shutdown,
  type ShutdownReason,
  shutdownReasons,
} from './domain/domctl.js';
export { EventChannel, EventChannels } from './domain/event-channels.js';
export type { CopyRun, GrantCopies, PeerGrantCopies } from './domain/grant-copies.js';
export {
  type CopySegment,
  GrantTable,
  type GrantTableSize,
  type Page,
  type PeerCopySegment,
  type SharedPage,
} from './domain/grant-table.js';
export { HostInterrupt } from './domain/host-interrupt.js';
export { Log, type LogEntry, type LogLevel } from './domain/log.js';
export { type IrqStatus, Physdev, type PirqSource } from './domain/physdev.js';
export { CommandLine, Program, Reporter } from './domain/program.js';
export { Sched } from './domain/sched.js';
export {
  type CallbackType,
  type Fault,
  type Registers,
  type TrapEntry,
  type TrapFrame,
  type TrapHandler,
  Traps,
} from './domain/traps.js';
export { type Runstate, type RunstateInfo, Vcpu, Vcpus } from './domain/vcpus.js';
export { type Access, type Permission, type StoreOperations, XenStore } from './domain/xenstore.js';
export { asError, Disconnected, errorText, GrantError, PeerFault, XenError } from './errors.js';
export type { BackLink, BackOffer } from './xenbus/back-link.js';
export { type BackState, type BackStep, backendTable, backSteps } from './xenbus/back-table.js';
export { boot, type DomainModule } from './xenbus/boot.js';
export { connection, type Device, devices$, serveDevices } from './xenbus/bus.js';
export type { CreditSender } from './xenbus/credit.js';
export type { DeviceInfo } from './xenbus/device-info.js';
export {
  type Backend,
  type BackendClass,
  backend,
  type DriverInfo,
  driverInfo,
  type Frontend,
  type FrontendClass,
  frontend,
} from './xenbus/driver.js';
export type { FrontLink, FrontNegotiation } from './xenbus/front-link.js';
export { type FrontState, type FrontStep, frontendTable, frontSteps } from './xenbus/front-table.js';
export { flag, type Key, type Keys, type KeyValues, oneOf, text, uint } from './xenbus/keys.js';
export { latestMap } from './xenbus/latest-map.js';
export { Offer } from './xenbus/offer.js';
export type { PacketReceiver, Packets } from './xenbus/packet-responses.js';
export type { PacketSender } from './xenbus/packet-sender.js';
export type { Packet } from './xenbus/packet-slots.js';
export type { BackGrants, FrontGrants } from './xenbus/peer-grants.js';
export type { Arrivals, PacketPosts } from './xenbus/posted.js';
export {
  type AnyProtocol,
  type BackendValues,
  type FrontendValues,
  type KeyTable,
  type OfferValues,
  type Protocol,
  type PublishValues,
  protocol,
  type QueueKeys,
  type RequestView,
  type ResponseDraft,
  type RingsProtocol,
  ring,
  type ToolstackValues,
} from './xenbus/protocol.js';
export type { Done, Fill, Lost, RequestRing } from './xenbus/request-ring.js';
export type { Serve } from './xenbus/responses.js';
export {
  type BackEnd,
  type CreditRing,
  creditRing,
  type FrontEnd,
  type PacketRing,
  packetRing,
} from './xenbus/rings.js';
export type { Drain, Slots } from './xenbus/slots.js';
export { parseState, type Wait, type XenbusState, xenbusState } from './xenbus/states.js';
