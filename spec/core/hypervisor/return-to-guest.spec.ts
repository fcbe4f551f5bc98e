import { expect } from 'chai';
import fc from 'fast-check';
import { DomainCrash } from '../../../core/hypervisor/domain-crash.js';
import { bounceFor } from '../../../core/hypervisor/exceptions.js';
import { VGCF_in_syscall } from '../../../core/hypervisor/return-to-guest.js';
import { eflags, field } from '../../../core/hypervisor/vcpu-context.js';
import { dom2 } from './machine.js';
import { type TrapRig, trapRig } from './trap-rig.js';

const NMI = 2;
const INT3 = 3;
const MCE = 18;
const EVENT = 0x1000n;

let rig: TrapRig;
const whys = (): readonly number[] => rig.enter().map(({ why }) => why);
const at = (vector: number): bigint => BigInt(vector + 1) << 8n;
const handle = (...vectors: number[]): void => {
  for (const vector of vectors) {
    rig.traps.setTrapTable(rig.domid, 0, [{ vector, flags: 3, cs: 0xe033, address: at(vector) }]);
  }
};
const masking = (vector: number): void => {
  rig.traps.setTrapTable(rig.domid, 0, [{ vector, flags: 7, cs: 0xe033, address: at(vector) }]);
};
const onEvents = (): void => {
  rig.traps.callbacks.callbackOp(rig.domid, 0, 0, { type: 0, address: EVENT, cs: 0xe019 });
};
const int3 = (): number => rig.traps.exceptions.int3(rig.domid, 0);
const rip = (): bigint => rig.context.get(field.rip);
const rsp = (): bigint => rig.context.get(field.rsp);
const stackAt = (address: bigint): DataView => {
  const offset = rig.stackBytes.byteOffset + Number(address - rig.stack);
  return new DataView(rig.stackBytes.buffer, offset, rig.stackBytes.byteLength - Number(address - rig.stack));
};

/** What a 64-bit guest's stub does at the end of a handler whose frame has `skip` slots below rip. */
const iret = (skip = 2): number | DomainCrash => {
  const frame = stackAt(rsp());
  const rcx = frame.getBigUint64(0, true);
  const r11 = frame.getBigUint64(8, true);
  const below = rsp() + BigInt(skip * 8) - 32n;
  const to = stackAt(below);
  [rig.context.get(field.rax), r11, rcx, 0n].forEach((value, i) => {
    to.setBigUint64(i * 8, value, true);
  });
  rig.context.set(field.rsp, below);
  return rig.traps.iret(rig.domid, 0);
};

beforeEach(() => {
  rig = trapRig();
});

