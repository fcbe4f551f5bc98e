import { firstValueFrom, Subscription } from 'rxjs';
import { ContainerModule, type Device, devices$ } from '../../core/index.js';
import { checksum, Headers, ipProtocol, NetFeatures, NetFrontend, type Nic } from '../../drivers/net/index.js';
import { XenDomain } from '../../platform/xen/index.js';

/** What came through an interface. */
export interface Tally {
  /** UDP datagrams by the state of their checksum. */
  readonly udp: { unknown: number; validated: number; blank: number };
}

const states = Object.keys(checksum) as (keyof typeof checksum)[];

/** Counts what comes, from now on. */
export const tallyOf = (nic: Nic): Tally => {
  const tally: Tally = { udp: { unknown: 0, validated: 0, blank: 0 } };
  const headers = new Headers();
  nic.frames$.subscribe((batch) => {
    for (const frame of batch) {
      const { bytes, offset, length } = frame;
      if (!headers.parse(bytes, offset, length) || headers.protocol !== ipProtocol.udp) continue;
      const state = states.find((name) => checksum[name] === frame.checksum);
      if (state !== undefined) tally.udp[state]++;
    }
  });
  return tally;
};

/** A guest's interface in this process. */
export interface Interface {
  readonly xen: XenDomain;
  readonly nic: Nic;
  readonly tally: Tally;
  /** Closes it for good; resolves to what this process still holds of Xen. */
  close(): Promise<Readonly<Record<string, number>>>;
}

/** Waits until this guest's interface is connected. */
export const openInterface = async (features: NetFeatures): Promise<Interface> => {
  const xen = await XenDomain.open({ log: ({ level, source, text }) => console.error(`${level} ${source} ${text}`) });
  xen.domain.container.load(new ContainerModule(({ bind }) => void bind(NetFeatures).toConstantValue(features)));
  const idle = xen.holdings;
  // A device is given up when nobody is subscribed for it.
  const stay = new Subscription();
  const device = await new Promise<Device<Nic>>((resolve) => {
    stay.add(devices$(xen.domain, NetFrontend).subscribe(resolve));
  });
  const nic = await firstValueFrom(device.connections$);
  const close = async (): Promise<Readonly<Record<string, number>>> => {
    await device.close();
    stay.unsubscribe();
    const left = Object.entries(xen.holdings).filter(([what, count]) => count > idle[what as keyof typeof idle]);
    xen[Symbol.dispose]();
    return Object.fromEntries(left);
  };
  return { xen, nic, tally: tallyOf(nic), close };
};

/** Writes a line that dom0 reads. */
export const tell = (value: object): void => console.log(JSON.stringify(value));
