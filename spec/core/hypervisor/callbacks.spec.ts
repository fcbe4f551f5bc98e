import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { PAGE_SIZE } from '../../../core/abi/units.js';
import { callbackOp, callbackType, nmiOp } from '../../../core/hypervisor/callbacks.js';
import { bounceFor } from '../../../core/hypervisor/exceptions.js';
import { nmiReason } from '../../../core/hypervisor/nmi-reasons.js';
import { type Field, field } from '../../../core/hypervisor/vcpu-context.js';
import { type TrapRig, trapRig } from './trap-rig.js';

const NON_CANONICAL = 0x8000_0000_0000n;
const NMI = 2;

let rig: TrapRig;
const op = (cmd: number, argument: Parameters<TrapRig['traps']['callbacks']['callbackOp']>[3]) =>
  rig.traps.callbacks.callbackOp(rig.domid, 0, cmd, argument);
const register = (type: number, address: bigint, flags = 0) => op(callbackOp.register, { type, address, flags });
const at = (of: Field) => rig.context.get(of);

beforeEach(() => {
  rig = trapRig();
});

describe('set_callbacks (pv/callback.c do_set_callbacks)', () => {
  it('registers event, failsafe and syscall', () => {
    const callbacks = { event: 0x10n, failsafe: 0x20n, syscall: 0x30n };
    expect(rig.traps.callbacks.setCallbacks(rig.domid, 0, callbacks)).to.equal(0);
    expect([field.eventEip, field.failsafeEip, field.syscallEip].map(at)).to.eql([0x10n, 0x20n, 0x30n]);
  });

  it('answers 0 even if an address was refused, and leaves that callback as it was', () => {
    rig.traps.callbacks.setCallbacks(rig.domid, 0, { event: 0x10n, failsafe: 0x20n, syscall: 0x30n });
    const callbacks = { event: 0x11n, failsafe: NON_CANONICAL, syscall: 0x31n };
    expect(rig.traps.callbacks.setCallbacks(rig.domid, 0, callbacks)).to.equal(0);
    expect([field.eventEip, field.failsafeEip, field.syscallEip].map(at)).to.eql([0x11n, 0x20n, 0x31n]);
  });

  it('unmasks what an earlier registration of failsafe and syscall masked', () => {
    register(callbackType.failsafe, 0x20n, 1);
    rig.traps.callbacks.setCallbacks(rig.domid, 0, { event: 0x10n, failsafe: 0x20n, syscall: 0x30n });
    expect(at(field.failsafeMasks)).to.equal(0n);
  });

  it('takes selectors, and no syscall callback, from a 32-bit guest (compat_set_callbacks)', () => {
    rig = trapRig('x86_32-abi');
    const callbacks = { event: 0x10n, eventCs: 0xe018, failsafe: 0x20n, failsafeCs: 0xe019, syscall: 0x30n };
    expect(rig.traps.callbacks.setCallbacks(rig.domid, 0, callbacks)).to.equal(0);
    expect([field.eventCs, field.eventEip, field.failsafeCs, field.failsafeEip, field.syscallEip].map(at)).to.eql([
      0xe019n,
      0x10n,
      0xe019n,
      0x20n,
      0n,
    ]);
  });
});

