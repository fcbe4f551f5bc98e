import { array, domid, grantRef, i8, i16, i32, opaque64, port, u8, u16, u32, u64 } from '../../core/abi/fields.js';
import { overlay, struct } from '../../core/abi/struct.js';

/*
 * Layouts of Xen's that no source of the project declares by struct(), since nothing uses them yet, or not as records: struct() can
 * express them, and golden.spec.ts holds them against the headers. A member that the headers give no length (`ref[]`) has the
 * length 0 here.
 */

const ringIndex = u32;
const bytes = (n: number) => array(u8, n);

/** io/console.h `struct xencons_interface`, with the `connection` of Xen 4.21. */
export const xenconsInterface = struct('xencons_interface', {
  in: bytes(1024),
  out: bytes(2048),
  in_cons: ringIndex,
  in_prod: ringIndex,
  out_cons: ringIndex,
  out_prod: ringIndex,
  connection: u8,
});

/** io/xs_wire.h `struct xenstore_domain_interface`, with the `evtchn_port` of Xen 4.21. */
export const xenstoreDomainInterface = struct('xenstore_domain_interface', {
  req: bytes(1024),
  rsp: bytes(1024),
  req_cons: ringIndex,
  req_prod: ringIndex,
  rsp_cons: ringIndex,
  rsp_prod: ringIndex,
  server_features: u32,
  connection: u32,
  error: u32,
  evtchn_port: port,
});

/** io/xs_wire.h `struct xsd_sockmsg`. */
export const xsdSockmsg = struct('xsd_sockmsg', { type: u32, req_id: u32, tx_id: u32, len: u32 });

/** io/libxenvchan.h `struct ring_shared`. */
export const ringShared = struct('ring_shared', { cons: u32, prod: u32 });
/** io/libxenvchan.h `struct vchan_interface`. */
export const vchanInterface = struct('vchan_interface', {
  left: ringShared,
  right: ringShared,
  left_order: u16,
  right_order: u16,
  cli_live: u8,
  srv_live: u8,
  cli_notify: u8,
  srv_notify: u8,
  grants: array(grantRef, 0),
});

/** io/ring.h DEFINE_XEN_FLEX_RING_AND_INTF(xen_9pfs): the index page. */
export const xen9pfsDataIntf = struct('xen_9pfs_data_intf', {
  in_cons: ringIndex,
  in_prod: ringIndex,
  pad1: bytes(56),
  out_cons: ringIndex,
  out_prod: ringIndex,
  pad2: bytes(56),
  ring_order: ringIndex,
  ref: array(grantRef, 0),
});

/** What precedes each 9P message (packed, so of bytes). */
export const xen9pfsHeader = struct('xen_9pfs_header', { size: bytes(4), id: u8, tag: bytes(2) });

/** io/pvcalls.h `struct pvcalls_data_intf`: the index page of one connection. */
export const pvcallsDataIntf = struct('pvcalls_data_intf', {
  in_cons: ringIndex,
  in_prod: ringIndex,
  in_error: ringIndex,
  pad1: bytes(52),
  out_cons: ringIndex,
  out_prod: ringIndex,
  out_error: ringIndex,
  pad2: bytes(52),
  ring_order: ringIndex,
  ref: array(grantRef, 0),
});

/** io/pvcalls.h `struct xen_pvcalls_request`. */
export const xenPvcallsRequest = struct('xen_pvcalls_request', {
  req_id: u32,
  cmd: u32,
  u: overlay('xen_pvcalls_request_u', {
    socket: struct('xen_pvcalls_socket', { id: opaque64, domain: u32, type: u32, protocol: u32, pad: bytes(4) }),
    connect: struct('xen_pvcalls_connect', {
      id: opaque64,
      addr: bytes(28),
      len: u32,
      flags: u32,
      ref: grantRef,
      evtchn: port,
      pad: bytes(4),
    }),
    release: struct('xen_pvcalls_release', { id: opaque64, reuse: u8, pad: bytes(7) }),
    bind: struct('xen_pvcalls_bind', { id: opaque64, addr: bytes(28), len: u32 }),
    listen: struct('xen_pvcalls_listen', { id: opaque64, backlog: u32, pad: bytes(4) }),
    accept: struct('xen_pvcalls_accept', { id: opaque64, id_new: opaque64, ref: grantRef, evtchn: port }),
    poll: struct('xen_pvcalls_poll', { id: opaque64 }),
    dummy: struct('xen_pvcalls_dummy', { dummy: bytes(56) }),
  }),
});

const answered = struct('_xen_pvcalls_socket', { id: opaque64 });
/** io/pvcalls.h `struct xen_pvcalls_response`. */
export const xenPvcallsResponse = struct('xen_pvcalls_response', {
  req_id: u32,
  cmd: u32,
  ret: i32,
  pad: u32,
  u: overlay('xen_pvcalls_response_u', {
    socket: answered,
    connect: answered,
    release: answered,
    bind: answered,
    listen: answered,
    accept: answered,
    poll: answered,
    dummy: struct('_xen_pvcalls_dummy', { dummy: bytes(8) }),
  }),
});

