import { expect } from 'chai';
import { PAGE_SIZE } from '../../../core/abi/units.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { MachineMemory } from '../../../core/hypervisor/memory.js';
import { Memory } from '../../../core/hypervisor/web-assembly.js';
import { connect, deliver, dom1, dom2, machine } from './machine.js';

describe('the machine’s memory', () => {
  it('is one shared memory of 256 MiB for 64 domains, unless told otherwise', () => {
    const memory = MachineMemory.create();
    expect(memory.bytes.buffer).to.be.instanceOf(SharedArrayBuffer);
    expect(memory.bytes.byteLength).to.equal(256 * 2 ** 20);
    expect([memory.frames, memory.slots]).to.deep.equal([65536, 64]);
  });

  it('refuses sizes that cannot be', () => {
    for (const bytes of [0, 2 ** 20 - 65536, 2 ** 20 + 1, 2 ** 32]) {
      expect(() => MachineMemory.create({ bytes }), `${bytes}`).to.throw(RangeError, 'multiple of 64 KiB');
    }
    for (const domains of [0, 257, 1.5])
      expect(() => MachineMemory.create({ domains })).to.throw(RangeError, '1 to 256');
    expect(() => MachineMemory.create({ bytes: 2 ** 20, domains: 64 })).to.throw(RangeError, 'too few');
  });

  it('can be attached to by anyone who has it: a second hypervisor goes on where the first is', () => {
    const { hypervisor } = machine();
    const [one, two] = connect(hypervisor, dom1, dom2);
    const second = new Hypervisor(hypervisor.memory.memory);
    expect(second.eventChannels.send(dom1, one)).to.equal(0);
    expect(deliver(hypervisor, dom2)).to.deep.equal([two]);
    expect(second.ledger()).to.deep.equal(hypervisor.ledger());
  });

  it('is refused when it holds no machine, or is not shared', () => {
    expect(() => new Hypervisor(new Memory({ initial: 1, maximum: 1, shared: true }))).to.throw(
      TypeError,
      'no machine',
    );
    const plain = { buffer: new ArrayBuffer(65536) as unknown as SharedArrayBuffer };
    expect(() => new Hypervisor(plain)).to.throw(TypeError, 'shared');
  });

  it('copies as memmove and fills as memset, up to its last byte (wasm memory.copy, memory.fill)', () => {
    const { code, bytes } = MachineMemory.create({ bytes: 2 ** 20, domains: 1 });
    const end = bytes.length;
    code.fill(end - 8, 0x1ab, 8);
    expect([...bytes.subarray(end - 9)]).to.deep.equal([0, ...new Array(8).fill(0xab)]);
    bytes.set([1, 2, 3, 4], end - 8);
    code.copy(end - 7, end - 8, 4);
    expect([...bytes.subarray(end - 8)]).to.deep.equal([1, 1, 2, 3, 4, 0xab, 0xab, 0xab]);
    expect(() => code.fill(end - 7, 0, 8)).to.throw('out of bounds');
    expect(code.load(end - 8)).to.equal(0x03020101);
    expect(() => code.load(end)).to.throw('out of bounds');
  });

  it('reaches frames above 2 GiB', () => {
    const memory = MachineMemory.create({ bytes: 3 * 2 ** 30, domains: 4 });
    const frame = memory.frames - 1;
    memory.code.fill(frame * PAGE_SIZE, 7, PAGE_SIZE);
    memory.zero(frame, 1);
    memory.bytes[frame * PAGE_SIZE + 3] = 9;
    memory.code.copy((frame - 1) * PAGE_SIZE, frame * PAGE_SIZE, PAGE_SIZE);
    expect([...memory.bytes.subarray((frame - 1) * PAGE_SIZE, (frame - 1) * PAGE_SIZE + 5)]).to.deep.equal([
      0, 0, 0, 9, 0,
    ]);
  });
});
