// The device class `vif`: a paravirtual network interface (netif.h). tx and rx are the frontend's view.
import { creditRing, flag, packetRing, protocol, text, uint } from '../../core/index.js';
import { macKey } from './mac.js';
import {
  EXTRA_MORE,
  type GsoType,
  gsoType,
  netifExtraInfo,
  netifRsp,
  netifRxRequest,
  netifRxResponse,
  netifTxRequest,
  netifTxResponse,
  txFlag,
} from './wire.js';

/** Data slots of a packet that netback takes: the first and 18 more (netback.c `XEN_NETBK_LEGACY_SLOTS_MAX`; netif.h asks for 18 in all). */
export const MAX_SLOTS = 19;
/** Data slots from which on a packet ends its vif; those between are dropped (netback.c `fatal_skb_slots`). */
export const FATAL_SLOTS = 22;
/** Extras of a packet that are looked at, which is more than there are kinds; one with more ends its vif, or is dropped by its guest. */
export const MAX_EXTRAS = 8;
/** Bytes that a frame begins with: two addresses and a type (if_ether.h `ETH_HLEN`). */
export const ETHERNET_HEADER = 14;
/** Bytes of a tag that a frame's header may have besides (if_vlan.h `VLAN_HLEN`). */
export const VLAN_HEADER = 4;
/** Bytes that a packet can have: a request's `size` has 16 bits. */
export const MAX_PACKET = 65535;
/** Pages that the longest packet takes. */
export const PACKET_PAGES = Math.ceil((MAX_PACKET + 1) / 4096);
/** Responses that a frontend lets come before it is notified that its packets have been sent. */
const TX_HOLD_OFF = 192;
/** Bytes of a frame's payload, where nobody says (if_ether.h `ETH_DATA_LEN`), at least (`ETH_MIN_MTU`), at most. */
export const MTU = { usual: 1500, min: 68, max: MAX_PACKET - ETHERNET_HEADER } as const;

const packet = {
  flags: 'flags',
  moreData: txFlag.moreData,
  extraInfo: txFlag.extraInfo,
  extra: netifExtraInfo,
  moreExtras: EXTRA_MORE,
  slots: FATAL_SLOTS,
  extras: MAX_EXTRAS,
} as const;

const mtu = uint({ default: MTU.usual, min: MTU.min, max: MTU.max });

/** What a frontend and a backend of class `vif` agree on. */
export const vif = protocol({
  device: 'vif',
  rings: {
    tx: packetRing({
      request: netifTxRequest,
      response: netifTxResponse,
      id: 'id',
      // netback.c: "Asked for %d slots but exceeds this limit", "Missing extra info".
      packet: { ...packet, whole: true },
      isExtra: ({ status }) => status === netifRsp.null,
      holdOff: TX_HOLD_OFF,
    }),
    rx: creditRing({ request: netifRxRequest, response: netifRxResponse, packet }),
  },
  queues: { offered: 'multi-queue-max-queues', chosen: 'multi-queue-num-queues' },
  split: 'feature-split-event-channels',
  shared: 'Connected',
  keys: {
    toolstack: {
      backend: {
        handle: uint({ default: 0 }),
        mac: text({ default: '' }), // the frontend's
        bridge: text({ default: 'xenbr0' }),
        script: text({ default: '' }),
        type: text({ default: 'vif' }),
        vifname: text({ default: '' }),
        mtu,
        rate: text({ default: '' }), // "bytes,usec"
      },
      frontend: { handle: uint({ default: 0 }), mac: macKey(), mtu },
    },
    frontend: {
      Initialised: {
        'multi-queue-num-queues': uint({ default: 1, min: 1 }),
        'request-rx-copy': flag(),
        'feature-rx-notify': flag(),
        // What this end can receive; IPv4 checksums are offloaded unless it says no.
        'feature-sg': flag(),
        'feature-gso-tcpv4': flag(),
        'feature-gso-tcpv6': flag(),
        'feature-no-csum-offload': flag(),
        'feature-ipv6-csum-offload': flag(),
        'request-multicast-control': flag(),
      },
    },
    backend: {
      InitWait: {
        'feature-rx-copy': flag(),
        'feature-rx-flip': flag(),
        'feature-sg': flag(),
        'feature-gso-tcpv4': flag(),
        'feature-gso-tcpv6': flag(),
        'feature-no-csum-offload': flag(),
        'feature-ipv6-csum-offload': flag(),
        'feature-multicast-control': flag(),
        'feature-dynamic-multicast-control': flag(),
        'feature-split-event-channels': flag(),
        'multi-queue-max-queues': uint({ default: 1, min: 1 }),
      },
      Connected: { carrier: flag({ default: true }) },
    },
  },
});

/** What a vif does without being asked at run time, by either end's keys. */
export interface Offloads {
  /** Packets of several slots. */
  readonly sg: boolean;
  readonly gso4: boolean;
  readonly gso6: boolean;
  /** Packets whose checksum is blank but for its pseudo-header. */
  readonly checksum4: boolean;
  readonly checksum6: boolean;
}

/** What the end that wrote these keys can take. GSO needs scatter-gather, and a checksum that is blank. */
export const offloadsOf = (keys: {
  readonly 'feature-sg': boolean;
  readonly 'feature-gso-tcpv4': boolean;
  readonly 'feature-gso-tcpv6': boolean;
  readonly 'feature-no-csum-offload': boolean;
  readonly 'feature-ipv6-csum-offload': boolean;
}): Offloads => {
  const sg = keys['feature-sg'];
  const checksum4 = !keys['feature-no-csum-offload'];
  const checksum6 = keys['feature-ipv6-csum-offload'];
  return {
    sg,
    checksum4,
    checksum6,
    gso4: sg && checksum4 && keys['feature-gso-tcpv4'],
    gso6: sg && checksum6 && keys['feature-gso-tcpv6'],
  };
};

/** Whether large packets of a type are taken as they are. */
export const takesGso = ({ gso4, gso6 }: Offloads, type: GsoType): boolean => (type === gsoType.tcpv4 ? gso4 : gso6);

/** Whether blank checksums over a version of IP are taken as they are. */
export const takesBlank = ({ checksum4, checksum6 }: Offloads, version: number): boolean =>
  version === 4 ? checksum4 : checksum6;

/** Nothing but whole frames of up to a page. */
export const noOffloads: Offloads = { sg: false, gso4: false, gso6: false, checksum4: false, checksum6: false };
