import type { CConstant, CLayout } from './golden.js';

/** What a later header adds to a layout of layouts.json, or a layout that no header of Xen's has; the same for both ABIs. */
export interface Newer extends CLayout {
  readonly source: string;
}

/** Layouts that are newer than the headers behind layouts.json, by hand. */
export const newerLayouts = {
  xencons_interface: {
    source: 'io/console.h of Xen 4.21 (xen.git c447b7308b)',
    size: 3092,
    align: 4,
    fields: { connection: [3088, 1] },
  },
  xenstore_domain_interface: {
    source: 'io/xs_wire.h of Xen 4.21 (xen.git c447b7308b)',
    size: 2080,
    align: 4,
    fields: { evtchn_port: [2076, 4] },
  },
  netif_extra_info: {
    source: "Linux, include/xen/interface/io/netif.h; not in Xen's netif.h",
    size: 8,
    align: 2,
    fields: { 'u.xdp.headroom': [2, 2], 'u.xdp.pad': [4, 4] },
  },
  xen_9pfs_header: {
    source: "Linux, net/9p/trans_xen.c (packed); Xen's docs/misc/9pfs.pandoc draws it",
    size: 7,
    align: 1,
    fields: { size: [0, 4], id: [4, 1], tag: [5, 2] },
  },
} as const satisfies Readonly<Record<string, Newer>>;

/** Constants that are newer than the headers behind layouts.json, or gone from them, by hand. */
export const newerConstants = {
  XENCONSOLE_CONNECTED: { value: 0, source: 'io/console.h of Xen 4.21: what a zeroed page says' },
  XENCONSOLE_DISCONNECTED: { value: 1, source: 'io/console.h of Xen 4.21' },
  XS_RESTRICT: { value: 20, source: 'an older io/xs_wire.h; since removed, its number never used again' },
  XS_GET_FEATURE: { value: 23, source: 'io/xs_wire.h of xen.git c447b7308b' },
  XS_SET_FEATURE: { value: 24, source: 'io/xs_wire.h of xen.git c447b7308b' },
  XS_GET_QUOTA: { value: 25, source: 'io/xs_wire.h of xen.git c447b7308b' },
  XS_SET_QUOTA: { value: 26, source: 'io/xs_wire.h of xen.git c447b7308b' },
  XENSTORE_SERVER_FEATURE_WATCHDEPTH: { value: 4, source: 'io/xs_wire.h of xen.git c447b7308b' },
  XENSTORE_SERVER_FEATURE_DOMID_ANY: { value: 8, source: 'io/xs_wire.h of xen.git c447b7308b' },
  DOMID_ANY: { value: 0x7ff5, source: 'xen.h of xen.git c447b7308b' },
  XEN_NETIF_EXTRA_TYPE_XDP: { value: 5, source: 'Linux, include/xen/interface/io/netif.h' },
} as const satisfies Readonly<Record<string, { readonly value: CConstant; readonly source: string }>>;
