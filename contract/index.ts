export { assertNothingLeft } from './assert-nothing-left.js';
export { type Connect, type ConnectOptions, onEveryPlatform, type Rig } from './on-every-platform.js';
export { type Platform, type PlatformName, platforms } from './platforms.js';
