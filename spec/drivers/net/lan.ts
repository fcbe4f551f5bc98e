// Guests on one bridge: the frontends in the test's own thread, the backend in a domain that boots from its module.
import { map } from 'rxjs';
import { onEveryPlatform, type Rig } from '../../../contract/index.js';
import { ContainerModule, connection, type Domain, type Domid, type Plain } from '../../../core/index.js';
import { NetFeatures, NetFrontend } from '../../../drivers/net/frontend.js';
import type { Nic } from '../../../drivers/net/nic.js';
import { vif } from '../../../drivers/net/protocol.js';
import { type VifConfig, vifKeys } from '../../../drivers/net/vif-keys.js';
import { RawVif, type RawVifOptions } from './raw-vif.js';

/** How a station is set up. */
export interface StationOptions extends Partial<VifConfig> {
  readonly features?: NetFeatures;
}

/** A guest with an interface, and what it has received. */
export interface Station {
  readonly guest: Domain;
  readonly nic: Nic;
  readonly mac: Uint8Array;
  /** Copies of the frames that came. */
  readonly received: Uint8Array[];
  /** Resolves when so many frames have come in all. */
  came(count: number): Promise<void>;
}

/** What a suite of stations works with. */
export interface Lan {
  readonly rig: () => Rig;
  /** Boots a backend's domain. */
  backend(offer?: Readonly<Record<string, Plain>>): Promise<Domid>;
  /** A guest whose frontend is made by hand, connected; `hear` gets the lines that the backend's domain logs of it. */
  raw(backend: Domid, options?: Omit<RawVifOptions, 'backend'>): Promise<RawVif>;
  /** The lines, from warnings on, that were logged in this test. */
  readonly log: readonly string[];
  /** Another guest, with an interface on the bridge of a backend. */
  station(backend: Domid, options?: StationOptions): Promise<Station>;
}

/** The `i`th station's address. */
export const macOf = (i: number): string =>
  `00:16:3e:00:${[i >> 8, i & 255].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`;

/** Runs a suite on every platform. */
export const onLans = (name: string, suite: (lan: Lan) => void): void => {
  onEveryPlatform(vif, NetFrontend, import.meta.resolve('../../../drivers/net/module.js'), (_connect, rig) => {
    let count = 0;
    const log: string[] = [];
    beforeEach(() => {
      count = 0;
      log.length = 0;
      rig().machine.log$.subscribe(({ level, text }) => level !== 'info' && log.push(text));
    });

    const raw: Lan['raw'] = async (domid, options = {}) => {
      const { machine } = rig();
      const guest = await machine.guest(`raw-${++count}`);
      return RawVif.connect(machine, guest, { ...options, backend: domid });
    };

    const backend: Lan['backend'] = (offer) =>
      rig().machine.boot({
        name: 'bridge',
        module: import.meta.resolve('./lan.module.js'),
        ...(offer !== undefined && { offer }),
      });

    const station: Lan['station'] = async (domid, { features, ...options } = {}) => {
      const { machine } = rig();
      const i = ++count;
      const guest = await machine.guest(`station-${i}`);
      if (features !== undefined)
        guest.container.load(new ContainerModule(({ bind }) => void bind(NetFeatures).toConstantValue(features)));
      const mac = options.mac ?? macOf(i);
      const keys = vifKeys({ ...options, mac });
      await machine.toolstack.attach({
        device: 'vif',
        id: options.devid ?? 0,
        frontend: guest.domid,
        backend: domid,
        keys,
      });
      const nic = await connection(guest, NetFrontend);
      const received: Uint8Array[] = [];
      const count$ = nic.frames$.pipe(
        map((batch) => {
          for (const frame of batch) received.push(frame.copy());
          return received.length;
        }),
      );
      const waiting: { readonly count: number; readonly resolve: () => void }[] = [];
      count$.subscribe((seen) => {
        for (const waiter of waiting.filter((one) => one.count <= seen)) waiter.resolve();
      });
      const came = (wanted: number): Promise<void> =>
        received.length >= wanted
          ? Promise.resolve()
          : new Promise((resolve) => waiting.push({ count: wanted, resolve }));
      return { guest, nic, mac: nic.mac, received, came };
    };

    describe(name, () => suite({ rig, backend, station, raw, log }));
  });
};
