import { inject, optional } from 'inversify';
import {
  type FrontendValues,
  type FrontLink,
  type FrontNegotiation,
  frontend,
  Log,
  PeerFault,
  XenStore,
} from '../../core/index.js';
import { Nic } from './nic.js';
import { vif } from './protocol.js';

/** What a guest's interfaces do without, if its module binds it; all that is not named they take where the backend offers it. */
export abstract class NetFeatures {
  /** How many queues it wants; 1 without it. */
  readonly queues?: number;
  /** Whether each ring has an event channel of its own. */
  readonly splitChannels?: boolean;
  /** Whether it can receive packets of several slots, large TCP packets, and packets whose checksum is blank. */
  readonly sg?: boolean;
  readonly gso4?: boolean;
  readonly gso6?: boolean;
  readonly checksum4?: boolean;
  readonly checksum6?: boolean;
  /** Whether it tells the backend of new buffers. */
  readonly rxNotify?: boolean;
  /** Whether it is sent only frames to groups that it has joined; not without it. */
  readonly multicastControl?: boolean;
}

/** A guest's end of a network interface of class `vif`. */
@frontend(vif)
export class NetFrontend {
  readonly #features: NetFeatures;
  readonly #log: Log;
  readonly #store: XenStore;

  constructor(
    @inject(Log) log: Log,
    @inject(XenStore) store: XenStore,
    @inject(NetFeatures) @optional() features?: NetFeatures,
  ) {
    this.#log = log;
    this.#store = store;
    this.#features = features ?? {};
  }

  get splitChannels(): boolean {
    return this.#features.splitChannels ?? true;
  }

  negotiate({ offered, device }: FrontNegotiation<typeof vif>): FrontendValues<typeof vif> {
    // netfront.c `xennet_connect`: a backend without it would flip pages.
    if (!offered['feature-rx-copy']) throw new PeerFault(`${device.otherendPath}/feature-rx-copy`, 0);
    const { queues = 1, sg, gso4, gso6, checksum4, checksum6, rxNotify, multicastControl } = this.#features;
    return {
      'multi-queue-num-queues': Math.min(queues, offered['multi-queue-max-queues']),
      'request-rx-copy': true,
      'feature-rx-notify': rxNotify ?? true,
      'feature-sg': sg ?? true,
      'feature-gso-tcpv4': gso4 ?? true,
      'feature-gso-tcpv6': gso6 ?? true,
      'feature-no-csum-offload': checksum4 === false,
      'feature-ipv6-csum-offload': checksum6 ?? true,
      'request-multicast-control': multicastControl === true && offered['feature-multicast-control'],
    };
  }

  connect(link: FrontLink<typeof vif>): Nic {
    return new Nic(link, this.#log, this.#store);
  }
}
