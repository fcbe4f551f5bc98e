import { expect } from 'chai';
import {
  CALLBACKF_mask_events,
  callbackOp,
  callbackRegister,
  callbackType,
  callbackUnregister,
  NMI_CALLBACK_SIZE,
  nmiOp,
} from '../../core/hypervisor/callbacks.js';
import { nmiReason } from '../../core/hypervisor/nmi-reasons.js';
import { iretContext } from '../../core/hypervisor/return-to-guest.js';
import { flat } from '../../core/hypervisor/vcpu-context.js';
import { trapInfo } from '../../core/hypervisor/virtual-idt.js';
import { trapRig } from '../core/hypervisor/trap-rig.js';
import { type AbiName, abis, golden, headers } from './golden.js';

const c = golden.constants;
const ours = { x86_64: 'native', x86_32: 'compat' } as const;

const layout = (abi: AbiName, name: string): Record<string, number> => {
  const { size, fields } = golden[abi][name] ?? { size: Number.NaN, fields: {} };
  return { ...Object.fromEntries(Object.entries(fields).map(([field, [offset]]) => [field, offset])), size };
};

describe(`what traps read and write in a guest's memory, against ${headers}`, () => {
  for (const abi of abis) {
    it(`struct trap_info lies as in arch-x86/xen.h for ${abi}`, () => {
      expect(trapInfo[ours[abi]]).to.eql(layout(abi, 'trap_info'));
    });

    it(`struct callback_register and callback_unregister lie as in callback.h for ${abi}`, () => {
      const { type, flags, address, size } = layout(abi, 'callback_register');
      // A 32-bit guest's address is struct xen_callback: a selector, then an offset.
      const { cs = 0, eip = 0 } = golden[abi].xen_callback === undefined ? {} : layout(abi, 'xen_callback');
      const expected = { type, flags, address: (address ?? Number.NaN) + eip, size };
      const compat = { ...expected, cs: (address ?? Number.NaN) + cs };
      expect(callbackRegister[ours[abi]]).to.eql(abi === 'x86_32' ? compat : expected);
      expect(callbackUnregister).to.eql({ type: layout(abi, 'callback_unregister').type, size: 4 });
      expect(layout(abi, 'callback_unregister').size).to.equal(4);
    });

    it(`struct xennmi_callback is as large as in nmi.h for ${abi}, and begins with the address`, () => {
      expect(layout(abi, 'xennmi_callback')).to.include({ handler_address: 0, size: NMI_CALLBACK_SIZE[ours[abi]] });
    });

    it(`cr2 of a page fault goes to vcpu_info.arch.cr2 for ${abi}`, () => {
      const { traps, info, domid } = trapRig(`${abi}-abi`);
      traps.exceptions.raise(domid, 0, { vector: 14, errorCode: 0, cr2: 0x11223344n });
      const at = (golden[abi].vcpu_info?.fields.arch?.[0] ?? Number.NaN) + (layout(abi, 'arch_vcpu_info').cr2 ?? 0);
      expect(info().getUint32(at, true)).to.equal(0x11223344);
    });

    it(`the reason of an NMI goes to shared_info.arch.nmi_reason for ${abi}`, () => {
      const { traps, info, domid } = trapRig(`${abi}-abi`);
      traps.exceptions.reportNmi(domid, nmiReason.pciSerr);
      const arch = golden[abi].shared_info?.fields.arch?.[0] ?? Number.NaN;
      expect(info().getUint32(arch + (layout(abi, 'arch_shared_info').nmi_reason ?? 0), true)).to.equal(2);
    });
  }

  it('struct iret_context lies as in xen-x86_64.h', () => {
    const { size, ...offsets } = layout('x86_64', 'iret_context');
    expect(offsets).to.eql(Object.fromEntries(iretContext.map((name, i) => [name, i * 8])));
    expect(size).to.equal(iretContext.length * 8);
  });

  it('callbacks, commands and reasons have the numbers of callback.h and nmi.h', () => {
    expect(callbackType).to.eql({
      event: c.CALLBACKTYPE_event,
      failsafe: c.CALLBACKTYPE_failsafe,
      syscall: c.CALLBACKTYPE_syscall,
      sysenterDeprecated: c.CALLBACKTYPE_sysenter_deprecated,
      nmi: c.CALLBACKTYPE_nmi,
      sysenter: c.CALLBACKTYPE_sysenter,
      syscall32: c.CALLBACKTYPE_syscall32,
    });
    expect(callbackOp).to.eql({ register: c.CALLBACKOP_register, unregister: c.CALLBACKOP_unregister });
    expect(CALLBACKF_mask_events).to.equal(c.CALLBACKF_mask_events);
    expect(nmiOp).to.eql({
      registerCallback: c.XENNMI_register_callback,
      unregisterCallback: c.XENNMI_unregister_callback,
    });
    expect(nmiReason).to.eql({
      ioError: c._XEN_NMIREASON_io_error,
      pciSerr: c._XEN_NMIREASON_pci_serr,
      unknown: c._XEN_NMIREASON_unknown,
    });
  });

  it('Xen’s flat segments have the selectors of xen-x86_64.h and xen-x86_32.h', () => {
    expect({ x86_64: flat.kernelCs64, x86_32: flat.ring1Cs }).to.eql(c.FLAT_KERNEL_CS);
    expect({ x86_64: flat.kernelSs64, x86_32: flat.ring1Ss }).to.eql(c.FLAT_KERNEL_SS);
    expect({ x86_64: flat.userCs64, x86_32: flat.ring3Cs }).to.eql(c.FLAT_USER_CS);
    expect({ x86_64: flat.userSs64, x86_32: flat.ring3Ss }).to.eql(c.FLAT_USER_SS);
  });
});
