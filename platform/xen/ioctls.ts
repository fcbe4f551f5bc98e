/** _IOC(_IOC_NONE, …), which all of Xen's devices use whichever way they copy. */
const ioc = (type: string, nr: number, size: number): number => (size << 16) | (type.charCodeAt(0) << 8) | nr;

/** Requests of /dev/xen/evtchn (linux/include/uapi/xen/evtchn.h). */
export const evtchn = {
  BIND_VIRQ: ioc('E', 0, 4),
  BIND_INTERDOMAIN: ioc('E', 1, 8),
  BIND_UNBOUND_PORT: ioc('E', 2, 4),
  UNBIND: ioc('E', 3, 4),
  NOTIFY: ioc('E', 4, 4),
} as const;

/** Requests of /dev/xen/gntdev (linux/include/uapi/xen/gntdev.h). */
export const gntdev = {
  MAP_GRANT_REF: ioc('G', 0, 24),
  UNMAP_GRANT_REF: ioc('G', 1, 16),
  GRANT_COPY: ioc('G', 8, 16),
} as const;

/** Requests of /dev/xen/gntalloc (linux/include/uapi/xen/gntalloc.h). */
export const gntalloc = {
  ALLOC_GREF: ioc('G', 5, 24),
  DEALLOC_GREF: ioc('G', 6, 16),
} as const;

/** `GNTALLOC_FLAG_WRITABLE`. */
export const GNTALLOC_FLAG_WRITABLE = 1;
/** grant_table.h `GNTCOPY_source_gref`, `GNTCOPY_dest_gref`. */
export const GNTCOPY_source_gref = 1;
export const GNTCOPY_dest_gref = 2;
