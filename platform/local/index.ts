export { LocalMachine, type LocalMachineOptions } from './local-machine.js';
