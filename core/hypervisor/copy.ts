import { moduleOf, wasm } from './assembler.js';
import { Instance, Module, type SharedMemory } from './web-assembly.js';

/** What the module exports. Addresses and lengths are bytes of the memory; nothing is checked but the memory's end. */
export interface CopyCode {
  /** memmove. */
  copy(to: number, from: number, length: number): void;
  /** memset. */
  fill(to: number, byte: number, length: number): void;
  /** Atomics.load of the aligned word at a byte: an instruction here, and a call of some ten nanoseconds there. */
  load(at: number): number;
}

const { localGet, i32AtomicLoad, memoryCopy, memoryFill } = wasm;
const three = [localGet(0), localGet(1), localGet(2)];

/** The code of {@link copyCode} for memories of one size, compiled; it can be handed to another thread. */
export const copyModule = (bytes: number): object =>
  new Module(
    moduleOf(bytes, [
      { name: 'copy', params: 3, results: 0, locals: 0, body: [...three, memoryCopy] },
      { name: 'fill', params: 3, results: 0, locals: 0, body: [...three, memoryFill] },
      { name: 'load', params: 1, results: 1, locals: 0, body: [localGet(0), i32AtomicLoad()] },
    ]),
  );

/** `memory.copy`, `memory.fill` and atomic loads over one shared memory: memcpy's speed, and no allocation. */
export const copyCode = (module: object, memory: SharedMemory): CopyCode => {
  const { copy, fill, load } = new Instance(module, { xen: { memory } }).exports;
  return { copy, fill, load } as unknown as CopyCode;
};
