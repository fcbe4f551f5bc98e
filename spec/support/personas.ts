// The other end of a device, made by hand: it writes the store itself, as another implementation would.
import { filter, firstValueFrom, switchMap } from 'rxjs';
import {
  asPort,
  type Domain,
  type EventChannel,
  EventChannels,
  GrantTable,
  type Page,
  type SharedPage,
  XenStore,
} from '../../core/index.js';
import { readIfAllowed } from '../../core/xenbus/state-nodes.js';
import { type XenbusState, xenbusState } from '../../core/xenbus/states.js';
import type { XenbusRig } from './xenbus-rig.js';

/** One end of the rig's device, by hand. */
class Persona {
  readonly rig: XenbusRig;
  readonly domain: Domain;
  readonly store: XenStore;
  readonly path: string;
  readonly otherPath: string;

  constructor(rig: XenbusRig, domain: Domain, path: string, otherPath: string) {
    this.rig = rig;
    this.domain = domain;
    this.store = domain.get(XenStore);
    this.path = path;
    this.otherPath = otherPath;
  }

  get grants(): GrantTable {
    return this.domain.get(GrantTable);
  }

  get channels(): EventChannels {
    return this.domain.get(EventChannels);
  }

  /** Writes this end's state, and what else is given, in one transaction. */
  async becomes(state: XenbusState, keys: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.writes(String(xenbusState[state]), keys);
  }

  /** Writes any text as this end's state. */
  async writes(state: string, keys: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.store.transaction(async (store) => {
      for (const [key, text] of Object.entries(keys)) await store.write(`${this.path}/${key}`, text);
      await store.write(`${this.path}/state`, state);
    });
  }

  /** Waits until the other end is in one of some states. */
  async sees(...states: readonly XenbusState[]): Promise<void> {
    const texts = states.map((state) => String(xenbusState[state]));
    await firstValueFrom(
      this.store.watch$(`${this.otherPath}/state`).pipe(
        switchMap(() => readIfAllowed(this.store, `${this.otherPath}/state`)),
        filter((text) => texts.includes(text ?? '0')),
      ),
    );
  }
}

export class PersonaFront extends Persona {
  page: SharedPage | undefined;
  channel: EventChannel | undefined;

  constructor(rig: XenbusRig) {
    super(rig, rig.guest, rig.paths.frontend, rig.paths.backend);
  }

  /** Shares a ring, which is not initialised but for zeroes and the events of ring.h, and says so. */
  share(): Readonly<Record<string, string>> {
    this.page = this.grants.share(this.rig.backend.domid);
    this.page.words[1] = 1;
    this.page.words[3] = 1;
    this.channel = this.channels.allocUnbound(this.rig.backend.domid);
    return {
      'ring-ref': String(this.page.ref),
      'event-channel': String(this.channel.port),
      protocol: this.domain.abi,
    };
  }

  /** Ends the grant and the channel. */
  free(): void {
    this.page?.[Symbol.dispose]();
    this.channel?.[Symbol.dispose]();
    this.page = undefined;
    this.channel = undefined;
  }

  /** Shares and connects, as blkfront does. */
  async connects(): Promise<void> {
    await this.sees('InitWait');
    await this.becomes('Initialised', this.share());
    await this.sees('Connected');
    await this.becomes('Connected');
  }

  /** Closes in the orderly way. */
  async closes(): Promise<void> {
    await this.becomes('Closing');
    await this.sees('Closing', 'Closed');
    await this.becomes('Closed');
    await this.sees('Closed');
    this.free();
  }
}

export class PersonaBack extends Persona {
  page: Page | undefined;
  channel: EventChannel | undefined;

  constructor(rig: XenbusRig) {
    super(rig, rig.backend, rig.paths.backend, rig.paths.frontend);
  }

  /** Maps the ring that the frontend names, and binds its channel. */
  async map(): Promise<void> {
    const ref = Number(await this.store.read(`${this.otherPath}/ring-ref`));
    const port = Number(await this.store.read(`${this.otherPath}/event-channel`));
    this.page = this.grants.map(this.rig.guest.domid, [ref as SharedPage['ref']]);
    this.channel = this.channels.bindInterdomain(this.rig.guest.domid, asPort(port));
  }

  unmap(): void {
    this.page?.[Symbol.dispose]();
    this.channel?.[Symbol.dispose]();
    this.page = undefined;
    this.channel = undefined;
  }

  async offers(): Promise<void> {
    await this.becomes('InitWait', { 'max-bytes': '128' });
  }

  /** Waits for the frontend's ring and connects, as blkback does. */
  async connects(): Promise<void> {
    await this.sees('Initialised', 'Connected');
    await this.map();
    await this.becomes('Connected', { sectors: '9' });
  }

  /** Goes along with a frontend that closes. */
  async closes(): Promise<void> {
    await this.sees('Closing', 'Closed');
    await this.becomes('Closing');
    await this.sees('Closed');
    this.unmap();
    await this.becomes('Closed');
  }
}
