import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { DomainCrash } from '../../../core/hypervisor/domain-crash.js';
import { parked } from '../../../core/hypervisor/doorbell.js';
import { bounceFor, hasErrorCode } from '../../../core/hypervisor/exceptions.js';
import { field } from '../../../core/hypervisor/vcpu-context.js';
import { dom2, nobody } from './machine.js';
import { type TrapRig, trapRig } from './trap-rig.js';

const GP = 13;
const PF = 14;

let rig: TrapRig;
const whys = (): readonly number[] => rig.enter().map(({ why }) => why);
const entry = (vector: number, dpl: number): void => {
  rig.traps.setTrapTable(rig.domid, 0, [{ vector, flags: dpl, cs: 0xe019, address: 0x1000n + BigInt(vector) }]);
};
const userMode = (): void => {
  rig.traps.stackSwitch(rig.domid, 0, rig.abi32 ? 0xe021 : 0xe02b, rig.stack + 0x1000n);
  rig.load(rig.abi32 ? { cs: 0xe02b, ss: 0xe033 } : { kernelMode: 0 });
};
/** A slot of the frame that was built last, from its lowest address. */
const slot = (i: number): bigint => {
  const unit = rig.abi32 ? 4 : 8;
  const at = Number(rig.context.get(field.rsp) - rig.stack) + i * unit;
  const view = new DataView(rig.stackBytes.buffer, rig.stackBytes.byteOffset + at);
  return rig.abi32 ? BigInt(view.getUint32(0, true)) : view.getBigUint64(0, true);
};

