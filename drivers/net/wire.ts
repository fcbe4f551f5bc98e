import { array, grantRef, i16, overlay, padding, struct, u8, u16, u32 } from '../../core/index.js';

/** One slot of a packet to send (netif.h `netif_tx_request`). */
export const netifTxRequest = struct('netif_tx_request', {
  gref: grantRef,
  offset: u16,
  flags: u16,
  id: u16,
  size: u16,
});
/** netif.h `netif_tx_response`. */
export const netifTxResponse = struct('netif_tx_response', { id: u16, status: i16 });
/** A buffer to receive into (netif.h `netif_rx_request`). */
export const netifRxRequest = struct('netif_rx_request', { id: u16, pad: padding(2), gref: grantRef });
/** One slot of a received packet; a `status` above 0 is its bytes (netif.h `netif_rx_response`). */
export const netifRxResponse = struct('netif_rx_response', { id: u16, offset: u16, flags: u16, status: i16 });

/** What a slot that follows the first of a packet says about it (netif.h `netif_extra_info`); its `type` tells the variant. */
export const netifExtraInfo = struct('netif_extra_info', {
  type: u8,
  flags: u8,
  u: overlay('netif_extra_info_u', {
    gso: struct('netif_extra_info_gso', { size: u16, type: u8, pad: padding(1), features: u16 }),
    mcast: struct('netif_extra_info_mcast', { addr: array(u8, 6) }),
    hash: struct('netif_extra_info_hash', { type: u8, algorithm: u8, value: array(u8, 4) }),
    xdp: struct('netif_extra_info_xdp', { headroom: u16, pad: padding(4) }),
  }),
});

/** netif.h `xen_netif_ctrl_request`. */
export const netifCtrlRequest = struct('xen_netif_ctrl_request', { id: u16, type: u16, data: array(u32, 3) });
/** netif.h `xen_netif_ctrl_response`. */
export const netifCtrlResponse = struct('xen_netif_ctrl_response', { id: u16, type: u16, status: u32, data: u32 });

/** Flags of a netif_tx_request (netif.h `NETTXF_*`). */
export const txFlag = { csumBlank: 1, dataValidated: 2, moreData: 4, extraInfo: 8 } as const;
/** Flags of a netif_rx_response (netif.h `NETRXF_*`); the first two are the other way round than {@link txFlag}'s. */
export const rxFlag = { dataValidated: 1, csumBlank: 2, moreData: 4, extraInfo: 8 } as const;
/** Status of a response; of a netif_rx_response, what is above 0 is bytes (netif.h `NETIF_RSP_*`). */
export const netifRsp = { dropped: -2, error: -1, okay: 0, null: 1 } as const;
/** Types of extras (netif.h `XEN_NETIF_EXTRA_TYPE_*`). */
export const extraType = { none: 0, gso: 1, mcastAdd: 2, mcastDel: 3, hash: 4 } as const;
/** The flag of an extra that another follows (netif.h `XEN_NETIF_EXTRA_FLAG_MORE`). */
export const EXTRA_MORE = 1;
/** Types of segmentation (netif.h `XEN_NETIF_GSO_TYPE_*`). */
export const gsoType = { none: 0, tcpv4: 1, tcpv6: 2 } as const;
export type GsoType = (typeof gsoType)[keyof typeof gsoType];
