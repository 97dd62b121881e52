// Checks that a file is a complete shared library for this machine. The system's loader maps what the header promises and dies of
// SIGBUS if the file is shorter, so the file is checked first.

/** Values of ELF's e_machine. */
const MACHINES: Partial<Record<NodeJS.Architecture, number>> = { x64: 62, arm64: 183, riscv64: 243, loong64: 258 };

/** Why these bytes are not a shared library, or undefined. Only 64-bit ELF is checked; other systems' loaders check for themselves. */
export function libraryFault(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0) return 'it is empty';
  const machine = MACHINES[process.arch];
  if (process.platform !== 'linux' || machine === undefined) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 64 || view.getUint32(0) !== 0x7f454c46) return 'it does not begin as an ELF file';
  const isLibrary = view.getUint16(16, true) === 3;
  if (view.getUint8(4) !== 2 || view.getUint8(5) !== 1 || view.getUint16(18, true) !== machine)
    return `it is for another architecture than ${process.arch}`;
  if (!isLibrary) return 'it is not a shared library';
  const offset = (at: number) => Number(view.getBigUint64(at, true));
  const table = (at: number, count: number, size: number) =>
    offset(at) + view.getUint16(count, true) * view.getUint16(size, true);
  const ends = [table(32, 56, 54), table(40, 60, 58)];
  if (ends[0] <= bytes.length)
    for (let entry = offset(32); entry < ends[0]; entry += view.getUint16(54, true))
      ends.push(offset(entry + 8) + offset(entry + 32));
  return Math.max(...ends) > bytes.length ? 'it is cut short' : undefined;
}
