import { expect } from 'chai';
import { asDomid, asGrantRef } from '../../core/abi/units.js';
import { DOMID_XEN } from '../../core/hypervisor/domains.js';
import { gnttabCache } from '../../core/hypervisor/grant-cache.js';
import { gntcopy } from '../../core/hypervisor/grant-copy.js';
import { gtf, RESERVED_REFS } from '../../core/hypervisor/grant-entries.js';
import { gntmap } from '../../core/hypervisor/grant-map.js';
import { gnttabop } from '../../core/hypervisor/grant-table-ops.js';
import { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { GRANTS_PER_FRAME, PAGE_WORDS } from '../../core/hypervisor/layout.js';
import { MachineMemory } from '../../core/hypervisor/memory.js';
import { portState } from '../../core/hypervisor/ports.js';
import { runstate, runstateBytes } from '../../core/hypervisor/runstate.js';
import { portsOf2Level } from '../../core/hypervisor/shared-info.js';
import { TIME_INFO_BYTES } from '../../core/hypervisor/time-pages.js';
import { GNTTAB_RESERVED_XENSTORE } from '../../xenstore/ring-page.js';
import { type AbiName, abis, golden, headers } from './golden.js';

const c = golden.constants;
const PAGE_BYTES = 4 * PAGE_WORDS;

/** The only byte of a page that is not zero, and its value. */
const onlyByte = (page: Uint8Array): readonly [offset: number, value: number] => {
  const set = [...page.entries()].filter(([, value]) => value !== 0);
  expect(set).to.have.length(1);
  return set[0] ?? [-1, 0];
};

describe(`our shared_info against ${headers}`, () => {
  const offset = (abi: AbiName, layout: 'shared_info' | 'vcpu_info', field: string): number =>
    golden[abi][layout]?.fields[field]?.[0] ?? Number.NaN;

  for (const abi of abis) {
    const abi32 = abi === 'x86_32';
    const ports = portsOf2Level(abi32);
    const { memory, sharedInfo } = new Hypervisor(MachineMemory.create({ bytes: 2 ** 20, domains: 1 }));
    const at = sharedInfo.at(0);
    const page = memory.bytes.subarray(4 * at, 4 * at + PAGE_BYTES);
    const someOf = [0, 7, 31, 32, 63, 64, 1000, ports - 1];

    beforeEach(() => {
      page.fill(0);
    });

    it(`has as many ports as EVTCHN_2L_NR_CHANNELS for ${abi}`, () => {
      expect(c.EVTCHN_2L_NR_CHANNELS).to.have.property(abi, ports);
    });

    for (const port of someOf) {
      const bit = (field: string): readonly [number, number] => [
        offset(abi, 'shared_info', field) + (port >>> 3),
        1 << (port & 7),
      ];

      it(`keeps PENDING and MASK of port ${port} in their bits of evtchn_pending and evtchn_mask for ${abi}`, () => {
        sharedInfo.setPending(at, port);
        expect(onlyByte(page)).to.eql(bit('evtchn_pending'));
        page.fill(0);
        sharedInfo.setMask(at, abi32, port);
        expect(onlyByte(page)).to.eql(bit('evtchn_mask'));
      });

      it(`selects port ${port} by the bit of its C long in evtchn_pending_sel for ${abi}`, () => {
        const group = Math.trunc(port / (abi32 ? 32 : 64));
        sharedInfo.select(at, abi32, port);
        expect(onlyByte(page)).to.eql([
          offset(abi, 'vcpu_info', 'evtchn_pending_sel') + (group >>> 3),
          1 << (group & 7),
        ]);
      });
    }

    it(`keeps evtchn_upcall_pending and evtchn_upcall_mask in their bytes for ${abi}`, () => {
      sharedInfo.setUpcall(at);
      expect(onlyByte(page)).to.eql([offset(abi, 'vcpu_info', 'evtchn_upcall_pending'), 1]);
      expect(sharedInfo.hasUpcall(at)).to.equal(true);
      page[offset(abi, 'vcpu_info', 'evtchn_upcall_mask')] = 1;
      expect(sharedInfo.hasUpcall(at)).to.equal(false);
    });

    it(`masks no byte beyond evtchn_mask for ${abi}`, () => {
      sharedInfo.maskAll(at, abi32);
      const [first, size] = golden[abi].shared_info?.fields.evtchn_mask ?? [0, 0];
      expect([...page.entries()].filter(([, value]) => value !== 0).map(([i]) => i)).to.eql(
        Array.from({ length: size }, (_, i) => first + i),
      );
    });
  }
});

describe(`our grant table against ${headers}`, () => {
  const size = golden.x86_64.grant_entry_v1?.size ?? Number.NaN;
  const offset = (field: string): number => golden.x86_64.grant_entry_v1?.fields[field]?.[0] ?? Number.NaN;

  it('lays an entry out as grant_entry_v1', () => {
    const xen = new Hypervisor(MachineMemory.create({ bytes: 4 * 2 ** 20, domains: 2 }));
    expect(xen.domains.create(DOMID_XEN, { domid: asDomid(0), privileged: true })).to.equal(0);
    expect(xen.grantEntries.setupTable(asDomid(0), asDomid(0), 1)).to.equal(0);
    xen.grantEntries.grantAccess(asDomid(0), asGrantRef(9), asDomid(0x1234), 0x56789a, true);
    const [frame = 0] = xen.grantEntries.tableFrames(asDomid(0));
    const entry = new DataView(xen.memory.memory.buffer, frame * PAGE_BYTES + 9 * size, size);
    expect(entry.getUint16(offset('flags'), true)).to.equal(Number(c.GTF_permit_access) | Number(c.GTF_readonly));
    expect(entry.getUint16(offset('domid'), true)).to.equal(0x1234);
    expect(entry.getUint32(offset('frame'), true)).to.equal(0x56789a);
    expect(GRANTS_PER_FRAME).to.equal(PAGE_BYTES / size);
  });

  it('numbers flags and reserved references as grant_table.h', () => {
    expect(gtf).to.eql({
      permitAccess: c.GTF_permit_access,
      acceptTransfer: c.GTF_accept_transfer,
      typeMask: c.GTF_type_mask,
      readonly: c.GTF_readonly,
      reading: c.GTF_reading,
      writing: c.GTF_writing,
      subPage: c.GTF_sub_page,
    });
    expect(gntmap).to.eql({
      deviceMap: c.GNTMAP_device_map,
      hostMap: c.GNTMAP_host_map,
      readonly: c.GNTMAP_readonly,
      applicationMap: c.GNTMAP_application_map,
      containsPte: c.GNTMAP_contains_pte,
    });
    expect(gntcopy).to.eql({ sourceGref: c.GNTCOPY_source_gref, destGref: c.GNTCOPY_dest_gref });
    expect(gnttabCache).to.eql({
      clean: c.GNTTAB_CACHE_CLEAN,
      inval: c.GNTTAB_CACHE_INVAL,
      sourceGref: c.GNTTAB_CACHE_SOURCE_GREF,
    });
    expect(DOMID_XEN).to.equal(c.DOMID_XEN);
    expect(RESERVED_REFS).to.equal(c.GNTTAB_NR_RESERVED_ENTRIES);
    expect(GNTTAB_RESERVED_XENSTORE).to.equal(c.GNTTAB_RESERVED_XENSTORE);
  });
});

describe(`our grant-table hypercall against ${headers}`, () => {
  it('numbers every operation as grant_table.h', () => {
    const prefix = 'GNTTABOP_';
    const numbers = Object.entries(c).filter(([name]) => name.startsWith(prefix));
    expect(gnttabop).to.eql(Object.fromEntries(numbers.map(([name, value]) => [name.slice(prefix.length), value])));
  });
});

describe(`our vCPUs against ${headers}`, () => {
  it('number their runstates as vcpu.h', () => {
    expect(runstate).to.eql({
      running: c.RUNSTATE_running,
      runnable: c.RUNSTATE_runnable,
      blocked: c.RUNSTATE_blocked,
      offline: c.RUNSTATE_offline,
    });
  });

  it('have a vcpu_runstate_info and a vcpu_time_info of the headers’ sizes', () => {
    for (const abi of abis) {
      expect(runstateBytes(abi === 'x86_32')).to.equal(golden[abi].vcpu_runstate_info?.size);
      expect(TIME_INFO_BYTES).to.equal(golden[abi].vcpu_time_info?.size);
    }
  });
});

describe(`our ports against ${headers}`, () => {
  it('numbers their states as EVTCHNOP_status reports them', () => {
    const { free, reserved: _, ...states } = portState;
    expect({ closed: free, ...states }).to.eql({
      closed: c.EVTCHNSTAT_closed,
      unbound: c.EVTCHNSTAT_unbound,
      interdomain: c.EVTCHNSTAT_interdomain,
      pirq: c.EVTCHNSTAT_pirq,
      virq: c.EVTCHNSTAT_virq,
      ipi: c.EVTCHNSTAT_ipi,
    });
  });
});