/** io/netif.h `struct xen_netif_gref`: one entry of the list that ADD_GREF_MAPPING and DEL_GREF_MAPPING name. */
export const netifGref = struct('xen_netif_gref', { ref: grantRef, flags: u16, status: u16 });

/** xen.h `struct vcpu_time_info`. */
export const vcpuTimeInfo = struct('vcpu_time_info', {
  version: u32,
  pad0: u32,
  tsc_timestamp: opaque64,
  system_time: u64,
  tsc_to_system_mul: u32,
  tsc_shift: i8,
  flags: u8,
  pad1: bytes(2),
});
/** vcpu.h `struct vcpu_runstate_info`; `state_entry_time` has a flag in bit 63. */
export const vcpuRunstateInfo = struct('vcpu_runstate_info', {
  state: i32,
  state_entry_time: opaque64,
  time: array(u64, 4),
});
/** vcpu.h `struct vcpu_set_singleshot_timer`. */
export const vcpuSetSingleshotTimer = struct('vcpu_set_singleshot_timer', { timeout_abs_ns: u64, flags: u32 });
/** vcpu.h `struct vcpu_set_periodic_timer`. */
export const vcpuSetPeriodicTimer = struct('vcpu_set_periodic_timer', { period_ns: u64 });
/** vcpu.h `struct vcpu_register_vcpu_info`. */
export const vcpuRegisterVcpuInfo = struct('vcpu_register_vcpu_info', { mfn: u64, offset: u32, rsvd: u32 });

/** event_channel.h: the arguments of EVTCHNOP_*, and the FIFO ABI's control block. */
export const evtchn = [
  struct('evtchn_bind_interdomain', { remote_dom: domid, remote_port: port, local_port: port }),
  struct('evtchn_bind_virq', { virq: u32, vcpu: u32, port }),
  struct('evtchn_bind_pirq', { pirq: u32, flags: u32, port }),
  struct('evtchn_close', { port }),
  struct('evtchn_send', { port }),
  struct('evtchn_alloc_unbound', { dom: domid, remote_dom: domid, port }),
  struct('evtchn_bind_ipi', { vcpu: u32, port }),
  struct('evtchn_bind_vcpu', { port, vcpu: u32 }),
  struct('evtchn_unmask', { port }),
  struct('evtchn_reset', { dom: domid }),
  struct('evtchn_init_control', { control_gfn: u64, offset: u32, vcpu: u32, link_bits: u8, _pad: bytes(7) }),
  struct('evtchn_expand_array', { array_gfn: u64 }),
  struct('evtchn_set_priority', { port, priority: u32 }),
  struct('evtchn_fifo_control_block', { ready: u32, _rsvd: u32, head: array(u32, 16) }),
] as const;

/** event_channel.h `struct evtchn_status`; a union's member that is a bare number stands as a struct of one. */
export const evtchnStatus = struct('evtchn_status', {
  dom: domid,
  port,
  status: u32,
  vcpu: u32,
  u: overlay('evtchn_status_u', {
    unbound: struct('unbound', { dom: domid }),
    interdomain: struct('interdomain', { dom: domid, port }),
    pirq: struct('pirq', { pirq: u32 }),
    virq: struct('virq', { virq: u32 }),
  }),
});

const grantEntryHeader = struct('grant_entry_header', { flags: u16, domid });
/** grant_table.h `union grant_entry_v2`. */
export const grantEntryV2 = overlay('grant_entry_v2', {
  hdr: grantEntryHeader,
  full_page: struct('full_page', { hdr: grantEntryHeader, pad0: u32, frame: u64 }),
  sub_page: struct('sub_page', { hdr: grantEntryHeader, page_off: u16, length: u16, frame: u64 }),
  transitive: struct('transitive', { hdr: grantEntryHeader, trans_domid: domid, pad0: u16, gref: grantRef }),
});

/** grant_table.h: an entry, and the arguments of those GNTTABOP_* that hold no pointer and no frame number. */
export const gnttab = [
  struct('grant_entry_v1', { flags: u16, domid, frame: u32 }),
  struct('gnttab_map_grant_ref', {
    host_addr: opaque64,
    flags: u32,
    ref: grantRef,
    dom: domid,
    status: i16,
    handle: u32,
    dev_bus_addr: opaque64,
  }),
  struct('gnttab_unmap_grant_ref', { host_addr: opaque64, dev_bus_addr: opaque64, handle: u32, status: i16 }),
  struct('gnttab_query_size', { dom: domid, nr_frames: u32, max_nr_frames: u32, status: i16 }),
  struct('gnttab_set_version', { version: u32 }),
  struct('gnttab_get_version', { dom: domid, pad: u16, version: u32 }),
  struct('gnttab_swap_grant_ref', { ref_a: grantRef, ref_b: grantRef, status: i16 }),
] as const;

/** grant_table.h `struct gnttab_cache_flush`. */
export const gnttabCacheFlush = struct('gnttab_cache_flush', {
  a: overlay('gnttab_cache_flush_a', {
    dev_bus_addr: struct('dev_bus_addr', { dev_bus_addr: opaque64 }),
    ref: struct('ref', { ref: grantRef }),
  }),
  offset: u16,
  length: u16,
  op: u32,
});
