import { expect } from 'chai';
import { DomainCrash } from '../../../core/hypervisor/domain-crash.js';
import { bounceFor } from '../../../core/hypervisor/exceptions.js';
import { eflags, field } from '../../../core/hypervisor/vcpu-context.js';
import { slotsOf, type TrapRig, trapRig } from './trap-rig.js';

/*
 * The bytes are written by hand, from xen/arch/x86/x86_64/entry.S create_bounce_frame and x86_64/compat/entry.S
 * compat_create_bounce_frame.
 */

const STACK_END = 0x1000;
const HANDLER = 0xffff_8880_0010_2030n;

const handle = (rig: TrapRig, vector: number, flags = 0, cs = 0xe019): void => {
  const address = rig.abi32 ? 0x8765_4321n : HANDLER;
  expect(rig.traps.setTrapTable(rig.domid, 0, [{ vector, flags, cs, address }])).to.equal(0);
};

/** The last bytes of the stack page, by slots. */
const pushed = (rig: TrapRig, slots: number): readonly string[] => {
  const unit = rig.abi32 ? 4 : 8;
  return slotsOf(rig.stackBytes.subarray(STACK_END - slots * unit), unit);
};

const crashOf = (rig: TrapRig): string => {
  const crash = rig.traps.returnToGuest(rig.domid, 0);
  return crash instanceof DomainCrash ? crash.message : 'no crash';
};

