export { ThreadsMachine, type ThreadsMachineOptions } from './threads-machine.js';
