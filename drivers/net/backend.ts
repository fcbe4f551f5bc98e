import { inject, optional } from 'inversify';
import { distinctUntilChanged, startWith } from 'rxjs';
import {
  type BackLink,
  type BackOffer,
  backend,
  Clock,
  Log,
  type OfferValues,
  PeerFault,
  XenStore,
} from '../../core/index.js';
import { Bridges } from './bridge.js';
import { keyText$ } from './key-text.js';
import { vif } from './protocol.js';
import { parseRate } from './rate-limit.js';
import { Vif } from './vif.js';

/** What hears of the vifs of a domain as they connect: a capture, for one. */
export abstract class VifObserver {
  /** A vif has connected. What this returns is disposed of with it. */
  abstract connected(vif: Vif): Disposable;
}

/** Queues that are offered (netback: one for each of its processors; `xenvif_max_queues`). */
export const MAX_QUEUES = 8;

/** Serves interfaces of class `vif` as ports of the bridges of its domain, by copy. */
@backend(vif)
export class NetBackend {
  readonly #bridges: Bridges;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #store: XenStore;
  readonly #observer: VifObserver | undefined;

  constructor(
    @inject(Bridges) bridges: Bridges,
    @inject(Clock) clock: Clock,
    @inject(Log) log: Log,
    @inject(XenStore) store: XenStore,
    @inject(VifObserver) @optional() observer?: VifObserver,
  ) {
    this.#bridges = bridges;
    this.#clock = clock;
    this.#log = log;
    this.#store = store;
    this.#observer = observer;
  }

  offer(_offer: BackOffer<typeof vif>): OfferValues<typeof vif> {
    return {
      'feature-rx-copy': true,
      'feature-rx-flip': false,
      'feature-sg': true,
      'feature-gso-tcpv4': true,
      'feature-gso-tcpv6': true,
      'feature-no-csum-offload': false,
      'feature-ipv6-csum-offload': true,
      'feature-multicast-control': true,
      'feature-dynamic-multicast-control': true,
      'feature-split-event-channels': true,
      'multi-queue-max-queues': MAX_QUEUES,
    };
  }

  connect(link: BackLink<typeof vif>): Vif {
    const { peer, device, toolstack, subscription, publish } = link;
    // netback.c `read_xenbus_vif_flags`: without it the frontend wants pages flipped.
    if (!peer['request-rx-copy']) throw new PeerFault(`${device.otherendPath}/request-rx-copy`, 0);
    publish({ carrier: true });
    const port = new Vif(link, this.#bridges.get(toolstack.bridge), this.#clock, this.#log);
    const observed = this.#observer?.connected(port);
    if (observed !== undefined) subscription.add(() => observed[Symbol.dispose]());
    this.#followRate(link, port);
    if (link.own['feature-dynamic-multicast-control']) this.#followMulticastControl(link, port);
    return port;
  }

  /** The toolstack may change the limit at any time (netback: `xen_net_rate_changed`). */
  #followRate(link: BackLink<typeof vif>, port: Vif): void {
    const { device, toolstack } = link;
    const apply = (text: string): void => {
      const rate = parseRate(text);
      port.limit(rate, this.#clock.now());
      if (rate !== undefined || text === '') return;
      const said = `the key rate holds ${JSON.stringify(text)}, which is not bytes,usec: nothing is limited`;
      this.#log.write({ level: 'warning', source: device.path, text: said });
    };
    this.#follow(link, `${device.path}/rate`, toolstack.rate, (text = '') => apply(text));
  }

  /** A frontend may have groups filtered, or all let through, at any time (netif.h `feature-dynamic-multicast-control`). */
  #followMulticastControl(link: BackLink<typeof vif>, port: Vif): void {
    const { device, peer } = link;
    const path = `${device.otherendPath}/request-multicast-control`;
    const first = peer['request-multicast-control'] ? '1' : '0';
    this.#follow(link, path, first, (text = '0') =>
      port.filterGroups(/^[0-9]{1,10}$/.test(text) && Number(text) !== 0),
    );
  }

  /** Hands on what a key holds: `first`, and what it holds later, while the link lasts. */
  #follow(
    { device, subscription }: BackLink<typeof vif>,
    path: string,
    first: string,
    apply: (text: string | undefined) => void,
  ): void {
    subscription.add(
      keyText$(this.#store, path)
        .pipe(startWith(first), distinctUntilChanged())
        .subscribe({
          next: apply,
          error: (error) => this.#log.write({ level: 'warning', source: device.path, text: String(error) }),
        }),
    );
  }
}
