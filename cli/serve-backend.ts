import { Cleanup, XenStore } from '../core/index.js';
import type { BackendConfig } from './backend-config.js';
import type { DriverModule } from './driver-modules.js';
import { Interrupted, messageOf, RunError } from './errors.js';
import type { Interruption } from './interruption.js';
import { onXen } from './on-xen.js';
import type { TerminalOutput } from './terminal-output.js';

/** What is served, and with what. */
export interface BackendRun {
  readonly driver: DriverModule;
  /** The directory below `backend` that is watched. */
  readonly type: string;
  readonly config: BackendConfig;
  readonly out: TerminalOutput;
  readonly interruption: Pick<Interruption, 'happened'>;
}

/**
 * Serves every device of a class that appears in this domain until it is told to end, which is a good end. Devices that are in use then stay
 * as they are, so that their guests wait for the next one to serve them.
 * @throws RunError when the store or the event channels are lost
 */
export const serveBackend = async ({ driver, type, config, out, interruption }: BackendRun): Promise<boolean> => {
  const cleanup = new Cleanup();
  try {
    const xen = cleanup.use(await onXen({ ...config, log: (entry) => out.log(entry) }));
    const { domain } = xen;
    const { sweep$ } = await import('../platform/xen/index.js');
    const { url, device } = driver;
    const { program } = await xen.boot(url, () => type);
    const directory = `backend/${type}`;
    const swept = sweep$(domain.get(XenStore), directory).subscribe({
      next: (path) => out.line(`removed ${path}, whose domain is gone`),
      error: (error) => out.line(`directories of domains that are gone are not removed any more: ${messageOf(error)}`),
    });
    const tellHoldings = (): void => {
      const counts = Object.entries(xen.holdings).map(([what, count]) => `${count} ${what}`);
      out.row('holds', counts.join(', '));
    };
    process.on('SIGUSR2', tellHoldings);
    cleanup.add(() => swept.unsubscribe());
    cleanup.add(() => process.off('SIGUSR2', tellHoldings));
    out.row('serves', `${device} in domain ${domain.domid}, below /local/domain/${domain.domid}/${directory}`);
    const lost = xen.lost.then((error): never => {
      throw new RunError(`nothing can be served any more: ${messageOf(error)}; mend that and start this again`);
    });
    const ended = program === undefined ? [] : [program.then(() => out.line('its program has ended'))];
    await Promise.race([interruption.happened, lost, ...ended]);
    return true;
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    out.line('ended; devices in use wait for the next one to serve them');
    return true;
  } finally {
    cleanup[Symbol.dispose]();
  }
};
