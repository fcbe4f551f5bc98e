import { expect } from 'chai';
import fc from 'fast-check';
import { errno } from '../../../core/abi/errno.js';
import { type Domid, PAGE_SIZE } from '../../../core/abi/units.js';
import { field } from '../../../core/hypervisor/vcpu-context.js';
import { isCanonical, type TrapInfo } from '../../../core/hypervisor/virtual-idt.js';
import { addDomain, dom0, dom1, machine, nobody } from './machine.js';
import { type TrapRig, trapRig } from './trap-rig.js';

const NON_CANONICAL = 0x0000_8000_0000_0000n;
const empty: TrapInfo = { vector: 0, flags: 0, cs: 0, address: 0n };

describe('set_trap_table (arch-x86/xen.h, pv/traps.c do_set_trap_table)', () => {
  let rig: TrapRig;
  const set = (traps: Parameters<TrapRig['traps']['setTrapTable']>[2]) => rig.traps.setTrapTable(rig.domid, 0, traps);
  const entry = (vector: number) => rig.traps.entry(rig.domid, 0, vector);
  /** Writes entries of struct trap_info into a guest's page, and returns the address of the first. */
  const written = (entries: readonly TrapInfo[], offset = 0): bigint => {
    entries.forEach(({ vector, flags, cs, address }, i) => {
      const at = offset + i * (rig.abi32 ? 8 : 16);
      rig.pageView.setUint8(at, vector);
      rig.pageView.setUint8(at + 1, flags);
      rig.pageView.setUint16(at + 2, cs, true);
      if (rig.abi32) rig.pageView.setUint32(at + 4, Number(address), true);
      else rig.pageView.setBigUint64(at + 8, address, true);
    });
    return rig.page + BigInt(offset);
  };
  const trap = (vector: number, address: bigint): TrapInfo => ({ vector, flags: 3, cs: 0xe033, address });

  beforeEach(() => {
    rig = trapRig();
  });

  for (const abi of ['x86_64-abi', 'x86_32-abi'] as const) {
    it(`reads an array in the guest's memory, up to the first entry with address 0: ${abi}`, () => {
      rig = trapRig(abi);
      expect(set(written([trap(3, 0x10n), trap(255, 0x20n), trap(5, 0n), trap(6, 0x30n)]))).to.equal(0);
      expect(entry(3)).to.eql(trap(3, 0x10n));
      expect(entry(255)).to.eql(trap(255, 0x20n));
      expect([entry(5), entry(6)]).to.eql([empty, empty]);
    });
  }

  it('merges into the table: what is not named stays', () => {
    set([trap(3, 0x10n), trap(4, 0x20n)]);
    set([trap(4, 0x21n)]);
    expect([entry(3).address, entry(4).address]).to.eql([0x10n, 0x21n]);
    set([]);
    expect(entry(3).address).to.equal(0x10n);
  });

  it('is emptied by a NULL pointer, and only by that', () => {
    set([trap(0, 0x1n), trap(3, 0x10n), trap(255, 0x20n)]);
    expect(set(written([trap(3, 0n)]))).to.equal(0);
    expect(entry(3).address).to.equal(0x10n);
    expect(set(undefined)).to.equal(0);
    expect([0, 3, 255].map(entry)).to.eql([empty, empty, empty]);
    set([trap(3, 0x10n)]);
    expect(set(0n)).to.equal(0);
    expect(entry(3)).to.eql(empty);
  });

  it('answers EINVAL at an address that is not canonical, with the entries before it set', () => {
    const traps = [trap(3, 0x10n), trap(4, NON_CANONICAL), trap(5, 0x30n)];
    expect(set(traps)).to.equal(-errno.EINVAL);
    expect([3, 4, 5].map((vector) => entry(vector).address)).to.eql([0x10n, 0n, 0n]);
    set(undefined);
    expect(set(written(traps))).to.equal(-errno.EINVAL);
    expect([3, 4, 5].map((vector) => entry(vector).address)).to.eql([0x10n, 0n, 0n]);
  });

  it('answers EFAULT at an entry that is not in the guest’s memory, with the entries before it set', () => {
    const last = PAGE_SIZE - 16;
    expect(set(written([trap(3, 0x10n)], last))).to.equal(-errno.EFAULT);
    expect(entry(3).address).to.equal(0x10n);
    // An entry of which half is beyond the last page.
    expect(set(rig.page + BigInt(PAGE_SIZE - 8))).to.equal(-errno.EFAULT);
    expect(set(1n)).to.equal(-errno.EFAULT);
    expect(set(0xffff_ffff_ffff_fff0n)).to.equal(-errno.EFAULT);
  });

  it('takes another domain’s memory for none', () => {
    const theirs = rig.hypervisor.pages.populate(dom0, dom0, 1);
    expect(set(BigInt(theirs * PAGE_SIZE))).to.equal(-errno.EFAULT);
  });

  it('can be preempted after any entry, and goes on where it was', () => {
    const traps = written([1, 2, 3, 4, 5].map((vector) => trap(vector, BigInt(vector) << 4n)).concat(trap(0, 0n)));
    const steps: number[] = [];
    for (let from = 0; ; ) {
      from = rig.traps.setTrapTable(rig.domid, 0, traps, { from, limit: 2 });
      steps.push(from);
      if (from <= 0) break;
    }
    expect(steps).to.eql([2, 4, 0]);
    expect([1, 2, 3, 4, 5].map((vector) => entry(vector).address)).to.eql([0x10n, 0x20n, 0x30n, 0x40n, 0x50n]);
    expect(rig.traps.setTrapTable(rig.domid, 0, [trap(9, 0x90n), trap(10, NON_CANONICAL)], { limit: 1 })).to.equal(1);
    expect(entry(9).address).to.equal(0x90n);
  });

  it('gives a selector the privilege of the guest’s kernel: RPL 3, or RPL 1 in a 32-bit guest (fixup_guest_code_selector)', () => {
    set([{ vector: 3, flags: 0, cs: 0xe030, address: 1n }]);
    expect(entry(3).cs).to.equal(0xe033);
    rig = trapRig('x86_32-abi');
    set([
      { vector: 3, flags: 0, cs: 0xe018, address: 1n },
      { vector: 4, flags: 0, cs: 0xe02b, address: 1n },
    ]);
    expect([entry(3).cs, entry(4).cs]).to.eql([0xe019, 0xe02b]);
  });

  it('is of the vCPU that makes the call', () => {
    rig = trapRig('x86_64-abi', 2);
    rig.traps.setTrapTable(rig.domid, 1, [trap(3, 0x10n)]);
    expect([entry(3).address, rig.traps.entry(rig.domid, 1, 3).address]).to.eql([0n, 0x10n]);
    expect(rig.traps.setTrapTable(rig.domid, 2, [])).to.equal(-errno.ENOENT);
  });

  it('answers ESRCH for no domain, and for one that is gone', () => {
    expect(rig.traps.setTrapTable(nobody, 0, [])).to.equal(-errno.ESRCH);
    rig.hypervisor.destroyDomain(dom0, dom1);
    expect(set([])).to.equal(-errno.ESRCH);
  });

  it('answers ENOMEM, and changes nothing, when the machine has no two pages for the vCPU’s table', () => {
    const { hypervisor } = machine();
    while (hypervisor.pages.populate(dom0, dom0, 1) > 0);
    expect(hypervisor.traps.setTrapTable(dom1, 0, [trap(3, 0x10n)])).to.equal(-errno.ENOMEM);
    expect(hypervisor.traps.entry(dom1, 0, 3)).to.eql(empty);
  });

  it('refuses entries that do not fit struct trap_info, naming them', () => {
    const base = trap(3, 0x10n);
    for (const wrong of [{ vector: 256 }, { vector: -1 }, { flags: 256 }, { cs: 65536 }, { address: -1n }]) {
      expect(() => set([{ ...base, ...wrong }])).to.throw(RangeError, 'trap 0 does not fit struct trap_info');
    }
    rig = trapRig('x86_32-abi');
    expect(() => set([trap(3, 1n << 32n)])).to.throw(RangeError);
  });

  it('does what a plain model does, for any tables one after another', () => {
    const address = fc.oneof(
      fc.constantFrom(0n, 0x10n, NON_CANONICAL, 0x7fff_ffff_ffffn, 0xffff_8000_0000_0000n, 0xffff_ffff_ffff_ffffn),
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    );
    const info = fc.record({
      vector: fc.nat(255),
      flags: fc.nat(255),
      cs: fc.nat(0xffff).map((cs) => cs | 3),
      address,
    });
    const table = fc.oneof(fc.constant(undefined), fc.array(info, { maxLength: 20 }));
    fc.assert(
      fc.property(fc.array(fc.record({ table, inMemory: fc.boolean() }), { maxLength: 5 }), (tables) => {
        rig = trapRig();
        const model = new Map<number, TrapInfo>();
        for (const { table: traps, inMemory } of tables) {
          let expected = 0;
          if (traps === undefined) model.clear();
          for (const of of traps ?? []) {
            if (of.address === 0n) break;
            const high = of.address >> 47n;
            if (high !== 0n && high !== 0x1ffffn) {
              expected = -errno.EINVAL;
              break;
            }
            model.set(of.vector, of);
          }
          const given = traps === undefined ? undefined : inMemory ? written([...traps, trap(0, 0n)]) : traps;
          expect(set(given)).to.equal(expected);
        }
        for (let vector = 0; vector < 256; vector++) expect(entry(vector)).to.eql(model.get(vector) ?? empty);
      }),
      { numRuns: 60 },
    );
  });

  it('knows the canonical addresses: bits 47 … 63 all alike', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (address) => {
        const high = address >> 47n;
        expect(isCanonical(address)).to.equal(high === 0n || high === 0x1ffffn);
      }),
    );
  });
});

