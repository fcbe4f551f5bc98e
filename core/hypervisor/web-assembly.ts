/** A shared `WebAssembly.Memory`, which can be handed to another thread. */
export interface SharedMemory {
  readonly buffer: SharedArrayBuffer;
}

/** The part of the runtime's WebAssembly that is used here: TypeScript's library has it among the DOM's types only. */
declare const WebAssembly: {
  readonly Memory: new (size: { initial: number; maximum: number; shared: true }) => SharedMemory;
  readonly Module: new (code: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (
    module: object,
    imports: Readonly<Record<string, Readonly<Record<string, SharedMemory>>>>,
  ) => { readonly exports: Readonly<Record<string, unknown>> };
};

export const { Memory, Module, Instance } = WebAssembly;