describe('the return to the guest (entry.S test_all_events)', () => {
  it('builds nothing where nothing waits, and nothing for a vCPU that never asked', () => {
    expect(rig.enter()).to.eql([]);
    expect(rig.hypervisor.traps.returnToGuest(dom2, 0)).to.eql([]);
  });

  it('takes a queued exception, then a machine check, then an NMI, then the event upcall', () => {
    handle(INT3, MCE, NMI);
    onEvents();
    rig.raiseEvent();
    rig.traps.exceptions.sendNmi(rig.domid, 0);
    rig.traps.exceptions.machineCheck(rig.domid, 0);
    int3();
    expect(whys()).to.eql([INT3, MCE, NMI, bounceFor.event]);
  });

  it('stacks the event’s frame last, so that its handler runs first and the exception’s next', () => {
    handle(INT3);
    onEvents();
    rig.load({ rip: 0x9000n });
    rig.raiseEvent();
    int3();
    const [first, second] = rig.enter();
    expect([first?.why, second?.why]).to.eql([INT3, bounceFor.event]);
    expect(second?.address).to.equal(((first?.address ?? 0n) & ~0xfn) - 56n);
    expect(rip()).to.equal(EVENT);
    rig.info().setUint8(0, 0);
    expect(iret()).to.equal(0);
    expect(rip()).to.equal(at(INT3));
    expect(iret()).to.equal(0);
    expect(rip()).to.equal(0x9001n);
  });

  it('builds no event frame over an exception whose entry masks events; the upcall comes after its iret', () => {
    masking(INT3);
    onEvents();
    rig.raiseEvent();
    int3();
    expect(whys()).to.eql([INT3]);
    iret();
    expect(whys()).to.eql([bounceFor.event]);
  });

  it('enters the event callback with the upcall mask set, and its iret restores the old one', () => {
    onEvents();
    rig.raiseEvent();
    expect(whys()).to.eql([bounceFor.event]);
    expect(rig.upcallMask()).to.equal(1);
    expect(stackAt(rsp()).getUint8(28), 'saved in the frame').to.equal(0);
    rig.info().setUint8(0, 0);
    iret();
    expect(rig.upcallMask()).to.equal(0);
  });

  it('tests again after an iret what has come while upcalls were masked', () => {
    onEvents();
    rig.raiseEvent();
    rig.enter();
    rig.info().setUint8(0, 0);
    expect(rig.enter(), 'masked').to.eql([]);
    rig.info().setUint8(0, 1);
    expect(rig.enter(), 'masked still').to.eql([]);
    iret();
    expect(whys()).to.eql([bounceFor.event]);
  });

  it('delivers an upcall only when evtchn_upcall_pending is set and evtchn_upcall_mask clear', () => {
    onEvents();
    for (const [pending, mask, frames] of [
      [0, 0, 0],
      [0, 1, 0],
      [1, 1, 0],
      [0xff, 0, 1],
    ] as const) {
      rig.info().setUint8(0, pending);
      rig.info().setUint8(1, mask);
      expect(rig.enter(), `pending ${pending}, mask ${mask}`).to.have.length(frames);
    }
  });

  it('leaves events alone where no callback is registered: they are the platform’s to hand over', () => {
    handle(INT3);
    rig.raiseEvent();
    int3();
    expect(whys()).to.eql([INT3]);
    expect(rig.hypervisor.doorbell.hasUpcall(rig.domid)).to.equal(true);
  });

  it('bounces an exception once (XSA-339)', () => {
    handle(INT3);
    int3();
    expect(whys()).to.eql([INT3]);
    expect(whys()).to.eql([]);
    iret();
    expect(whys()).to.eql([]);
    expect(rig.context.get(field.bounceEip)).to.equal(0n);
    expect(rig.context.number(field.bounceFlags)).to.equal(0);
  });

  it('bounces SYSENTER’s #GP once (XSA-339)', () => {
    handle(13);
    rig.traps.stackSwitch(rig.domid, 0, 0xe02b, rig.stack + 0x1000n);
    rig.load({ kernelMode: 0 });
    expect(rig.traps.exceptions.sysenter(rig.domid, 0)).to.equal(0);
    expect(whys()).to.eql([13]);
    expect(whys()).to.eql([]);
  });

  it('loses an NMI, and a machine check, that has no handler', () => {
    rig.traps.exceptions.sendNmi(rig.domid, 0);
    rig.traps.exceptions.machineCheck(rig.domid, 0);
    expect(whys()).to.eql([]);
    handle(NMI, MCE);
    expect(whys()).to.eql([]);
  });

  it('holds an NMI back until the iret of the one before it (async_exception_mask)', () => {
    handle(NMI);
    rig.traps.exceptions.sendNmi(rig.domid, 0);
    expect(whys()).to.eql([NMI]);
    rig.traps.exceptions.sendNmi(rig.domid, 0);
    expect(whys()).to.eql([]);
    iret();
    expect(whys()).to.eql([NMI]);
  });

  it('lets a machine check interrupt an NMI’s handler, and ends the one that came last first', () => {
    handle(NMI, MCE);
    rig.traps.exceptions.sendNmi(rig.domid, 0);
    expect(whys()).to.eql([NMI]);
    rig.traps.exceptions.machineCheck(rig.domid, 0);
    expect(whys()).to.eql([MCE]);
    rig.traps.exceptions.machineCheck(rig.domid, 0);
    rig.traps.exceptions.sendNmi(rig.domid, 0);
    iret();
    expect(whys(), 'the NMI’s handler still runs').to.eql([MCE]);
    iret();
    iret();
    expect(whys()).to.eql([NMI]);
  });
});

