export { asDebugKey, type DebugKey, debugKeys, keysHelp } from './debug-keys.js';
export { type DeviceConfig, devicePaths } from './device-config.js';
export { type DomainLedger, Machine, type MachineLogEntry, type Report } from './machine.js';
export { DESTROY_TIMEOUT, Toolstack } from './toolstack.js';