describe('callback_op (callback.h, pv/callback.c do_callback_op)', () => {
  const places = [
    ['event', field.eventEip, undefined],
    ['failsafe', field.failsafeEip, field.failsafeMasks],
    ['syscall', field.syscallEip, field.syscallMasks],
    ['sysenter', field.sysenterEip, field.sysenterMasks],
    ['syscall32', field.syscall32Eip, field.syscall32Masks],
  ] as const;

  for (const [type, eip, masks] of places) {
    it(`registers ${type}${masks === undefined ? '' : ', with or without masked events'}`, () => {
      expect(register(callbackType[type], 0x10n, 1)).to.equal(0);
      expect(at(eip)).to.equal(0x10n);
      if (masks === undefined) return;
      expect(at(masks)).to.equal(1n);
      expect(register(callbackType[type], 0x11n, 0)).to.equal(0);
      expect([at(eip), at(masks)]).to.eql([0x11n, 0n]);
    });
  }

  it('registers nmi as the entry of vector 2, whose events are masked whatever the flags say', () => {
    expect(register(callbackType.nmi, 0x10n, 0)).to.equal(0);
    expect(rig.traps.entry(rig.domid, 0, NMI)).to.eql({ vector: NMI, flags: 4, cs: 0xe033, address: 0x10n });
  });

  it('masks events on entry of the event callback whatever its flags say', () => {
    register(callbackType.event, 0x10n, 0);
    rig.raiseEvent();
    expect(rig.enter().map(({ why }) => why)).to.eql([bounceFor.event]);
    expect(rig.upcallMask()).to.equal(1);
  });

  it('answers EINVAL for an address that is not canonical, whatever the type', () => {
    for (const type of [...Object.values(callbackType), 6, 99]) {
      expect(register(type, NON_CANONICAL)).to.equal(-errno.EINVAL);
    }
    expect(at(field.eventEip)).to.equal(0n);
  });

  it('answers ENOSYS for an unknown type, the deprecated sysenter among them, and for an unknown command', () => {
    for (const type of [callbackType.sysenterDeprecated, 6, 8, 65535]) {
      expect(register(type, 0x10n), `register ${type}`).to.equal(-errno.ENOSYS);
      expect(op(callbackOp.unregister, { type }), `unregister ${type}`).to.equal(-errno.ENOSYS);
    }
    expect(op(2, { type: callbackType.event })).to.equal(-errno.ENOSYS);
    expect(op(-1, { type: callbackType.event })).to.equal(-errno.ENOSYS);
  });

  it('unregisters nmi only: EINVAL for the others', () => {
    for (const [type] of places)
      expect(op(callbackOp.unregister, { type: callbackType[type] })).to.equal(-errno.EINVAL);
    register(callbackType.nmi, 0x10n);
    expect(op(callbackOp.unregister, { type: callbackType.nmi })).to.equal(0);
    expect(rig.traps.entry(rig.domid, 0, NMI).address).to.equal(0n);
  });

  it('answers a 32-bit guest as compat_callback_op does: no syscall callback, EINVAL for an unknown command', () => {
    rig = trapRig('x86_32-abi');
    expect(register(callbackType.syscall, 0x10n)).to.equal(-errno.ENOSYS);
    expect(op(callbackOp.unregister, { type: callbackType.syscall })).to.equal(-errno.ENOSYS);
    expect(op(2, { type: callbackType.event })).to.equal(-errno.EINVAL);
    expect(register(callbackType.syscall32, 0xffff_fff0n)).to.equal(0);
    expect(at(field.syscall32Eip)).to.equal(0xffff_fff0n);
  });

  it('reads struct callback_register from a guest’s memory', () => {
    rig.pageView.setUint16(0, callbackType.failsafe, true);
    rig.pageView.setUint16(2, 1, true);
    rig.pageView.setBigUint64(8, 0xffff_8880_0000_0010n, true);
    expect(op(callbackOp.register, rig.page)).to.equal(0);
    expect([at(field.failsafeEip), at(field.failsafeMasks)]).to.eql([0xffff_8880_0000_0010n, 1n]);
    rig = trapRig('x86_32-abi');
    rig.pageView.setUint16(0, callbackType.event, true);
    rig.pageView.setUint32(4, 0xe018, true);
    rig.pageView.setUint32(8, 0x8000_0010, true);
    expect(op(callbackOp.register, rig.page)).to.equal(0);
    expect([at(field.eventCs), at(field.eventEip)]).to.eql([0xe019n, 0x8000_0010n]);
  });

  it('answers EFAULT for a struct that is not all in the guest’s memory', () => {
    const end = rig.page + BigInt(PAGE_SIZE);
    expect(op(callbackOp.register, end - 15n)).to.equal(-errno.EFAULT);
    expect(op(callbackOp.register, 0n)).to.equal(-errno.EFAULT);
    expect(op(callbackOp.unregister, end - 3n)).to.equal(-errno.EFAULT);
    expect(op(callbackOp.unregister, end - 4n)).to.equal(-errno.EINVAL);
  });
});

describe('nmi_op (nmi.h, pv/callback.c do_nmi_op)', () => {
  const nmi = (cmd: number, handler?: Parameters<TrapRig['traps']['callbacks']['nmiOp']>[3], vcpu = 0) =>
    rig.traps.callbacks.nmiOp(rig.domid, vcpu, cmd, handler);

  it('registers and unregisters the handler of NMIs', () => {
    expect(nmi(nmiOp.registerCallback, { address: 0x10n })).to.equal(0);
    expect(rig.traps.entry(rig.domid, 0, NMI)).to.include({ flags: 4, address: 0x10n });
    expect(nmi(nmiOp.unregisterCallback)).to.equal(0);
    expect(rig.traps.entry(rig.domid, 0, NMI).address).to.equal(0n);
  });

  it('answers EINVAL not canonical, EFAULT no struct, ENOSYS unknown command', () => {
    expect(nmi(nmiOp.registerCallback, { address: NON_CANONICAL })).to.equal(-errno.EINVAL);
    expect(nmi(nmiOp.registerCallback)).to.equal(-errno.EFAULT);
    expect(nmi(nmiOp.registerCallback, 16n)).to.equal(-errno.EFAULT);
    expect(nmi(2)).to.equal(-errno.ENOSYS);
  });

  it('reads struct xennmi_callback from a guest’s memory', () => {
    rig.pageView.setBigUint64(0, 0x1234n, true);
    expect(nmi(nmiOp.registerCallback, rig.page)).to.equal(0);
    expect(rig.traps.entry(rig.domid, 0, NMI).address).to.equal(0x1234n);
  });

  it('gives a fresh handler on vCPU 0 the NMI that came while there was none', () => {
    rig.traps.exceptions.reportNmi(rig.domid, nmiReason.ioError);
    expect(rig.enter(), 'the edge is lost without a handler').to.eql([]);
    nmi(nmiOp.registerCallback, { address: 0x10n });
    expect(rig.enter().map(({ why }) => why)).to.eql([NMI]);
  });

  it('gives none where no reason is noted, and none on another vCPU', () => {
    rig.traps.exceptions.sendNmi(rig.domid, 0);
    rig.enter();
    nmi(nmiOp.registerCallback, { address: 0x10n });
    expect(rig.enter()).to.eql([]);

    rig = trapRig('x86_64-abi', 2);
    rig.traps.exceptions.reportNmi(rig.domid, nmiReason.unknown);
    nmi(nmiOp.registerCallback, { address: 0x10n }, 1);
    expect(rig.enter(1)).to.eql([]);
  });
});
