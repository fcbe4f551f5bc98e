import { expect } from 'chai';
import {
  asDomid,
  asGrantRef,
  asPort,
  asSector,
  asVdev,
  DOMID_FIRST_RESERVED,
  DOMID_SELF,
  PAGE_SIZE,
  SECTOR_SIZE,
} from '../../../core/abi/units.js';

const u32Max = 0xffffffff;
const units = [
  { name: 'a domid', as: asDomid, max: 0x7fef, source: 'xen.h DOMID_FIRST_RESERVED' },
  { name: 'a grant reference', as: asGrantRef, max: u32Max, source: 'grant_table.h grant_ref_t' },
  { name: 'a port', as: asPort, max: u32Max, source: 'event_channel.h evtchn_port_t' },
  { name: 'a sector', as: asSector, max: 2 ** 53 - 1, source: 'blkif.h blkif_sector_t, as far as a number is exact' },
  { name: 'a virtual device', as: asVdev, max: u32Max, source: 'xen-vbd-interface(7)' },
] as const;

for (const { name, as, max, source } of units) {
  describe(`${name} (${source})`, () => {
    it(`is the number itself, from 0 to ${max}`, () => {
      expect(as(0)).to.equal(0);
      expect(as(max)).to.equal(max);
    });

    for (const value of [-1, max + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      it(`is never ${value}`, () => {
        expect(() => as(value)).to.throw(RangeError, `${name} must be a whole number from 0 to ${max}, not ${value}`);
      });
    }
  });
}

describe('DOMID_SELF', () => {
  it('is the first of the reserved domids, so no domain has it (xen.h)', () => {
    expect(DOMID_SELF).to.equal(DOMID_FIRST_RESERVED);
    expect(() => asDomid(DOMID_SELF)).to.throw(RangeError);
  });
});

describe('PAGE_SIZE and SECTOR_SIZE', () => {
  it('make eight sectors of every page, as first_sect and last_sect count them (blkif.h)', () => {
    expect(PAGE_SIZE / SECTOR_SIZE).to.equal(8);
  });
});