for (const abi of ['x86_64-abi', 'x86_32-abi'] as const) {
  const ripSlot = abi === 'x86_64-abi' ? 2 : 0;
  const codeSlot = ripSlot;

  describe(`an instruction that traps, ${abi}`, () => {
    const xen = () => rig.traps.exceptions;

    beforeEach(() => {
      rig = trapRig(abi);
      rig.load({ rip: 0x4000n });
    });

    it('is only recorded by the call: nothing is pushed, and rip stays, before the return to the guest', () => {
      entry(3, 3);
      const before = rig.context.get(field.rsp);
      expect(xen().int3(rig.domid, 0)).to.equal(0);
      expect(rig.context.get(field.rsp)).to.equal(before);
      expect(rig.stackBytes.every((byte) => byte === 0)).to.equal(true);
      expect(whys()).to.eql([3]);
    });

    it('has the vCPU entered, and rings for a domain that rests', () => {
      entry(3, 3);
      rig.hypervisor.doorbell.rest(rig.domid, parked);
      expect(rig.hypervisor.doorbell.hasUpcall(rig.domid)).to.equal(false);
      xen().int3(rig.domid, 0);
      expect(rig.hypervisor.doorbell.hasUpcall(rig.domid)).to.equal(true);
    });

    it('int3 leaves rip behind itself, one byte, and looks at no DPL (do_int3)', () => {
      for (const user of [false, true]) {
        rig = trapRig(abi);
        rig.load({ rip: 0x4000n });
        if (user) userMode();
        entry(3, 0);
        xen().int3(rig.domid, 0);
        expect(whys()).to.eql([3]);
        expect(slot(ripSlot)).to.equal(0x4001n);
      }
    });

    for (const [dpl, kernel, user] of [
      [0, false, false],
      [1, true, false],
      [2, true, false],
      [3, true, true],
    ] as const) {
      it(`int n with DPL ${dpl} enters from ${kernel ? (user ? 'both modes' : 'the kernel alone') : 'neither mode'} (permit_softint)`, () => {
        for (const fromUser of [false, true]) {
          rig = trapRig(abi);
          rig.load({ rip: 0x4000n });
          if (fromUser) userMode();
          entry(0x21, dpl);
          entry(GP, 0);
          xen().softwareInterrupt(rig.domid, 0, 0x21);
          const admitted = fromUser ? user : kernel;
          expect(whys()).to.eql([admitted ? 0x21 : GP]);
          if (admitted) expect(slot(ripSlot)).to.equal(0x4002n);
          else expect([slot(codeSlot), slot(ripSlot + 1)]).to.eql([BigInt((0x21 << 3) | 2), 0x4000n]);
        }
      });
    }

    it('int 3 and int 4 cannot be told from int3 and into: no DPL counts', () => {
      for (const n of [3, 4]) {
        entry(n, 0);
        xen().softwareInterrupt(rig.domid, 0, n);
        expect(whys()).to.eql([n]);
        expect(slot(ripSlot)).to.equal(n === 3 ? 0x4002n : 0x1003n + 2n);
      }
    });

    it('int 0x80 goes straight to its handler, whatever its DPL, and is #GP without (int80_direct_trap)', () => {
      entry(0x80, 0);
      userMode();
      xen().softwareInterrupt(rig.domid, 0, 0x80);
      expect(whys()).to.eql([0x80]);
      rig = trapRig(abi);
      rig.load({ rip: 0x4000n });
      entry(GP, 0);
      userMode();
      xen().softwareInterrupt(rig.domid, 0, 0x80);
      expect(whys()).to.eql([GP]);
      expect([slot(codeSlot), slot(ripSlot + 1)]).to.eql([BigInt((0x80 << 3) | 2), 0x4000n]);
    });

    it('int n pushes no error code, also by the vector of an exception that has one', () => {
      entry(GP, 3);
      xen().softwareInterrupt(rig.domid, 0, GP);
      expect(rig.enter()[0]).to.include({ why: GP, hasErrorCode: false });
      expect(slot(ripSlot)).to.equal(0x4002n);
    });

    it('a page fault says by its user bit which of the guest’s modes ran, whatever the processor said', () => {
      for (const user of [false, true]) {
        for (const code of [0, 4, 7, 0x13]) {
          rig = trapRig(abi);
          if (user) userMode();
          entry(PF, 0);
          xen().raise(rig.domid, 0, { vector: PF, errorCode: code, cr2: 0xdead_b000n });
          whys();
          expect(slot(codeSlot)).to.equal(BigInt(user ? code | 4 : code & ~4));
          expect(rig.context.get(field.cr2)).to.equal(0xdead_b000n);
        }
      }
    });

    it('comes one at a time: EBUSY while one is recorded, and the first stays', () => {
      entry(3, 3);
      entry(6, 3);
      expect(xen().int3(rig.domid, 0)).to.equal(0);
      expect(xen().raise(rig.domid, 0, { vector: 6 })).to.equal(-errno.EBUSY);
      expect(whys()).to.eql([3]);
      expect(xen().raise(rig.domid, 0, { vector: 6 })).to.equal(0);
      expect(whys()).to.eql([6]);
    });

    it('answers ESRCH for no domain, ENOENT for no vCPU', () => {
      expect(xen().int3(nobody, 0)).to.equal(-errno.ESRCH);
      expect(xen().int3(rig.domid, 1)).to.equal(-errno.ENOENT);
      expect(xen().sendNmi(nobody, 0)).to.equal(-errno.ESRCH);
      expect(xen().sendNmi(rig.domid, 1)).to.equal(-errno.ENOENT);
      expect(xen().machineCheck(rig.domid, 1)).to.equal(-errno.ENOENT);
      expect(xen().reportNmi(nobody, 0)).to.equal(-errno.ESRCH);
    });

    it('refuses what no processor does: no vector, an error code too many or too few, a cr2 of nothing', () => {
      const { domid } = rig;
      expect(() => xen().softwareInterrupt(domid, 0, 256)).to.throw(RangeError, 'below 256');
      expect(() => xen().raise(domid, 0, { vector: 32 })).to.throw(RangeError, 'below 32');
      expect(() => xen().raise(domid, 0, { vector: GP })).to.throw(RangeError, 'has an error code');
      expect(() => xen().raise(domid, 0, { vector: 6, errorCode: 0 })).to.throw(RangeError, 'no error code');
      expect(() => xen().raise(domid, 0, { vector: PF, errorCode: 0 })).to.throw(RangeError, 'cr2');
      expect(() => xen().raise(domid, 0, { vector: 6, cr2: 0n })).to.throw(RangeError, 'cr2');
      expect(() => xen().raise(domid, 0, { vector: 2 })).to.throw(RangeError, 'call of its own');
      expect(() => xen().reportNmi(domid, 3)).to.throw(RangeError, '0, 1 or 2');
    });
  });
}

describe('error codes', () => {
  it('are pushed by 8, 10 … 14, 17 and 21 (X86_EXC_HAVE_EC)', () => {
    const with_ = Array.from({ length: 256 }, (_, n) => n).filter(hasErrorCode);
    expect(with_).to.eql([8, 10, 11, 12, 13, 14, 17, 21]);
  });
});

