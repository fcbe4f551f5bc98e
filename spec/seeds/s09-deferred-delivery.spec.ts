import { expect } from 'chai';
import { EventChannels, GrantTable, Traps, Vcpus } from 'splitring';
import { connect, onEachPlatform } from './on-each-platform.js';

onEachPlatform('S9, deferred delivery', (scene) => {
  it('never calls back into the guest inside the call that causes it: an event', async () => {
    const { near, far } = await connect(scene());
    const order: string[] = [];
    // A handler that rings back at once would recurse for ever, if delivery were a call.
    far.subscribe(() => {
      order.push('far begins');
      far.notify();
      order.push('far ends');
    });
    near.subscribe(() => {
      order.push('near begins');
      if (order.length < 8) near.notify();
      order.push('near ends');
    });
    near.notify();
    order.push('notified');
    await scene().machine.idle();
    expect(order).to.deep.equal([
      'notified',
      ...['far begins', 'far ends', 'near begins', 'near ends'],
      ...['far begins', 'far ends', 'near begins', 'near ends'],
    ]);
  });

  it('nor a channel’s own event, raised in its handler', async () => {
    const channel = scene().front.get(EventChannels).bindIpi(0);
    const order: string[] = [];
    channel.subscribe(() => {
      order.push('begins');
      if (order.length < 3) channel.notify();
      order.push('ends');
    });
    channel.notify();
    await scene().machine.idle();
    expect(order).to.deep.equal(['begins', 'ends', 'begins', 'ends']);
  });

  it('nor an exception', async () => {
    const { front } = scene();
    const traps = front.get(Traps);
    const stack = front.get(GrantTable).alloc();
    traps.registers.rsp = traps.addressOf(stack, stack.bytes.length);
    const order: string[] = [];
    traps.code(0x1000n, () => order.push('handler'));
    traps.setTrapTable([{ vector: 3, address: 0x1000n }]);
    const returned = traps.int3();
    order.push('int3 has returned');
    await returned;
    expect(order).to.deep.equal(['int3 has returned', 'handler']);
  });

  it('leaves on the guest’s stack what a real exception would: a frame, byte for byte', async () => {
    const { front } = scene();
    const traps = front.get(Traps);
    const stack = front.get(GrantTable).alloc();
    const top = traps.addressOf(stack, stack.bytes.length);
    Object.assign(traps.registers, { rip: 0x1234_5678n, rsp: top - 8n, rcx: 0xccn, r11: 0x11n });
    const { cs, ss, rflags } = traps.registers;
    let found: readonly bigint[] = [];
    traps.code(0x1000n, (frame) => {
      const at = Number(frame.address - traps.addressOf(stack));
      const bytes = new DataView(stack.bytes.buffer, stack.bytes.byteOffset, stack.bytes.length);
      found = Array.from({ length: 7 }, (_, i) => bytes.getBigUint64(at + 8 * i, true));
    });
    traps.setTrapTable([{ vector: 3, address: 0x1000n }]);
    await traps.int3();
    // rcx, r11, rip, cs with the saved upcall mask in its upper half, rflags with IF, rsp, ss; the stack is aligned to 16 bytes.
    const [rcx, r11, rip, csAndMask = 0n, flags = 0n, rsp, stackSegment] = found;
    expect([rcx, r11, rip, rsp]).to.deep.equal([0xccn, 0x11n, 0x1234_5679n, top - 8n]);
    expect(csAndMask & 0xffffn).to.equal(BigInt(cs & ~3));
    expect((csAndMask >> 32n) & 0xffn, 'the saved upcall mask').to.equal(0n);
    expect(stackSegment).to.equal(BigInt(ss));
    expect(flags | 0x200n).to.equal(rflags | 0x200n);
    expect(flags & 0x200n, 'IF says that upcalls were not masked').to.equal(0x200n);
  });

  it('which says whether upcalls were masked, and masks them again on the return', async () => {
    const { front } = scene();
    const [traps, vcpu] = [front.get(Traps), front.get(Vcpus).current];
    const stack = front.get(GrantTable).alloc();
    traps.registers.rsp = traps.addressOf(stack, stack.bytes.length);
    const saved: (readonly [mask: number, flag: bigint])[] = [];
    traps.code(0x1000n, (frame) => saved.push([frame.savedUpcallMask, frame.rflags & 0x200n]));
    traps.setTrapTable([{ vector: 3, address: 0x1000n }]);
    for (const masked of [true, false]) {
      vcpu.upcallMask = masked;
      await traps.int3();
      expect(vcpu.upcallMask).to.equal(masked);
    }
    expect(saved).to.deep.equal([
      [1, 0n],
      [0, 0x200n],
    ]);
  });
});
