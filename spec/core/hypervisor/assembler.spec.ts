import { expect } from 'chai';
import { type Bytes, leb128, moduleOf, wasm } from '../../../core/hypervisor/assembler.js';
import { Instance, Memory, Module } from '../../../core/hypervisor/web-assembly.js';

const BYTES = 17 * 65536;

/** A function of two numbers, run. */
const run = (body: readonly Bytes[], ...args: readonly number[]): unknown => {
  const memory = new Memory({ initial: BYTES / 65536, maximum: BYTES / 65536, shared: true });
  new Int32Array(memory.buffer).set([11, 22, 33]);
  const code = moduleOf(BYTES, [
    { name: 'other', params: 0, results: 0, locals: 0, body: [] },
    { name: 'run', params: 2, results: 1, locals: 1, body },
  ]);
  const { run: exported } = new Instance(new Module(code), { xen: { memory } }).exports;
  return (exported as (...numbers: readonly number[]) => unknown)(...args);
};

describe('the assembler of our Xen’s WebAssembly', () => {
  const { localGet, localSet, i32Const, i32Load, i32AtomicLoad, block, brIf, ifElse, add, drop } = wasm;

  it('writes unsigned numbers in LEB128 of as many bytes as they need', () => {
    expect([0, 127, 128, 16383, 16384, 2 ** 31].map((value) => leb128(value).length)).to.deep.equal([1, 1, 2, 2, 3, 5]);
    expect(leb128(624485)).to.deep.equal([0xe5, 0x8e, 0x26]);
  });

  it('writes every signed constant so that it comes back', () => {
    for (const power of [0, 6, 7, 8, 13, 14, 20, 21, 27, 28, 30, 31]) {
      for (const near of [-1, 0, 1]) {
        for (const sign of [-1, 1]) {
          const value = (sign * 2 ** power + near) | 0;
          expect(run([i32Const(value)]), `${value}`).to.equal(value);
        }
      }
    }
  });

  it('makes modules of functions with parameters, results and locals, over a shared memory of any size', () => {
    expect(run([localGet(0), localGet(1), add, localSet(2), localGet(2)], 40, 2)).to.equal(42);
    expect(run([localGet(0), i32Load(), localGet(0), i32AtomicLoad(8), add], 0, 0)).to.equal(44);
    expect(run([localGet(0), i32Load(4)], 4, 0)).to.equal(33);
  });

  it('leaves a block by br_if, and chooses by if', () => {
    const body = [i32Const(1), localSet(2), block(localGet(0), brIf(0), i32Const(2), localSet(2)), localGet(2)];
    expect([run(body, 0, 0), run(body, 1, 0)]).to.deep.equal([2, 1]);
    const choice = [
      localGet(0),
      ifElse([i32Const(5), localSet(2)], [i32Const(6), localSet(2), i32Const(0), drop]),
      localGet(2),
    ];
    expect([run(choice, 1, 0), run(choice, 0, 0)]).to.deep.equal([5, 6]);
  });
});
