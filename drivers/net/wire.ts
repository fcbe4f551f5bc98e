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
