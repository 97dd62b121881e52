// The part of the WebAssembly JavaScript API that this project uses. Node's types omit it, and those of browsers add a
// page's globals. https://webassembly.github.io/threads/js-api
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array);
    static customSections(module: Module, name: string): ArrayBuffer[];
  }
  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, unknown>>);
    readonly exports: Readonly<Record<string, (...values: number[]) => number>>;
  }
  class Memory {
    /** Sizes are in pages of 64 KiB. @throws RangeError if the system does not grant the address space */
    constructor(limits: { initial: number; maximum: number; shared: boolean });
    readonly buffer: ArrayBufferLike;
    /** Grows by `pages` and returns the previous size in pages. @throws RangeError at the maximum, or without memory */
    grow(pages: number): number;
  }
  class Global {
    readonly value: number;
  }
  class RuntimeError extends Error {}
  function compile(bytes: Uint8Array): Promise<Module>;
}