describe('SYSCALL of a 64-bit guest’s user mode (entry.S switch_to_kernel)', () => {
  beforeEach(() => {
    rig = trapRig();
    rig.load({ rip: 0x4000n, rflags: 0x646n });
    userMode();
  });
  const syscall = (): number => rig.traps.exceptions.syscall(rig.domid, 0);

  it('enters the callback with rcx and r11 as the instruction leaves them, and DF clear', () => {
    rig.traps.callbacks.callbackOp(rig.domid, 0, 0, { type: 2, address: 0x2000n });
    expect(syscall()).to.equal(0);
    expect(whys()).to.eql([bounceFor.syscall]);
    expect([0, 1, 2].map(slot)).to.eql([0x4002n, 0x646n, 0x4002n]);
    expect(slot(4), 'rflags are saved with DF').to.equal(0x646n);
    expect(rig.context.get(field.rflags)).to.equal(0x246n);
    expect(rig.upcallMask()).to.equal(0);
  });

  it('masks events if the callback was registered so', () => {
    rig.traps.callbacks.callbackOp(rig.domid, 0, 0, { type: 2, address: 0x2000n, flags: 1 });
    syscall();
    whys();
    expect(rig.upcallMask()).to.equal(1);
  });

  it('is #UD at the instruction without a callback, and DF stays', () => {
    entry(6, 0);
    syscall();
    expect(whys()).to.eql([6]);
    expect(slot(2)).to.equal(0x4000n);
    expect(rig.context.get(field.rflags)).to.equal(0x646n);
  });

  it('of 32-bit code goes to the syscall32 callback, and is #UD without, whatever there is for 64-bit code', () => {
    rig.load({ cs: 0xe023 });
    rig.traps.callbacks.callbackOp(rig.domid, 0, 0, { type: 7, address: 0x3000n });
    syscall();
    expect(whys()).to.eql([bounceFor.syscall32]);
    expect(slot(3)).to.equal(0xe023n);
    rig = trapRig();
    userMode();
    rig.load({ cs: 0xe023 });
    entry(6, 0);
    rig.traps.callbacks.callbackOp(rig.domid, 0, 0, { type: 2, address: 0x2000n });
    syscall();
    expect(whys()).to.eql([6]);
  });

  it('is a hypercall in the kernel, of which there is none here: ENOSYS', () => {
    rig.load({ kernelMode: 1 });
    expect(syscall()).to.equal(-errno.ENOSYS);
    expect(whys()).to.eql([]);
  });

  it('is #GP in a 32-bit guest without a callback, at the instruction (compat/entry.S cstar_enter)', () => {
    rig = trapRig('x86_32-abi');
    rig.load({ rip: 0x4000n });
    userMode();
    entry(GP, 0);
    syscall();
    expect(whys()).to.eql([GP]);
    expect([slot(0), slot(1)]).to.eql([0n, 0x4000n]);
    rig.traps.callbacks.callbackOp(rig.domid, 0, 0, { type: 7, address: 0x3000n, cs: 0xe019 });
    userMode();
    rig.load({ rip: 0x4000n });
    syscall();
    expect(whys()).to.eql([bounceFor.syscall32]);
    expect(slot(0)).to.equal(0x4002n);
  });
});

describe('SYSENTER (entry.S sysenter_entry)', () => {
  beforeEach(() => {
    rig = trapRig();
    userMode();
  });

  it('enters the callback from nowhere: rip, rsp are 0 and cs is null with RPL 3', () => {
    rig.load({ rip: 0x4000n });
    rig.traps.callbacks.callbackOp(rig.domid, 0, 0, { type: 5, address: 0x2000n, flags: 1 });
    expect(rig.traps.exceptions.sysenter(rig.domid, 0)).to.equal(0);
    expect(whys()).to.eql([bounceFor.sysenter]);
    expect([2, 3, 5, 6].map(slot)).to.eql([0n, 3n, 0n, 0xe02bn]);
    expect(rig.upcallMask()).to.equal(1);
  });

  it('is #GP with error code 0 without a callback', () => {
    entry(GP, 0);
    rig.traps.exceptions.sysenter(rig.domid, 0);
    expect(rig.enter()[0]).to.include({ why: GP, hasErrorCode: true });
    expect(slot(2)).to.equal(0n);
  });

  it('is refused in the kernel', () => {
    rig.load({ kernelMode: 1 });
    expect(rig.traps.exceptions.sysenter(rig.domid, 0)).to.equal(-errno.EINVAL);
  });
});

describe('VCPUOP_send_nmi', () => {
  it('has the vCPU entered, once for several, and is no work for a vCPU that has no handlers at all', () => {
    rig = trapRig();
    entry(2, 0);
    rig.traps.exceptions.sendNmi(rig.domid, 0);
    rig.traps.exceptions.sendNmi(rig.domid, 0);
    expect(rig.hypervisor.doorbell.hasUpcall(rig.domid)).to.equal(true);
    expect(whys()).to.eql([2]);
    expect(whys()).to.eql([]);
    expect(rig.traps.exceptions.sendNmi(dom2, 0)).to.equal(0);
    expect(rig.hypervisor.traps.returnToGuest(dom2, 0)).to.not.be.instanceOf(DomainCrash);
  });
});
