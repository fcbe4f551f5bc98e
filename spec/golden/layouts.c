/*
 * Prints, as JSON, the layouts and constants that Xen's public headers give to the ABI it is compiled for:
 *
 *   { "layouts": { "blkif_request": { "size", "align", "fields": { "operation": [offset, size], … } }, … },
 *     "constants": { "BLKIF_OP_READ": 0, … } }
 *
 * scripts/golden.mjs compiles it with -m64 and -m32 and keeps both in layouts.json.
 * A field whose length the header leaves open (a flexible array) has the size 0.
 */
#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__
#define __XEN_TOOLS__ 1 /* for domctl.h */

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/errno.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/physdev.h>
#include <xen/callback.h>
#include <xen/nmi.h>
#include <xen/domctl.h>
#include <xen/io/ring.h>
#include <xen/io/blkif.h>
#include <xen/io/netif.h>
#include <xen/io/console.h>
#include <xen/io/xs_wire.h>
#include <xen/io/libxenvchan.h>
#include <xen/io/9pfs.h>
#include <xen/io/pvcalls.h>
#include <xen/io/protocols.h>
#include <xen/io/xenbus.h>

/* xen.h hides this from toolstacks on i386. */
#ifndef xen_wc_sec_hi
#define xen_wc_sec_hi arch.wc_sec_hi
#endif

static const char *between = "";

static void item(const char *name)
{
    printf("%s\n\"%s\": ", between, name);
    between = ",";
}

static void open_object(const char *name)
{
    item(name);
    printf("{");
    between = "";
}

static void close_object(void)
{
    printf("}");
    between = ",";
}

static void number(const char *name, long long value)
{
    item(name);
    printf("%lld", value);
}

static void string(const char *name, const char *value)
{
    item(name);
    printf("\"%s\"", value);
}

static void field(const char *name, size_t offset, size_t size)
{
    item(name);
    printf("[%zu, %zu]", offset, size);
}

