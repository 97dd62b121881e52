// A kernel file and what it exports, as data: the op's launch code declares it, a device compiles and binds it.

/** Kinds of kernel arguments: a device address, int32, float, double; "-> f64" marks a kernel that returns a double. */
export type Signature = string;

export interface KernelModule<Names extends string = string> {
  /** File name without its ending: how messages and the cache call it. */
  readonly name: string;
  readonly url: URL;
  /** Kernel name -> argument kinds, e.g. `'ptr ptr i32 f32'`. */
  readonly kernels: Readonly<Record<Names, Signature>>;
  /** Compiler flags beyond the device's own. */
  readonly flags: readonly string[];
}

export type Launchers<Names extends string = string> = Readonly<Record<Names, (...values: number[]) => number>>;

/** Every module declared so far: what `prepare` compiles. */
const declared = new Map<string, KernelModule>();

/**
 * Declares the kernels of one source file.
 * @param base `import.meta.url` of the declaring file
 * @param path the source, relative to it
 */
export function kernelModule<Names extends string>(
  base: string,
  path: string,
  kernels: Readonly<Record<Names, Signature>>,
  options: { flags?: readonly string[] } = {},
): KernelModule<Names> {
  const url = new URL(path, base);
  const name = url.pathname.replace(/^.*\/kernels\//, '').replace(/\.\w+$/, '');
  const module = { name, url, kernels, flags: options.flags ?? [] };
  declared.set(url.href, module);
  return module;
}

export function declaredModules(): KernelModule[] {
  return [...declared.values()];
}

const KERNEL_KINDS = ['ptr', 'i32', 'f32', 'f64'];

/** Splits a signature into its argument kinds and its return kind; throws on a word that is not among `kinds`. */
export function parseSignature(
  signature: Signature,
  kinds: readonly string[] = KERNEL_KINDS,
  returnKinds: readonly string[] = ['f64'],
): { parameters: string[]; returns: string } {
  const [left, right] = signature.split('->');
  const parameters = left.trim().split(/\s+/).filter(Boolean);
  for (const kind of parameters) if (!kinds.includes(kind)) throw new Error(`unknown argument kind "${kind}"`);
  const returns = right?.trim() ?? 'void';
  if (right !== undefined && !returnKinds.includes(returns)) throw new Error(`unknown return kind "${returns}"`);
  return { parameters, returns };
}
