import { expect } from 'chai';
import { type Domain, GrantTable, type TrapFrame, Traps } from 'splitring';
import { onEachPlatform, refusal } from './on-each-platform.js';

const INT3 = 3;
/** The end of a stack of one page, which the guest is given. */
const withStack = (domain: Domain): Traps => {
  const traps = domain.get(Traps);
  const stack = domain.get(GrantTable).alloc();
  traps.registers.rsp = traps.addressOf(stack, stack.bytes.length);
  return traps;
};

onEachPlatform('S8, trap table', (scene) => {
  it('brings int3 to the handler that the guest has registered for vector 3: a debugger in the guest', async () => {
    const traps = withStack(scene().front);
    const breakpoints: bigint[] = [];
    traps.code(0xffff_8880_0000_1000n, (frame) => breakpoints.push(frame.rip));
    traps.setTrapTable([{ vector: INT3, address: 0xffff_8880_0000_1000n, dpl: 3 }]);
    traps.registers.rip = 0x40_0000n;
    await traps.int3();
    // A trap is reported behind its instruction, of one byte.
    expect(breakpoints).to.deep.equal([0x40_0001n]);
  });

  it('lets the handler look at what was interrupted, and change it', async () => {
    const traps = withStack(scene().front);
    let seen: Pick<TrapFrame, 'rsp' | 'errorCode'> | undefined;
    traps.code(0x1000n, (frame) => {
      seen = { rsp: frame.rsp, errorCode: frame.errorCode };
      frame.rip = 0x50_0000n;
    });
    traps.setTrapTable([{ vector: INT3, address: 0x1000n }]);
    const { rsp } = traps.registers;
    const after = await traps.int3();
    expect(seen).to.deep.equal({ rsp, errorCode: undefined });
    expect(after.rip).to.equal(0x50_0000n);
    expect(after.rsp).to.equal(rsp);
  });

  it('is Xen’s, and changed by a call alone: entries are merged into it, and stay', async () => {
    const traps = withStack(scene().front);
    const called: string[] = [];
    traps.code(0x1000n, () => called.push('debugger'));
    traps.code(0x2000n, () => called.push('overflow'));
    traps.setTrapTable([{ vector: INT3, address: 0x1000n }]);
    traps.setTrapTable([{ vector: 4, address: 0x2000n }]);
    await traps.int3();
    await traps.raise({ vector: 4 });
    expect(called).to.deep.equal(['debugger', 'overflow']);
  });

  it('refuses an address that no processor could have', () => {
    const traps = withStack(scene().front);
    expect(refusal(() => traps.setTrapTable([{ vector: INT3, address: 0x8000_0000_0000_0000n }]))).to.equal('EINVAL');
  });

  it('tells a page fault’s address and error code to its handler, virtually', async () => {
    const traps = withStack(scene().front);
    let told: readonly unknown[] = [];
    traps.code(0x1000n, (frame) => {
      told = [frame.errorCode, traps.registers.cr2];
    });
    traps.setTrapTable([{ vector: 14, address: 0x1000n }]);
    await traps.raise({ vector: 14, errorCode: 2, cr2: 0xdead_b000n });
    expect(told).to.deep.equal([2, 0xdead_b000n]);
  });

  it('crashes the guest that has no handler, and no other', async () => {
    const { machine, front, back } = scene();
    const crashed = machine.shutdownOf(front.domid);
    withStack(front)
      .int3()
      .catch(() => {}); // nothing of a domain that has crashed goes on
    expect(await crashed).to.include({ domid: front.domid, reason: 'crash' });

    const traps = withStack(back);
    let called = 0;
    traps.code(0x1000n, () => called++);
    traps.setTrapTable([{ vector: INT3, address: 0x1000n }]);
    await traps.int3();
    expect(called).to.equal(1);
  });
});
