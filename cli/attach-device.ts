import { Cleanup, type Domid, XenError } from '../core/index.js';
import type { Toolstack } from '../core/toolstack/index.js';
import type { DriverModule } from './driver-modules.js';
import { messageOf, RunError, UsageError } from './errors.js';
import type { MachineOptions, OptionValues } from './machine.js';
import { onXen } from './on-xen.js';
import type { TerminalOutput } from './terminal-output.js';

/** A device that is attached or detached. */
export interface DeviceRequest {
  readonly driver: DriverModule;
  /** The guest, by name or number. */
  readonly frontend: string;
  readonly values: OptionValues<MachineOptions>;
  readonly out: TerminalOutput;
}

/** A device that is attached. */
export interface AttachRequest extends DeviceRequest {
  /** The backend's domain, by name or number. */
  readonly backend: string;
  /** The directory below `backend` that it has. */
  readonly type: string;
}

/** Does something with the toolstack of the domain that this is; what Xen and the store refuse is told in one line. */
const withToolstack = async (work: (toolstack: Toolstack) => Promise<void>): Promise<void> => {
  const cleanup = new Cleanup();
  try {
    const xen = cleanup.use(await onXen({}));
    const { toolstackOf } = await import('../platform/xen/index.js');
    await work(toolstackOf(xen.domain));
  } catch (error) {
    if (error instanceof XenError) throw new RunError(messageOf(error));
    throw error;
  } finally {
    cleanup[Symbol.dispose]();
  }
};

/** The number of a domain by its number or else its name, as xl looks for it. @throws RunError */
export const domidOf = async (toolstack: Pick<Toolstack, 'domains'>, domain: string): Promise<Domid> => {
  const domains = await toolstack.domains();
  const found = domains.find(({ domid }) => String(domid) === domain) ?? domains.find(({ name }) => name === domain);
  if (found !== undefined) return found.domid;
  if (domain === '0' || domain === 'Domain-0') return 0 as Domid;
  const names = domains.map(({ name }) => name);
  const there = names.length === 0 ? 'there is no domain but dom0' : `there are ${names.join(', ')}`;
  throw new RunError(`there is no domain ${domain}: ${there}`);
};

const idOf = ({ attachment }: DriverModule, values: OptionValues<MachineOptions>): string | number =>
  attachment === undefined ? String(values.id) : attachment.id(values);

/** Writes the directories of a device. @throws RunError when a domain is not there, or has the device already */
export const attachDevice = async ({
  driver,
  frontend,
  backend,
  type,
  values,
  out,
}: AttachRequest): Promise<boolean> => {
  const id = idOf(driver, values);
  await withToolstack(async (toolstack) => {
    const guest = await domidOf(toolstack, frontend);
    const server = await domidOf(toolstack, backend);
    // What another domain serves can be looked at there alone.
    if (server === 0) {
      try {
        driver.attachment?.check?.(values);
      } catch (error) {
        throw new UsageError(messageOf(error));
      }
    }
    const keys = driver.attachment?.keys(values);
    const { device } = driver;
    await toolstack.attach({ device, type, id, frontend: guest, backend: server, ...(keys && { keys }) });
    out.row('attached', `${device} ${id} to domain ${guest}, served by domain ${server} as ${type}`);
  });
  return true;
};

/** Takes a device away; whether its backend closed in time. @throws RunError when it is not there */
export const detachDevice = async ({ driver, frontend, values, out }: DeviceRequest): Promise<boolean> => {
  const id = idOf(driver, values);
  let closed = false;
  await withToolstack(async (toolstack) => {
    const guest = await domidOf(toolstack, frontend);
    const { device } = driver;
    closed = await toolstack.detach({ device, id, frontend: guest });
    out.row(
      'detached',
      closed
        ? `${device} ${id} from domain ${guest}`
        : `${device} ${id} from domain ${guest}, though its backend did not close: is one running?`,
    );
  });
  return closed;
};
