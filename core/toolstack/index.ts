export { type DeviceConfig, devicePaths } from './device-config.js';
export { DESTROY_TIMEOUT, Toolstack } from './toolstack.js';
