// Signatures for several kernels at once.

/** One signature for all names. */
export function all<Names extends string>(names: readonly Names[], signature: string): Record<Names, string> {
  return Object.fromEntries(names.map((name) => [name, signature])) as Record<Names, string>;
}
