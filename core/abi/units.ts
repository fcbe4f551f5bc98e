declare const unit: unique symbol;

/** A number that does not mix with numbers of another unit; at run time it is a plain number. */
export type Unit<Name extends string> = number & { readonly [unit]: Name };

/** A domain's number, 0 … 0x7FEF (xen.h `domid_t`). */
export type Domid = Unit<'domid'>;
/** A grant reference: the index of an entry in the granting domain's table (grant_table.h `grant_ref_t`). */
export type GrantRef = Unit<'grant reference'>;
/** An event-channel port of the domain that uses it (event_channel.h `evtchn_port_t`). */
export type Port = Unit<'port'>;
/** A physical interrupt, as the domain that has it numbers it (event_channel.h `pirq`). */
export type Pirq = Unit<'physical interrupt'>;
/** A position or length on a disk in units of 512 bytes, whatever the disk's sector-size (blkif.h). */
export type Sector = Unit<'512-byte sector'>;
/** A virtual device's number as the guest knows it: 51712 is xvda (xen-vbd-interface(7)). */
export type Vdev = Unit<'virtual device'>;

/** The first domid that names no domain (xen.h `DOMID_FIRST_RESERVED`). */
export const DOMID_FIRST_RESERVED = 0x7ff0;
/** The caller itself (xen.h `DOMID_SELF`). */
export const DOMID_SELF = 0x7ff0 as Domid;
/** The first domain, which has the store and the toolstack. */
export const DOM0 = 0 as Domid;

const checked = (what: string, value: number, max: number): number => {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new RangeError(`${what} must be a whole number from 0 to ${max}, not ${value}`);
  }
  return value;
};

/** @throws RangeError unless `value` can number a domain. */
export const asDomid = (value: number): Domid => checked('a domid', value, DOMID_FIRST_RESERVED - 1) as Domid;
/** @throws RangeError unless `value` fits 32 bits. */
export const asGrantRef = (value: number): GrantRef => checked('a grant reference', value, 0xffffffff) as GrantRef;
/** @throws RangeError unless `value` fits 32 bits. */
export const asPort = (value: number): Port => checked('a port', value, 0xffffffff) as Port;
/** @throws RangeError unless `value` fits 32 bits. */
export const asPirq = (value: number): Pirq => checked('a physical interrupt', value, 0xffffffff) as Pirq;
/** @throws RangeError unless `value` is exact as a number. */
export const asSector = (value: number): Sector => checked('a sector', value, Number.MAX_SAFE_INTEGER) as Sector;
/** @throws RangeError unless `value` fits 32 bits. */
export const asVdev = (value: number): Vdev => checked('a virtual device', value, 0xffffffff) as Vdev;

/** Bytes of a page, of every shared ring's page whatever the guest's own page size (page.h, ring.h). */
export const PAGE_SIZE = 4096;
/** Bytes of a {@link Sector}. */
export const SECTOR_SIZE = 512;