describe('a 64-bit bounce frame (entry.S create_bounce_frame)', () => {
  let rig: TrapRig;
  beforeEach(() => {
    rig = trapRig();
    rig.load({
      rip: 0x1122_3344_5566_7788n,
      rflags: 0x0000_0246n,
      rcx: 0x0c0c_0c0c_0c0c_0c0cn,
      r11: 0x1111_1111_1111_1111n,
    });
  });

  it('is, from the lowest address, rcx, r11, rip, cs, rflags, rsp, ss; cs has RPL 0 where the kernel was interrupted', () => {
    handle(rig, 6);
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    const rsp = rig.context.get(field.rsp);
    const [frame] = rig.enter();
    expect(frame).to.include({ address: rig.stack + 0x1000n - 56n, hasErrorCode: false, hasStack: true });
    const end = Buffer.alloc(8);
    end.writeBigUInt64LE(rsp);
    // The page ends on a multiple of 16, below which the frame's 56 bytes end.
    expect(pushed(rig, 7)).to.eql([
      '0c0c0c0c0c0c0c0c',
      '1111111111111111',
      '8877665544332211',
      '30e0000000000000',
      '4602000000000000',
      end.toString('hex'),
      '2be0000000000000',
    ]);
    expect(rig.stackBytes.subarray(0, STACK_END - 56).every((byte) => byte === 0)).to.equal(true);
  });

  it('has the error code between r11 and rip', () => {
    handle(rig, 13);
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 13, errorCode: 0x1a });
    rig.enter();
    expect(pushed(rig, 8).slice(0, 4)).to.eql([
      '0c0c0c0c0c0c0c0c',
      '1111111111111111',
      '1a00000000000000',
      '8877665544332211',
    ]);
  });

  it('has the saved upcall mask in bits 32 … 39 of cs, and its opposite as IF of rflags', () => {
    handle(rig, 6);
    rig.setUpcallMask(1);
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    rig.enter();
    const [, , , cs, rflags] = pushed(rig, 7);
    expect([cs, rflags]).to.eql(['30e0000001000000', '4600000000000000']);
    expect(rig.upcallMask()).to.equal(1);
  });

  it('has above the mask what follows it in vcpu_info, as pushq takes it', () => {
    handle(rig, 6);
    rig.info().setUint8(2, 0xaa);
    rig.info().setUint8(4, 0xcc);
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    rig.enter();
    expect(pushed(rig, 7)[3]).to.equal('30e0000000aa00cc');
  });

  it('leaves the upcall mask as it is without TI_SET_IF, and sets it with', () => {
    handle(rig, 6);
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    rig.enter();
    expect(rig.upcallMask()).to.equal(0);
    handle(rig, 6, 4);
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    rig.enter();
    expect(rig.upcallMask()).to.equal(1);
  });

  it('never shows IOPL, which the guest’s own flags do not have', () => {
    handle(rig, 6);
    rig.load({ rflags: 0x3246n });
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    rig.enter();
    expect(pushed(rig, 7)[4]).to.equal('4602000000000000');
  });

  it('is aligned downwards to 16 bytes', () => {
    handle(rig, 6);
    const rsp = rig.stack + 0x807n;
    rig.load({ rsp });
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    expect(rig.enter()[0]?.address).to.equal(rig.stack + 0x800n - 56n);
    const view = new DataView(rig.stackBytes.buffer, rig.stackBytes.byteOffset);
    expect(view.getBigUint64(0x800 - 16, true)).to.equal(rsp);
  });

  it('goes to the stack of stack_switch from user mode, keeps cs with RPL 3, and enters the kernel', () => {
    handle(rig, 6);
    expect(rig.traps.stackSwitch(rig.domid, 0, 0xe02b, rig.stack + 0x800n)).to.equal(0);
    rig.load({ kernelMode: 0, cs: 0xe033, rsp: 0x7fff_0000_1234n });
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    expect(rig.enter()[0]?.address).to.equal(rig.stack + 0x800n - 56n);
    const view = new DataView(rig.stackBytes.buffer, rig.stackBytes.byteOffset);
    expect(view.getBigUint64(0x800 - 32, true)).to.equal(0xe033n);
    expect(view.getBigUint64(0x800 - 16, true)).to.equal(0x7fff_0000_1234n);
    expect(rig.context.number(field.kernelMode)).to.equal(1);
  });

  it('enters the handler in Xen’s flat segments, with AC, VM, RF, NT and TF clear, rcx and r11 as SYSRET leaves them', () => {
    handle(rig, 6, 0, 0x1234);
    const { ac, rf, nt, tf, df } = eflags;
    rig.load({ rflags: 0x246n | ac | rf | nt | tf | df });
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    rig.enter();
    expect(rig.context.get(field.rip)).to.equal(HANDLER);
    expect([rig.context.number(field.cs), rig.context.number(field.ss)]).to.eql([0xe033, 0xe02b]);
    expect(rig.context.get(field.rflags)).to.equal(0x646n);
    expect(rig.context.get(field.rcx)).to.equal(HANDLER);
    expect(rig.context.get(field.r11)).to.equal(0x646n);
  });

  it('may not lie in Xen’s own part of the address space, its ends included', () => {
    for (const rsp of [0xffff_8000_0000_0010n, 0xffff_8780_0000_0000n, 0xffff_8800_0000_003fn]) {
      rig = trapRig();
      handle(rig, 6);
      rig.load({ rsp });
      rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
      expect(crashOf(rig)).to.match(
        /^domain 1, vCPU 0: its stack at 0xffff8[0-9a-f]+ is Xen's, for vector 6, invalidOpcode$/,
      );
    }
  });

  it('crashes the domain where its stack is no memory of its, half of it included', () => {
    for (const [rsp, text] of [
      [0n, /is no memory of its, for vector 6/],
      [0xffff_8000_0000_0000n, /is no memory of its/],
      [0xffff_8800_0000_0040n, /is no memory of its/],
      [0x0000_9000_0000_0000n, /is no memory of its/],
    ] as const) {
      rig = trapRig();
      handle(rig, 6);
      rig.load({ rsp });
      rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
      expect(crashOf(rig)).to.match(text);
    }
    rig = trapRig();
    handle(rig, 6);
    rig.load({ rsp: rig.stack + 48n });
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    expect(crashOf(rig)).to.match(/is no memory of its/);
  });

  it('crashes the domain without a handler: no double fault', () => {
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    expect(crashOf(rig)).to.equal('domain 1, vCPU 0: no handler is registered, for vector 6, invalidOpcode');
  });
});

