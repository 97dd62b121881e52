// Limits for unpacking untrusted files. A file of a megabyte can be made to unpack to a gigabyte, but genuine data
// rarely compress to less than a tenth. So 64 MiB are always allowed, and beyond that 32 times the packed file unless
// the caller allows more.
const ALWAYS_BYTES = 2 ** 26;
const MOST_RATIO = 32;

/** Default limit of the unpacked size of a file of `packedBytes` bytes. */
export function allowedBytes(packedBytes: number): number {
  return Math.max(ALWAYS_BYTES, MOST_RATIO * packedBytes);
}

/** Returns whether that many bytes are always allowed, so that no header need be checked first. */
export function alwaysAllowed(bytes: number): boolean {
  return bytes <= ALWAYS_BYTES;
}

/** That limit in words, for error messages. */
export const unpackLimit = `${MOST_RATIO} times the file or 64 MiB`;
