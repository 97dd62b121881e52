// What this project uses of the WebAssembly interface for JavaScript. The types of Node leave it out, and those of
// browsers bring a page's globals with them. https://webassembly.github.io/threads/js-api
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
    /** In pages of 64 KiB. @throws RangeError when the system does not grant the address space */
    constructor(limits: { initial: number; maximum: number; shared: true });
    readonly buffer: SharedArrayBuffer;
    /** By pages; returns how many there were. @throws RangeError at the maximum, or without memory */
    grow(pages: number): number;
  }
  class Global {
    readonly value: number;
  }
  class RuntimeError extends Error {}
  function compile(bytes: Uint8Array): Promise<Module>;
}
