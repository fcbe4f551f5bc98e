export { MAX_QUEUES, NetBackend, VifObserver } from './backend.js';
export { Bridge, type BridgePort, type BridgeSide, Bridges } from './bridge.js';
export {
  folded,
  pseudoHeader,
  sumOf,
  verifyChecksum,
  writeBlankChecksum,
  writeChecksum,
  writeIpv4Checksum,
} from './checksum.js';
export { AGEING } from './forwarding-table.js';
export { type Checksum, checksum, Frame } from './frame.js';
export { FrameBatch } from './frame-batch.js';
export { NetFeatures, NetFrontend } from './frontend.js';
export { etherType, Headers, ipProtocol, read16, write16 } from './headers.js';
export type { BridgeCommandLine } from './host/bridge-command-line.js';
export { Capture, CaptureFolder } from './host/capture.js';
export { captureProblem } from './host/capture-folder.js';
export { Tap, type TapOptions, tapProblem } from './host/tap.js';
export { TapPort, type TapPortOptions } from './host/tap-port.js';
export type { BridgeReport } from './host/uplinks.js';
export { BROADCAST, type Mac, parseMac, sameMac, showMac } from './mac.js';
export { Nic, type NicStatistics, type OutgoingFrame } from './nic.js';
export { NicPort } from './nic-port.js';
export type { NicTx, WritePart } from './nic-tx.js';
export { type CapturedPacket, readCapture } from './pcap-reader.js';
export { PcapngWriter, pcapng$ } from './pcapng.js';
export { type DropReason, dropReasons, PortStatistics } from './port-statistics.js';
export { ETHERNET_HEADER, MAX_PACKET, MTU, noOffloads, type Offloads, vif } from './protocol.js';
export { parseRate, parseXlRate, type Rate } from './rate-limit.js';
export { ReplayPort } from './replay-port.js';
export { type Passing, Vif } from './vif.js';
export { type VifConfig, type VifKeys, vifKeys } from './vif-keys.js';
export { type GsoType, gsoType } from './wire.js';