describe('stack_switch (arch-x86/xen.h HYPERVISOR_stack_switch)', () => {
  it('always answers 0, gives the selector the kernel’s privilege, and keeps 64 or 32 bits of the pointer', () => {
    const rig = trapRig();
    expect(rig.traps.stackSwitch(rig.domid, 0, 0, 0xffff_8880_0000_1234n)).to.equal(0);
    expect(rig.context.number(field.kernelSs)).to.equal(3);
    expect(rig.context.get(field.kernelSp)).to.equal(0xffff_8880_0000_1234n);
    const compat = trapRig('x86_32-abi');
    expect(compat.traps.stackSwitch(compat.domid, 0, 0xe020, 0x1_8000_0000n)).to.equal(0);
    expect(compat.context.number(field.kernelSs)).to.equal(0xe021);
    expect(compat.context.get(field.kernelSp)).to.equal(0x8000_0000n);
  });
});

describe('the frames of a vCPU’s table', () => {
  it('are taken at its first call, two, and go with the domain', () => {
    const { hypervisor } = machine();
    const free = hypervisor.frames.freeCount;
    addDomain(hypervisor, 9 as Domid, { vcpus: 2 });
    const before = hypervisor.frames.freeCount;
    hypervisor.traps.setTrapTable(9 as Domid, 1, []);
    hypervisor.traps.setTrapTable(9 as Domid, 1, []);
    expect(hypervisor.frames.freeCount).to.equal(before - 2);
    expect(hypervisor.ledger(9 as Domid).pages).to.equal(0);
    hypervisor.destroyDomain(dom0, 9 as Domid);
    expect(hypervisor.frames.freeCount).to.equal(free);
  });

  it('are none of the guest’s memory, so that it can neither read nor write them', () => {
    const rig = trapRig();
    rig.traps.setTrapTable(rig.domid, 0, [{ vector: 3, flags: 0, cs: 0xe033, address: 0x10n }]);
    const { memory } = rig.hypervisor;
    for (let frame = memory.firstFrame; frame < memory.frames; frame++) {
      const mine = rig.traps.guestMemory.at(rig.domid, BigInt(frame * PAGE_SIZE), PAGE_SIZE) >= 0;
      expect(mine).to.equal(BigInt(frame * PAGE_SIZE) === rig.stack || BigInt(frame * PAGE_SIZE) === rig.page);
    }
  });

  it('are still those of a live domain after another’s death was repaired', () => {
    const rig = trapRig();
    rig.traps.setTrapTable(rig.domid, 0, [{ vector: 3, flags: 0, cs: 0xe033, address: 0x10n }]);
    expect(rig.hypervisor.recover(dom0, 2 as Domid)).to.eql([]);
    expect(rig.hypervisor.frames.take(dom0, 3, 1)).to.be.greaterThan(0);
    expect(rig.traps.entry(rig.domid, 0, 3).address).to.equal(0x10n);
  });
});