/* LAYOUT(struct t, FIELD(a) FIELD(u.b) FLEXIBLE(c)): one entry of "layouts", named without `struct` or `union`. */
#define LAYOUT(type, fields)                                                                                           \
    do {                                                                                                               \
        typedef type T;                                                                                                \
        open_object(strchr(#type, ' ') + 1);                                                                           \
        number("size", sizeof(T));                                                                                     \
        number("align", _Alignof(T));                                                                                  \
        open_object("fields");                                                                                         \
        fields                                                                                                         \
        close_object();                                                                                                \
        close_object();                                                                                                \
    } while (0)
#define FIELD(name)    field(#name, offsetof(T, name), sizeof(((T *)0)->name));
#define FLEXIBLE(name) field(#name, offsetof(T, name), 0);

/* SRING(blkif): a ring page up to its first slot. */
#define SRING(tag)                                                                                                     \
    LAYOUT(struct tag##_sring, FIELD(req_prod) FIELD(req_event) FIELD(rsp_prod) FIELD(rsp_event) FIELD(pvt)            \
        FIELD(__pad) FLEXIBLE(ring));                                                                                  \
    LAYOUT(union tag##_sring_entry, FIELD(req) FIELD(rsp))

#define CONSTANT(name) number(#name, name);
#define TEXT(name)     string(#name, name);

static void layouts(void)
{
    /* io/ring.h with io/blkif.h */
    SRING(blkif);
    LAYOUT(struct blkif_request, FIELD(operation) FIELD(nr_segments) FIELD(handle) FIELD(id) FIELD(sector_number)
        FIELD(seg));
    LAYOUT(struct blkif_request_segment, FIELD(gref) FIELD(first_sect) FIELD(last_sect));
    LAYOUT(struct blkif_request_discard, FIELD(operation) FIELD(flag) FIELD(handle) FIELD(id) FIELD(sector_number)
        FIELD(nr_sectors));
    LAYOUT(struct blkif_request_indirect, FIELD(operation) FIELD(indirect_op) FIELD(nr_segments) FIELD(id)
        FIELD(sector_number) FIELD(handle) FIELD(indirect_grefs));
    LAYOUT(struct blkif_response, FIELD(id) FIELD(operation) FIELD(status));

    /* io/netif.h */
    SRING(netif_tx);
    SRING(netif_rx);
    SRING(xen_netif_ctrl);
    LAYOUT(struct netif_tx_request, FIELD(gref) FIELD(offset) FIELD(flags) FIELD(id) FIELD(size));
    LAYOUT(struct netif_tx_response, FIELD(id) FIELD(status));
    LAYOUT(struct netif_rx_request, FIELD(id) FIELD(pad) FIELD(gref));
    LAYOUT(struct netif_rx_response, FIELD(id) FIELD(offset) FIELD(flags) FIELD(status));
    LAYOUT(struct netif_extra_info, FIELD(type) FIELD(flags)
        FIELD(u.gso.size) FIELD(u.gso.type) FIELD(u.gso.pad) FIELD(u.gso.features)
        FIELD(u.mcast.addr)
        FIELD(u.hash.type) FIELD(u.hash.algorithm) FIELD(u.hash.value));
    LAYOUT(struct xen_netif_ctrl_request, FIELD(id) FIELD(type) FIELD(data));
    LAYOUT(struct xen_netif_ctrl_response, FIELD(id) FIELD(type) FIELD(status) FIELD(data));
    LAYOUT(struct xen_netif_gref, FIELD(ref) FIELD(flags) FIELD(status));

    /* io/console.h, io/xs_wire.h */
    LAYOUT(struct xencons_interface, FIELD(in) FIELD(out) FIELD(in_cons) FIELD(in_prod) FIELD(out_cons)
        FIELD(out_prod));
    LAYOUT(struct xenstore_domain_interface, FIELD(req) FIELD(rsp) FIELD(req_cons) FIELD(req_prod) FIELD(rsp_cons)
        FIELD(rsp_prod) FIELD(server_features) FIELD(connection) FIELD(error));
    LAYOUT(struct xsd_sockmsg, FIELD(type) FIELD(req_id) FIELD(tx_id) FIELD(len));

    /* io/libxenvchan.h */
    LAYOUT(struct ring_shared, FIELD(cons) FIELD(prod));
    LAYOUT(struct vchan_interface, FIELD(left) FIELD(right) FIELD(left_order) FIELD(right_order) FIELD(cli_live)
        FIELD(srv_live) FIELD(cli_notify) FIELD(srv_notify) FLEXIBLE(grants));

    /* io/9pfs.h, io/pvcalls.h */
    LAYOUT(struct xen_9pfs_data_intf, FIELD(in_cons) FIELD(in_prod) FIELD(pad1) FIELD(out_cons) FIELD(out_prod)
        FIELD(pad2) FIELD(ring_order) FLEXIBLE(ref));
    LAYOUT(struct pvcalls_data_intf, FIELD(in_cons) FIELD(in_prod) FIELD(in_error) FIELD(pad1) FIELD(out_cons)
        FIELD(out_prod) FIELD(out_error) FIELD(pad2) FIELD(ring_order) FLEXIBLE(ref));
    SRING(xen_pvcalls);
    LAYOUT(struct xen_pvcalls_request, FIELD(req_id) FIELD(cmd)
        FIELD(u.socket.id) FIELD(u.socket.domain) FIELD(u.socket.type) FIELD(u.socket.protocol) FIELD(u.socket.pad)
        FIELD(u.connect.id) FIELD(u.connect.addr) FIELD(u.connect.len) FIELD(u.connect.flags) FIELD(u.connect.ref)
        FIELD(u.connect.evtchn) FIELD(u.connect.pad)
        FIELD(u.release.id) FIELD(u.release.reuse) FIELD(u.release.pad)
        FIELD(u.bind.id) FIELD(u.bind.addr) FIELD(u.bind.len)
        FIELD(u.listen.id) FIELD(u.listen.backlog) FIELD(u.listen.pad)
        FIELD(u.accept.id) FIELD(u.accept.id_new) FIELD(u.accept.ref) FIELD(u.accept.evtchn)
        FIELD(u.poll.id)
        FIELD(u.dummy.dummy));
    LAYOUT(struct xen_pvcalls_response, FIELD(req_id) FIELD(cmd) FIELD(ret) FIELD(pad)
        FIELD(u.socket.id) FIELD(u.connect.id) FIELD(u.release.id) FIELD(u.bind.id) FIELD(u.listen.id)
        FIELD(u.accept.id) FIELD(u.poll.id) FIELD(u.dummy.dummy));

    /* xen.h, vcpu.h, sched.h */
    LAYOUT(struct shared_info, FIELD(vcpu_info) FIELD(evtchn_pending) FIELD(evtchn_mask) FIELD(wc_version)
        FIELD(wc_sec) FIELD(wc_nsec) FIELD(xen_wc_sec_hi) FIELD(arch));
    LAYOUT(struct vcpu_info, FIELD(evtchn_upcall_pending) FIELD(evtchn_upcall_mask) FIELD(evtchn_pending_sel)
        FIELD(arch) FIELD(time));
    LAYOUT(struct vcpu_time_info, FIELD(version) FIELD(pad0) FIELD(tsc_timestamp) FIELD(system_time)
        FIELD(tsc_to_system_mul) FIELD(tsc_shift) FIELD(flags) FIELD(pad1));
    LAYOUT(struct vcpu_runstate_info, FIELD(state) FIELD(state_entry_time) FIELD(time));
    LAYOUT(struct vcpu_set_singleshot_timer, FIELD(timeout_abs_ns) FIELD(flags));
    LAYOUT(struct vcpu_set_periodic_timer, FIELD(period_ns));
    LAYOUT(struct vcpu_register_vcpu_info, FIELD(mfn) FIELD(offset) FIELD(rsvd));
    LAYOUT(struct sched_poll, FIELD(ports) FIELD(nr_ports) FIELD(timeout));

    /* arch-x86/xen.h, xen-x86_64.h, callback.h, nmi.h */
    LAYOUT(struct trap_info, FIELD(vector) FIELD(flags) FIELD(cs) FIELD(address));
    LAYOUT(struct arch_vcpu_info, FIELD(cr2));
    LAYOUT(struct arch_shared_info, FIELD(nmi_reason));
    LAYOUT(struct callback_register, FIELD(type) FIELD(flags) FIELD(address));
    LAYOUT(struct callback_unregister, FIELD(type) FIELD(_unused));
    LAYOUT(struct xennmi_callback, FIELD(handler_address) FIELD(pad));
#ifdef __x86_64__
    LAYOUT(struct iret_context, FIELD(rax) FIELD(r11) FIELD(rcx) FIELD(flags) FIELD(rip) FIELD(cs) FIELD(rflags)
        FIELD(rsp) FIELD(ss));
#else
    LAYOUT(struct xen_callback, FIELD(cs) FIELD(eip));
#endif

    /* event_channel.h */
    LAYOUT(struct evtchn_bind_interdomain, FIELD(remote_dom) FIELD(remote_port) FIELD(local_port));
    LAYOUT(struct evtchn_bind_virq, FIELD(virq) FIELD(vcpu) FIELD(port));
    LAYOUT(struct evtchn_bind_pirq, FIELD(pirq) FIELD(flags) FIELD(port));
    LAYOUT(struct evtchn_close, FIELD(port));
    LAYOUT(struct evtchn_send, FIELD(port));
    LAYOUT(struct evtchn_status, FIELD(dom) FIELD(port) FIELD(status) FIELD(vcpu)
        FIELD(u.unbound.dom) FIELD(u.interdomain.dom) FIELD(u.interdomain.port) FIELD(u.pirq) FIELD(u.virq));
    LAYOUT(struct evtchn_alloc_unbound, FIELD(dom) FIELD(remote_dom) FIELD(port));
    LAYOUT(struct evtchn_bind_ipi, FIELD(vcpu) FIELD(port));
    LAYOUT(struct evtchn_bind_vcpu, FIELD(port) FIELD(vcpu));
    LAYOUT(struct evtchn_unmask, FIELD(port));
    LAYOUT(struct evtchn_reset, FIELD(dom));
    LAYOUT(struct evtchn_init_control, FIELD(control_gfn) FIELD(offset) FIELD(vcpu) FIELD(link_bits) FIELD(_pad));
    LAYOUT(struct evtchn_expand_array, FIELD(array_gfn));
    LAYOUT(struct evtchn_set_priority, FIELD(port) FIELD(priority));
    LAYOUT(struct evtchn_fifo_control_block, FIELD(ready) FIELD(_rsvd) FIELD(head));

    /* grant_table.h */
    LAYOUT(struct grant_entry_v1, FIELD(flags) FIELD(domid) FIELD(frame));
    LAYOUT(union grant_entry_v2, FIELD(hdr.flags) FIELD(hdr.domid) FIELD(full_page.frame) FIELD(sub_page.page_off)
        FIELD(sub_page.length) FIELD(sub_page.frame) FIELD(transitive.trans_domid) FIELD(transitive.gref));
    LAYOUT(struct gnttab_map_grant_ref, FIELD(host_addr) FIELD(flags) FIELD(ref) FIELD(dom) FIELD(status)
        FIELD(handle) FIELD(dev_bus_addr));
    LAYOUT(struct gnttab_unmap_grant_ref, FIELD(host_addr) FIELD(dev_bus_addr) FIELD(handle) FIELD(status));
    LAYOUT(struct gnttab_setup_table, FIELD(dom) FIELD(nr_frames) FIELD(status) FIELD(frame_list));
    LAYOUT(struct gnttab_copy, FIELD(source.u.ref) FIELD(source.u.gmfn) FIELD(source.domid) FIELD(source.offset)
        FIELD(dest.u.ref) FIELD(dest.u.gmfn) FIELD(dest.domid) FIELD(dest.offset) FIELD(len) FIELD(flags)
        FIELD(status));
    LAYOUT(struct gnttab_query_size, FIELD(dom) FIELD(nr_frames) FIELD(max_nr_frames) FIELD(status));
    LAYOUT(struct gnttab_set_version, FIELD(version));
    LAYOUT(struct gnttab_get_version, FIELD(dom) FIELD(pad) FIELD(version));
    LAYOUT(struct gnttab_get_status_frames, FIELD(nr_frames) FIELD(dom) FIELD(status) FIELD(frame_list));
    LAYOUT(struct gnttab_swap_grant_ref, FIELD(ref_a) FIELD(ref_b) FIELD(status));
    LAYOUT(struct gnttab_cache_flush, FIELD(a.dev_bus_addr) FIELD(a.ref) FIELD(offset) FIELD(length) FIELD(op));
    LAYOUT(struct gnttab_transfer, FIELD(mfn) FIELD(domid) FIELD(ref) FIELD(status));
    LAYOUT(struct gnttab_unmap_and_replace, FIELD(host_addr) FIELD(new_addr) FIELD(handle) FIELD(status));

    /* further arguments of hypercalls: sched.h, vcpu.h, physdev.h, domctl.h */
    LAYOUT(struct sched_shutdown, FIELD(reason));
    LAYOUT(struct sched_remote_shutdown, FIELD(domain_id) FIELD(reason));
    LAYOUT(struct sched_watchdog, FIELD(id) FIELD(timeout));
    LAYOUT(struct sched_pin_override, FIELD(pcpu));
    LAYOUT(struct vcpu_register_runstate_memory_area, FIELD(addr.p));
    LAYOUT(struct vcpu_register_time_memory_area, FIELD(addr.p));
    LAYOUT(struct physdev_irq_status_query, FIELD(irq) FIELD(flags));
    LAYOUT(struct physdev_eoi, FIELD(irq));
    LAYOUT(struct physdev_map_pirq, FIELD(domid) FIELD(type) FIELD(index) FIELD(pirq) FIELD(bus) FIELD(devfn)
        FIELD(entry_nr) FIELD(table_base));
    LAYOUT(struct physdev_unmap_pirq, FIELD(domid) FIELD(pirq));
    LAYOUT(struct physdev_pirq_eoi_gmfn, FIELD(gmfn));
    LAYOUT(struct xen_domctl_set_virq_handler, FIELD(virq));
}

static void constants(void)
{
    /* errno.h: every number that Xen shows to guests */
#define XEN_ERRNO(name, value) number("XEN_" #name, value);
#include <xen/errno.h>

    /* io/ring.h: slots of a ring of 1, 2, 4, 8 and 16 pages */
    CONSTANT(__CONST_RING_SIZE(blkif, 4096)) CONSTANT(__CONST_RING_SIZE(blkif, 8192))
    CONSTANT(__CONST_RING_SIZE(blkif, 16384)) CONSTANT(__CONST_RING_SIZE(blkif, 32768))
    CONSTANT(__CONST_RING_SIZE(blkif, 65536)) CONSTANT(__CONST_RING_SIZE(netif_tx, 4096))
    CONSTANT(__CONST_RING_SIZE(netif_rx, 4096)) CONSTANT(__CONST_RING_SIZE(xen_netif_ctrl, 4096))
    CONSTANT(__CONST_RING_SIZE(xen_pvcalls, 4096)) CONSTANT(XEN_PAGE_SHIFT)
    /* io/ring.h: bytes of one direction of a flex ring */
    CONSTANT(XEN_FLEX_RING_SIZE(1)) CONSTANT(XEN_FLEX_RING_SIZE(9))

    /* io/blkif.h */
    CONSTANT(BLKIF_OP_READ) CONSTANT(BLKIF_OP_WRITE) CONSTANT(BLKIF_OP_WRITE_BARRIER)
    CONSTANT(BLKIF_OP_FLUSH_DISKCACHE) CONSTANT(BLKIF_OP_RESERVED_1) CONSTANT(BLKIF_OP_DISCARD)
    CONSTANT(BLKIF_OP_INDIRECT) CONSTANT(BLKIF_MAX_SEGMENTS_PER_REQUEST)
    CONSTANT(BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST) CONSTANT(BLKIF_DISCARD_SECURE) CONSTANT(BLKIF_RSP_EOPNOTSUPP)
    CONSTANT(BLKIF_RSP_ERROR) CONSTANT(BLKIF_RSP_OKAY) CONSTANT(VDISK_CDROM) CONSTANT(VDISK_REMOVABLE)
    CONSTANT(VDISK_READONLY)

    /* io/protocols.h */
    TEXT(XEN_IO_PROTO_ABI_X86_32) TEXT(XEN_IO_PROTO_ABI_X86_64) TEXT(XEN_IO_PROTO_ABI_ARM)

    /* io/netif.h */
    CONSTANT(XEN_NETIF_NR_SLOTS_MIN) CONSTANT(XEN_NETIF_MAX_TX_SIZE) CONSTANT(NETTXF_csum_blank)
    CONSTANT(NETTXF_data_validated) CONSTANT(NETTXF_more_data) CONSTANT(NETTXF_extra_info)
    CONSTANT(NETRXF_data_validated) CONSTANT(NETRXF_csum_blank) CONSTANT(NETRXF_more_data)
    CONSTANT(NETRXF_extra_info) CONSTANT(NETRXF_gso_prefix) CONSTANT(XEN_NETIF_EXTRA_TYPE_NONE)
    CONSTANT(XEN_NETIF_EXTRA_TYPE_GSO) CONSTANT(XEN_NETIF_EXTRA_TYPE_MCAST_ADD)
    CONSTANT(XEN_NETIF_EXTRA_TYPE_MCAST_DEL) CONSTANT(XEN_NETIF_EXTRA_TYPE_HASH) CONSTANT(XEN_NETIF_EXTRA_FLAG_MORE)
    CONSTANT(XEN_NETIF_GSO_TYPE_NONE) CONSTANT(XEN_NETIF_GSO_TYPE_TCPV4) CONSTANT(XEN_NETIF_GSO_TYPE_TCPV6)
    CONSTANT(NETIF_RSP_DROPPED) CONSTANT(NETIF_RSP_ERROR) CONSTANT(NETIF_RSP_OKAY) CONSTANT(NETIF_RSP_NULL)
    CONSTANT(XEN_NETIF_CTRL_TYPE_INVALID) CONSTANT(XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS)
    CONSTANT(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS) CONSTANT(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY)
    CONSTANT(XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE) CONSTANT(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE)
    CONSTANT(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING) CONSTANT(XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM)
    CONSTANT(XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE) CONSTANT(XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING)
    CONSTANT(XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING) CONSTANT(XEN_NETIF_CTRL_STATUS_SUCCESS)
    CONSTANT(XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED) CONSTANT(XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER)
    CONSTANT(XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW) CONSTANT(XEN_NETIF_CTRL_HASH_TYPE_IPV4)
    CONSTANT(XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP) CONSTANT(XEN_NETIF_CTRL_HASH_TYPE_IPV6)
    CONSTANT(XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP) CONSTANT(XEN_NETIF_CTRL_HASH_ALGORITHM_NONE)
    CONSTANT(XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ) CONSTANT(XEN_NETIF_CTRLF_GREF_readonly)

    /* io/xs_wire.h */
    CONSTANT(XS_CONTROL) CONSTANT(XS_DIRECTORY) CONSTANT(XS_READ) CONSTANT(XS_GET_PERMS) CONSTANT(XS_WATCH)
    CONSTANT(XS_UNWATCH) CONSTANT(XS_TRANSACTION_START) CONSTANT(XS_TRANSACTION_END) CONSTANT(XS_INTRODUCE)
    CONSTANT(XS_RELEASE) CONSTANT(XS_GET_DOMAIN_PATH) CONSTANT(XS_WRITE) CONSTANT(XS_MKDIR) CONSTANT(XS_RM)
    CONSTANT(XS_SET_PERMS) CONSTANT(XS_WATCH_EVENT) CONSTANT(XS_ERROR) CONSTANT(XS_IS_DOMAIN_INTRODUCED)
    CONSTANT(XS_RESUME) CONSTANT(XS_SET_TARGET) CONSTANT(XS_RESET_WATCHES) CONSTANT(XS_DIRECTORY_PART)
    CONSTANT(XS_INVALID) CONSTANT(XS_WATCH_PATH) CONSTANT(XS_WATCH_TOKEN) CONSTANT(XENSTORE_RING_SIZE)
    CONSTANT(XENSTORE_PAYLOAD_MAX) CONSTANT(XENSTORE_ABS_PATH_MAX) CONSTANT(XENSTORE_REL_PATH_MAX)
    CONSTANT(XENSTORE_SERVER_FEATURE_RECONNECTION) CONSTANT(XENSTORE_SERVER_FEATURE_ERROR)
    CONSTANT(XENSTORE_CONNECTED) CONSTANT(XENSTORE_RECONNECT) CONSTANT(XENSTORE_ERROR_NONE)
    CONSTANT(XENSTORE_ERROR_COMM) CONSTANT(XENSTORE_ERROR_RINGIDX) CONSTANT(XENSTORE_ERROR_PROTO)
    /* The errors that an XS_ERROR reply may name: xsd_errors[i].errstring. */
    for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++) {
        char name[32];
        snprintf(name, sizeof(name), "xsd_errors[%zu]", i);
        string(name, xsd_errors[i].errstring);
    }

    /* io/xenbus.h */
    CONSTANT(XenbusStateUnknown) CONSTANT(XenbusStateInitialising) CONSTANT(XenbusStateInitWait)
    CONSTANT(XenbusStateInitialised) CONSTANT(XenbusStateConnected) CONSTANT(XenbusStateClosing)
    CONSTANT(XenbusStateClosed) CONSTANT(XenbusStateReconfiguring) CONSTANT(XenbusStateReconfigured)

    /* io/libxenvchan.h, io/pvcalls.h */
    CONSTANT(VCHAN_NOTIFY_WRITE) CONSTANT(VCHAN_NOTIFY_READ) CONSTANT(PVCALLS_SOCKET) CONSTANT(PVCALLS_CONNECT)
    CONSTANT(PVCALLS_RELEASE) CONSTANT(PVCALLS_BIND) CONSTANT(PVCALLS_LISTEN) CONSTANT(PVCALLS_ACCEPT)
    CONSTANT(PVCALLS_POLL)

    /* xen.h */
    CONSTANT(DOMID_FIRST_RESERVED) CONSTANT(DOMID_SELF) CONSTANT(DOMID_IO) CONSTANT(DOMID_XEN) CONSTANT(DOMID_COW)
    CONSTANT(DOMID_INVALID) CONSTANT(DOMID_IDLE) CONSTANT(DOMID_MASK) CONSTANT(XEN_LEGACY_MAX_VCPUS)
    CONSTANT(VIRQ_TIMER) CONSTANT(VIRQ_DEBUG) CONSTANT(VIRQ_CONSOLE) CONSTANT(VIRQ_DOM_EXC) CONSTANT(VIRQ_TBUF)
    CONSTANT(VIRQ_DEBUGGER) CONSTANT(VIRQ_XENOPROF) CONSTANT(VIRQ_CON_RING) CONSTANT(VIRQ_PCPU_STATE)
    CONSTANT(VIRQ_MEM_EVENT) CONSTANT(VIRQ_ARGO) CONSTANT(VIRQ_ENOMEM) CONSTANT(VIRQ_XENPMU) CONSTANT(VIRQ_ARCH_0)
    CONSTANT(NR_VIRQS) CONSTANT(XEN_PVCLOCK_TSC_STABLE_BIT) CONSTANT(XEN_PVCLOCK_GUEST_STOPPED)

    /* event_channel.h */
    CONSTANT(EVTCHNOP_bind_interdomain) CONSTANT(EVTCHNOP_bind_virq) CONSTANT(EVTCHNOP_bind_pirq)
    CONSTANT(EVTCHNOP_close) CONSTANT(EVTCHNOP_send) CONSTANT(EVTCHNOP_status) CONSTANT(EVTCHNOP_alloc_unbound)
    CONSTANT(EVTCHNOP_bind_ipi) CONSTANT(EVTCHNOP_bind_vcpu) CONSTANT(EVTCHNOP_unmask) CONSTANT(EVTCHNOP_reset)
    CONSTANT(EVTCHNOP_init_control) CONSTANT(EVTCHNOP_expand_array) CONSTANT(EVTCHNOP_set_priority)
    CONSTANT(EVTCHNSTAT_closed) CONSTANT(EVTCHNSTAT_unbound) CONSTANT(EVTCHNSTAT_interdomain)
    CONSTANT(EVTCHNSTAT_pirq) CONSTANT(EVTCHNSTAT_virq) CONSTANT(EVTCHNSTAT_ipi) CONSTANT(BIND_PIRQ__WILL_SHARE)
    CONSTANT(EVTCHN_2L_NR_CHANNELS) CONSTANT(EVTCHN_FIFO_PRIORITY_MAX) CONSTANT(EVTCHN_FIFO_PRIORITY_DEFAULT)
    CONSTANT(EVTCHN_FIFO_PRIORITY_MIN) CONSTANT(EVTCHN_FIFO_MAX_QUEUES) CONSTANT(EVTCHN_FIFO_PENDING)
    CONSTANT(EVTCHN_FIFO_MASKED) CONSTANT(EVTCHN_FIFO_LINKED) CONSTANT(EVTCHN_FIFO_BUSY)
    CONSTANT(EVTCHN_FIFO_LINK_BITS) CONSTANT(EVTCHN_FIFO_NR_CHANNELS)

    /* vcpu.h */
    CONSTANT(RUNSTATE_running) CONSTANT(RUNSTATE_runnable) CONSTANT(RUNSTATE_blocked) CONSTANT(RUNSTATE_offline)
    CONSTANT(VCPUOP_initialise) CONSTANT(VCPUOP_up) CONSTANT(VCPUOP_down) CONSTANT(VCPUOP_is_up)
    CONSTANT(VCPUOP_get_runstate_info) CONSTANT(VCPUOP_set_periodic_timer) CONSTANT(VCPUOP_stop_periodic_timer)
    CONSTANT(VCPUOP_set_singleshot_timer) CONSTANT(VCPUOP_stop_singleshot_timer) CONSTANT(VCPUOP_register_vcpu_info)
    CONSTANT(VCPUOP_send_nmi) CONSTANT(VCPUOP_register_runstate_memory_area)
    CONSTANT(VCPUOP_register_vcpu_time_memory_area)

    /* sched.h, physdev.h, domctl.h */
    CONSTANT(SCHEDOP_yield) CONSTANT(SCHEDOP_block) CONSTANT(SCHEDOP_shutdown) CONSTANT(SCHEDOP_poll)
    CONSTANT(SCHEDOP_remote_shutdown) CONSTANT(SCHEDOP_shutdown_code) CONSTANT(SCHEDOP_watchdog)
    CONSTANT(SCHEDOP_pin_override) CONSTANT(PHYSDEVOP_irq_status_query) CONSTANT(PHYSDEVOP_eoi)
    CONSTANT(PHYSDEVOP_map_pirq) CONSTANT(PHYSDEVOP_unmap_pirq) CONSTANT(PHYSDEVOP_pirq_eoi_gmfn_v1)
    CONSTANT(PHYSDEVOP_pirq_eoi_gmfn_v2) CONSTANT(XEN_DOMCTL_createdomain) CONSTANT(XEN_DOMCTL_destroydomain) CONSTANT(XEN_DOMCTL_pausedomain)
    CONSTANT(XEN_DOMCTL_unpausedomain) CONSTANT(XEN_DOMCTL_resumedomain) CONSTANT(XEN_DOMCTL_max_vcpus)
    CONSTANT(XEN_DOMCTL_irq_permission) CONSTANT(XEN_DOMCTL_set_virq_handler)

    /* xen.h: hypercalls */
    CONSTANT(__HYPERVISOR_set_timer_op) CONSTANT(__HYPERVISOR_grant_table_op) CONSTANT(__HYPERVISOR_vcpu_op)
    CONSTANT(__HYPERVISOR_sched_op) CONSTANT(__HYPERVISOR_event_channel_op) CONSTANT(__HYPERVISOR_physdev_op)
    CONSTANT(__HYPERVISOR_domctl)

    /* callback.h, nmi.h, xen.h, and arch-x86's headers of each ABI */
    CONSTANT(CALLBACKTYPE_event) CONSTANT(CALLBACKTYPE_failsafe) CONSTANT(CALLBACKTYPE_syscall)
    CONSTANT(CALLBACKTYPE_sysenter_deprecated) CONSTANT(CALLBACKTYPE_nmi) CONSTANT(CALLBACKTYPE_sysenter)
    CONSTANT(CALLBACKTYPE_syscall32) CONSTANT(CALLBACKF_mask_events) CONSTANT(CALLBACKOP_register)
    CONSTANT(CALLBACKOP_unregister) CONSTANT(XENNMI_register_callback) CONSTANT(XENNMI_unregister_callback)
    CONSTANT(_XEN_NMIREASON_io_error) CONSTANT(_XEN_NMIREASON_pci_serr) CONSTANT(_XEN_NMIREASON_unknown)
    CONSTANT(__HYPERVISOR_set_trap_table) CONSTANT(__HYPERVISOR_stack_switch) CONSTANT(__HYPERVISOR_set_callbacks)
    CONSTANT(__HYPERVISOR_iret) CONSTANT(__HYPERVISOR_nmi_op) CONSTANT(__HYPERVISOR_callback_op)
    CONSTANT(FLAT_KERNEL_CS) CONSTANT(FLAT_KERNEL_SS) CONSTANT(FLAT_USER_CS) CONSTANT(FLAT_USER_SS)

    /* grant_table.h */
    CONSTANT(GNTTAB_NR_RESERVED_ENTRIES) CONSTANT(GNTTAB_RESERVED_CONSOLE) CONSTANT(GNTTAB_RESERVED_XENSTORE)
    CONSTANT(GTF_invalid) CONSTANT(GTF_permit_access) CONSTANT(GTF_accept_transfer) CONSTANT(GTF_transitive)
    CONSTANT(GTF_type_mask) CONSTANT(GTF_readonly) CONSTANT(GTF_reading) CONSTANT(GTF_writing) CONSTANT(GTF_PWT)
    CONSTANT(GTF_PCD) CONSTANT(GTF_PAT) CONSTANT(GTF_sub_page) CONSTANT(GTF_transfer_committed)
    CONSTANT(GTF_transfer_completed) CONSTANT(GNTTABOP_map_grant_ref) CONSTANT(GNTTABOP_unmap_grant_ref)
    CONSTANT(GNTTABOP_setup_table) CONSTANT(GNTTABOP_dump_table) CONSTANT(GNTTABOP_transfer) CONSTANT(GNTTABOP_copy)
    CONSTANT(GNTTABOP_query_size) CONSTANT(GNTTABOP_unmap_and_replace) CONSTANT(GNTTABOP_set_version)
    CONSTANT(GNTTABOP_get_status_frames) CONSTANT(GNTTABOP_get_version) CONSTANT(GNTTABOP_swap_grant_ref)
    CONSTANT(GNTTABOP_cache_flush) CONSTANT(GNTMAP_device_map) CONSTANT(GNTMAP_host_map) CONSTANT(GNTMAP_readonly)
    CONSTANT(GNTMAP_application_map) CONSTANT(GNTMAP_contains_pte) CONSTANT(GNTMAP_guest_avail_mask)
    CONSTANT(GNTCOPY_source_gref) CONSTANT(GNTCOPY_dest_gref) CONSTANT(GNTST_okay) CONSTANT(GNTST_general_error)
    CONSTANT(GNTST_bad_domain) CONSTANT(GNTST_bad_gntref) CONSTANT(GNTST_bad_handle) CONSTANT(GNTST_bad_virt_addr)
    CONSTANT(GNTST_bad_dev_addr) CONSTANT(GNTST_no_device_space) CONSTANT(GNTST_permission_denied)
    CONSTANT(GNTST_bad_page) CONSTANT(GNTST_bad_copy_arg) CONSTANT(GNTST_address_too_big) CONSTANT(GNTST_eagain)
    CONSTANT(GNTST_no_space) CONSTANT(GNTTAB_CACHE_CLEAN) CONSTANT(GNTTAB_CACHE_INVAL)
    CONSTANT(GNTTAB_CACHE_SOURCE_GREF)
}

int main(void)
{
    printf("{");
    open_object("layouts");
    layouts();
    close_object();
    open_object("constants");
    constants();
    close_object();
    printf("}\n");
    return ferror(stdout) != 0;
}