describe('a 32-bit bounce frame (compat/entry.S compat_create_bounce_frame)', () => {
  let rig: TrapRig;
  beforeEach(() => {
    rig = trapRig('x86_32-abi');
    rig.load({ rip: 0x1234_5678n, rflags: 0x246n });
  });

  it('is, from the lowest address, eip, cs, eflags on the kernel’s own stack, with no stack pointer', () => {
    handle(rig, 6);
    rig.load({ rsp: rig.stack + 0xffcn });
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    expect(rig.enter()[0]).to.include({ address: rig.stack + 0xffcn - 12n, hasStack: false });
    expect(pushed(rig, 4)).to.eql(['78563412', '19e00000', '46020000', '00000000']);
  });

  it('has esp and ss above on a change of rings, on the stack of stack_switch', () => {
    handle(rig, 6);
    rig.traps.stackSwitch(rig.domid, 0, 0xe021, rig.stack + 0x1000n);
    rig.load({ cs: 0xe02b, ss: 0xe033, rsp: 0xbfff_fff0n });
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    expect(rig.enter()[0]).to.include({ address: rig.stack + 0x1000n - 20n, hasStack: true });
    expect(pushed(rig, 5)).to.eql(['78563412', '2be00000', '46020000', 'f0ffffbf', '33e00000']);
    expect(rig.context.number(field.ss)).to.equal(0xe021);
  });

  it('has the error code lowest, and the saved upcall mask in bits 16 … 23 of cs', () => {
    handle(rig, 13);
    rig.setUpcallMask(1);
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 13, errorCode: 0xbeef });
    rig.enter();
    expect(pushed(rig, 4)).to.eql(['efbe0000', '78563412', '19e00100', '46000000']);
  });

  it('enters the handler by the selector of its entry', () => {
    handle(rig, 6, 4, 0xe02b);
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    rig.enter();
    expect(rig.context.number(field.rip)).to.equal(0x8765_4321);
    expect(rig.context.number(field.cs)).to.equal(0xe02b);
    expect(rig.upcallMask()).to.equal(1);
  });

  it('enters the handler with VM, RF, NT and TF clear, and AC as it was', () => {
    handle(rig, 6);
    const { ac, rf, nt, tf, df } = eflags;
    rig.load({ rflags: 0x246n | ac | rf | nt | tf | df });
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    rig.enter();
    expect(rig.context.get(field.rflags)).to.equal(0x646n | ac);
  });

  it('crashes the domain without a handler, which is a null selector, and on a null stack segment', () => {
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    expect(crashOf(rig)).to.match(/no handler is registered/);
    rig = trapRig('x86_32-abi');
    handle(rig, 6);
    rig.load({ ss: 3 });
    rig.traps.exceptions.raise(rig.domid, 0, { vector: 6 });
    expect(crashOf(rig)).to.match(/its stack segment is null/);
  });
});

describe('the failsafe frame (XSA-40)', () => {
  const segments = { ds: 0xd1d1, es: 0xe1e1, fs: 0xf1f1, gs: 0x6161 };

  it('of a 64-bit guest has ds, es, fs and gs between r11 and rip', () => {
    const rig = trapRig();
    rig.traps.callbacks.callbackOp(rig.domid, 0, 0, { type: 1, flags: 1, address: HANDLER });
    // State that the processor refuses to load: an address that is not canonical.
    rig.load({ rip: 0x8000_0000_0000_0000n, rflags: 0x246n, rcx: 0xc1n, r11: 0x11n, ...segments });
    const rsp = rig.context.get(field.rsp);
    const [frame, ...more] = rig.enter();
    expect(more).to.eql([]);
    expect(frame).to.include({ why: bounceFor.failsafe, hasSegments: true, hasErrorCode: false });
    const end = Buffer.alloc(8);
    end.writeBigUInt64LE(rsp);
    expect(pushed(rig, 11)).to.eql([
      'c100000000000000',
      '1100000000000000',
      'd1d1000000000000',
      'e1e1000000000000',
      'f1f1000000000000',
      '6161000000000000',
      '0000000000000080',
      '30e0000000000000',
      '4602000000000000',
      end.toString('hex'),
      '2be0000000000000',
    ]);
    expect(rig.upcallMask(), 'CALLBACKF_mask_events').to.equal(1);
  });

  it('of a 32-bit guest has ds, es, fs and gs below eip, sixteen bytes, and nothing more', () => {
    const rig = trapRig('x86_32-abi');
    rig.traps.callbacks.callbackOp(rig.domid, 0, 0, { type: 1, address: 0x8000_1000n, cs: 0xe019 });
    rig.load({ cs: 0x0001, rip: 0x1234_5678n, rflags: 0x246n, ...segments });
    expect(rig.enter()).to.have.length(1);
    expect(pushed(rig, 7)).to.eql(['d1d10000', 'e1e10000', 'f1f10000', '61610000', '78563412', '01000000', '46020000']);
    expect(rig.context.number(field.rsp)).to.equal(Number(rig.stack) + 0x1000 - 28);
    expect(rig.context.number(field.rip)).to.equal(0x8000_1000);
    expect(rig.upcallMask()).to.equal(0);
  });

  it('crashes the domain that has registered no failsafe callback', () => {
    const rig = trapRig();
    rig.load({ rip: 0x8000_0000_0000_0000n });
    expect(crashOf(rig)).to.equal('domain 1, vCPU 0: no handler is registered, for the failsafe callback');
  });
});
