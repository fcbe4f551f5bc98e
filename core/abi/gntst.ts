/** The statuses of grant-table operations, by name (grant_table.h `GNTST_*`). */
export const gntst = {
  okay: 0,
  general_error: -1,
  bad_domain: -2,
  bad_gntref: -3,
  bad_handle: -4,
  bad_virt_addr: -5,
  bad_dev_addr: -6,
  no_device_space: -7,
  permission_denied: -8,
  bad_page: -9,
  bad_copy_arg: -10,
  address_too_big: -11,
  eagain: -12,
  no_space: -13,
} as const satisfies Readonly<Record<string, number>>;

/** The name of a grant-table status. */
export type GntstName = keyof typeof gntst;

const names = new Map<number, string>(Object.entries(gntst).map(([name, value]) => [value, name]));

/** `GNTST_bad_gntref` for -3; `GNTST -99` for a status that Xen does not use. */
export const gntstName = (status: number): string => {
  const name = names.get(status);
  return name === undefined ? `GNTST ${status}` : `GNTST_${name}`;
};
