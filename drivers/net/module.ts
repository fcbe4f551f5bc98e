import { ContainerModule } from 'inversify';
import { Program } from '../../core/index.js';
import { VifObserver } from './backend.js';
import { Bridges } from './bridge.js';
import { Capture, CaptureFolder } from './host/capture.js';
import { CommandLineCapture, Uplinks } from './host/uplinks.js';

export { attachment } from './attachment.js';
export { NetBackend } from './backend.js';
export { serving } from './host/serving.js';

/** What a domain runs to serve interfaces of class `vif` on bridges of its own; its command line is a BridgeCommandLine. */
export default new ContainerModule(({ bind }) => {
  bind(Bridges).toSelf().inSingletonScope();
  bind(CaptureFolder).to(CommandLineCapture).inSingletonScope();
  bind(VifObserver).to(Capture).inSingletonScope();
  bind(Program).to(Uplinks);
});
