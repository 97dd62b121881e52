// Makes the WebAssembly module of kernels run on memory that is not shared, for pages that may not share memory.
import { DeviceError } from '../errors.ts';

/** WebAssembly's number of the section of imports, and of a memory among them. https://webassembly.github.io/spec/core/binary/modules.html */
const IMPORT_SECTION = 2;
const MEMORY = 2;
/** The flag of shared memory in the limits of a memory, of the threads proposal. */
const SHARED = 2;

/**
 * The same module with the flag of shared memory cleared in its import. Atomic instructions are valid on memory of either kind.
 * @param binary a module that imports one memory and nothing else
 * @throws DeviceError for any other module
 */
export function withoutSharing(binary: Uint8Array): Uint8Array {
  const copy = new Uint8Array(binary);
  let at = 8;
  const number = () => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = copy[at++];
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return value >>> 0;
  };
  while (at < copy.length) {
    const section = copy[at++];
    const end = number() + at;
    if (section === IMPORT_SECTION) {
      const imports = number();
      // Two names, each after its length.
      for (let name = 0; name < 2; name++) {
        const length = number();
        at += length;
      }
      if (imports !== 1 || copy[at++] !== MEMORY) break;
      copy[at] &= ~SHARED;
      return copy;
    }
    at = end;
  }
  throw new DeviceError('the WebAssembly module of kernels does not import one memory; reinstall the package');
}