describe('a crash (create_bounce_frame, domain_crash)', () => {
  const crash = (): unknown => rig.traps.returnToGuest(rig.domid, 0);

  it('names domain, vCPU and vector, and is that domain’s alone', () => {
    rig.hypervisor.traps.setTrapTable(dom2, 0, [{ vector: 3, flags: 3, cs: 0xe033, address: 1n }]);
    int3();
    expect(crash())
      .to.be.instanceOf(DomainCrash)
      .with.property('message', 'domain 1, vCPU 0: no handler is registered, for vector 3, int3');
    expect(rig.hypervisor.traps.exceptions.int3(dom2, 0)).to.equal(0);
  });

  it('is the end: the vCPU takes nothing any more, traps no more, returns no more', () => {
    int3();
    crash();
    rig.raiseEvent();
    handle(INT3);
    expect(crash()).to.eql([]);
    expect(int3()).to.be.lessThan(0);
    expect(rig.traps.iret(rig.domid, 0)).to.be.lessThan(0);
  });
});

describe('iret (xen-x86_64.h HYPERVISOR_iret, pv/iret.c do_iret)', () => {
  /** Puts an iret_context on the stack and calls. */
  const from = (
    values: Partial<Record<'rax' | 'r11' | 'rcx' | 'flags' | 'rip' | 'cs' | 'rflags' | 'rsp' | 'ss', bigint>>,
  ) => {
    const { rax = 1n, r11 = 2n, rcx = 3n, flags = 0n, rip: to = 0x4000n, cs = 0xe030n } = values;
    const { rflags = 0x202n, rsp: sp = rig.stack + 0x800n, ss = 0xe02bn } = values;
    const address = rig.stack + 0x100n;
    [rax, r11, rcx, flags, to, cs, rflags, sp, ss].forEach((value, i) => {
      stackAt(address).setBigUint64(i * 8, value, true);
    });
    rig.context.set(field.rsp, address);
    return rig.traps.iret(rig.domid, 0);
  };

  it('restores rax, r11, rcx, cs:rip, rflags and ss:rsp', () => {
    expect(from({ rflags: 0x8d7n })).to.equal(0);
    const of = [field.rax, field.r11, field.rcx, field.rip, field.cs, field.rflags, field.rsp, field.ss];
    expect(of.map((name) => rig.context.get(name))).to.eql([
      1n,
      2n,
      3n,
      0x4000n,
      0xe033n,
      0xad7n,
      rig.stack + 0x800n,
      0xe02bn,
    ]);
  });

  it('makes the upcall mask the opposite of IF', () => {
    from({ rflags: 0x2n });
    expect(rig.upcallMask()).to.equal(1);
    from({ rflags: 0x202n });
    expect(rig.upcallMask()).to.equal(0);
  });

  it('stays in the kernel for RPL 0, 1 and 2, and goes to user mode for RPL 3', () => {
    for (const cs of [0xe030n, 0xe031n, 0xe032n]) {
      from({ cs });
      expect(rig.context.number(field.kernelMode)).to.equal(1);
      expect(rig.context.number(field.cs)).to.equal(0xe033);
    }
    from({ cs: 0xe033n });
    expect(rig.context.number(field.kernelMode)).to.equal(0);
  });

  it('forces the guest’s privilege on selectors, and IOPL and VM out of rflags', () => {
    from({ cs: 0x1230n, ss: 0x4560n, rflags: 0x202n | eflags.iopl | eflags.vm });
    expect([rig.context.number(field.cs), rig.context.number(field.ss)]).to.eql([0x1233, 0x4563]);
    expect(rig.context.get(field.rflags)).to.equal(0x202n);
  });

  it('discards r11, rcx, cs and ss with VGCF_in_syscall: rcx is rip then, r11 rflags', () => {
    from({ flags: VGCF_in_syscall, cs: 0x1233n, ss: 0x4563n, rflags: 0x246n });
    rig.enter();
    expect([rig.context.get(field.rcx), rig.context.get(field.r11)]).to.eql([0x4000n, 0x246n]);
    expect([rig.context.number(field.cs), rig.context.number(field.ss)]).to.eql([0xe033, 0xe02b]);
  });

  it('crashes the domain where the frame is not in its memory', () => {
    rig.context.set(field.rsp, rig.stack + 0x2000n - 71n);
    const crash = rig.traps.iret(rig.domid, 0);
    expect(crash).to.be.instanceOf(DomainCrash);
    expect(String(crash)).to.match(/its iret frame at 0x[0-9a-f]+ is no memory of its/);
  });

  it('restores what the bounce has saved, whatever registers, mask and mode there were', () => {
    const word = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    fc.assert(
      fc.property(
        fc.record({ rcx: word, r11: word, rax: word, flags: fc.nat(0xfff), mask: fc.boolean(), user: fc.boolean() }),
        fc.constantFrom(3, 13),
        ({ rcx, r11, rax, flags, mask, user }, vector) => {
          rig = trapRig();
          masking(vector);
          rig.traps.stackSwitch(rig.domid, 0, 0xe02b, rig.stack + 0x800n);
          const rflags = (BigInt(flags) & ~eflags.tf & ~eflags.iopl) | eflags.if;
          const sp = rig.stack + 0xc01n;
          rig.load({ rip: 0x5000n, rsp: sp, rcx, r11, rax, rflags, kernelMode: user ? 0 : 1 });
          rig.setUpcallMask(mask ? 1 : 0);
          if (vector === 3) rig.traps.exceptions.int3(rig.domid, 0);
          else rig.traps.exceptions.raise(rig.domid, 0, { vector, errorCode: 7 });
          rig.enter();
          expect(rig.upcallMask()).to.equal(1);
          expect(iret(vector === 3 ? 2 : 3)).to.equal(0);
          rig.enter();
          const of = [field.rip, field.rsp, field.rcx, field.r11, field.rax, field.rflags, field.kernelMode];
          expect(of.map((name) => rig.context.get(name))).to.eql([
            vector === 3 ? 0x5001n : 0x5000n,
            sp,
            rcx,
            r11,
            rax,
            rflags,
            user ? 0n : 1n,
          ]);
          expect(rig.upcallMask()).to.equal(mask ? 1 : 0);
          expect(rig.context.number(field.cs)).to.equal(0xe033);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('iret of a 32-bit guest (pv/iret.c compat_iret)', () => {
  const from = (words: readonly number[]): number | DomainCrash => {
    const address = rig.stack + 0x100n;
    words.forEach((value, i) => {
      stackAt(address).setUint32(i * 4, value, true);
    });
    rig.context.set(field.rsp, address);
    return rig.traps.iret(rig.domid, 0);
  };
  const esp = (): number => rig.context.number(field.rsp);

  beforeEach(() => {
    rig = trapRig('x86_32-abi');
  });

  it('restores eax, eip, cs and eflags, and stays on its stack in ring 1', () => {
    expect(from([0xaaaa, 0x1234, 0xe019, 0x2, 0xdead, 0xbeef])).to.equal(0);
    expect([rig.context.number(field.rax), rig.context.number(field.rip), rig.context.number(field.cs)]).to.eql([
      0xaaaa, 0x1234, 0xe019,
    ]);
    expect(esp()).to.equal(Number(rig.stack) + 0x110);
    expect([rig.upcallMask(), rig.context.get(field.rflags)]).to.eql([1, 0x202n]);
  });

  it('restores esp and ss as well in ring 3', () => {
    from([0, 0x1234, 0xe02b, 0x202, 0xbfff_0000, 0xe033]);
    expect([esp(), rig.context.number(field.ss), rig.upcallMask()]).to.eql([0xbfff_0000, 0xe033, 0]);
  });

  it('crashes the domain that returns to ring 0, or from outside of its memory', () => {
    expect(String(from([0, 0x1234, 0xe018, 0x202]))).to.match(/it returns to ring 0/);
    rig = trapRig('x86_32-abi');
    rig.context.setNumber(field.rsp, 0xffff_fff0);
    expect(String(rig.traps.iret(rig.domid, 0))).to.match(/is no memory of its/);
  });

  it('delivers #GP at its first instruction to who returns to VM86 mode, on the kernel’s stack', () => {
    rig.traps.setTrapTable(rig.domid, 0, [{ vector: 13, flags: 4, cs: 0xe019, address: 0x8000_0000n }]);
    rig.traps.stackSwitch(rig.domid, 0, 0xe021, rig.stack + 0x800n);
    from([9, 0x1234, 0x5678, 0x2_0202, 1, 2, 3, 4, 5, 6]);
    expect([esp(), rig.context.number(field.ss)]).to.eql([Number(rig.stack) + 0x800 - 40, 0xe021]);
    expect([rig.context.number(field.rip), rig.context.number(field.cs)]).to.eql([0x8000_0000, 0xe019]);
    const frame = stackAt(rig.stack + 0x800n - 40n);
    expect([0, 1, 2, 3, 4, 9].map((i) => frame.getUint32(i * 4, true))).to.eql([0, 0x1234, 0x5678, 0x2_0202, 1, 6]);
    expect([rig.upcallMask(), rig.context.get(field.rflags)]).to.eql([1, 0x202n]);
  });
});
