// The part of the WebAssembly JavaScript interface that this project uses. Node's types do not have it, and the types for
// browsers also declare the globals of a page. Source: https://webassembly.github.io/threads/js-api
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
    /** @param limits in pages of 64 KiB @throws RangeError if the system does not grant the address space */
    constructor(limits: { initial: number; maximum: number; shared: true });
    readonly buffer: SharedArrayBuffer;
    /** Adds pages and returns their number before. @throws RangeError at the maximum, or if there is no memory left */
    grow(pages: number): number;
  }
  class RuntimeError extends Error {}
  function compile(bytes: Uint8Array): Promise<Module>;
}
