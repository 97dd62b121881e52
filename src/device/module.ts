// A kernel file and its exported kernels, described as data. Launch code declares it; a device compiles and binds it.
import { ValueError } from '../errors.ts';
import type { Precision } from './device.ts';
import { sourceUrl, textUrl } from './source.ts';

/**
 * The kinds of a kernel's arguments: `ptr` (a device address), `i32`, `f32` and `f64`. CUDA kernels also take `map` (a tensor map, by
 * its address in host memory), `maps:N` (N adjacent maps) and `words:N` (N 32-bit words by value; the launcher takes N arguments).
 * "-> f64" marks a kernel that returns a double, "-> count" one whose result depends on numbers and tables alone, such as a count of
 * bytes or of parts.
 */
export type Signature = string;

export interface KernelModule<Names extends string = string> {
  readonly language: 'c';
  /** File name without its ending, and the variant of the build. Messages and the cache use it. */
  readonly name: string;
  readonly url: URL;
  /** Kernel name -> argument kinds, e.g. `'ptr ptr i32 f32'`. */
  readonly kernels: Readonly<Record<Names, Signature>>;
  /** Compiler flags beyond the device's own. */
  readonly flags: readonly string[];
}

export type Launchers<Names extends string = string> = Readonly<Record<Names, (...values: number[]) => number>>;

/** A CUDA launch: blocks, threads per block, and bytes of dynamic shared memory per block. Missing extents are 1. */
export interface LaunchGrid {
  readonly grid: readonly [x: number, y?: number, z?: number];
  readonly block: readonly [x: number, y?: number, z?: number];
  readonly shared?: number;
}

export interface CudaModule<Names extends string = string> extends Omit<KernelModule<Names>, 'language'> {
  readonly language: 'cuda';
  /** The device precisions that it is built for ahead of its first use; default: all. */
  readonly precisions?: readonly Precision[];
  /** The only target whose instructions it uses, such as sm_90a; default: any. */
  readonly target?: string;
  /**
   * The portable build that serves in place of this one, which is faster, on a card where both do not agree: see fast_builds.ts.
   * Default: this build is portable.
   */
  readonly twin?: CudaModule;
}

/** CUDA kernels are enqueued over a grid and return nothing. */
export type CudaLaunchers<Names extends string = string> = Readonly<
  Record<Names, (grid: LaunchGrid, ...values: number[]) => void>
>;

export type AnyModule = KernelModule | CudaModule;

/** Every module declared so far. `prepare` compiles them. */
const declared = new Map<string, AnyModule>();

/**
 * Declares the kernels of one C file, for the CPU.
 * @param path the source below src/, such as `kernels/conv/conv.c`, or a file URL
 */
/* @__NO_SIDE_EFFECTS__ */
export function kernelModule<Names extends string>(
  path: string,
  kernels: Readonly<Record<Names, Signature>>,
  { flags = [] }: { flags?: readonly string[] } = {},
): KernelModule<Names> {
  return declare({ language: 'c', ...sourceOf(path), kernels, flags });
}

/** What distinguishes one build of a .cu file from another. What is built for one target alone has a twin. */
type CudaBuild = Pick<CudaModule, 'precisions'> & {
  /** Compiler flags for NVRTC. */
  flags?: readonly string[];
  /** Name of the build, if the file has several. */
  variant?: string;
} & ({ target?: undefined; twin?: CudaModule } | { target: string; twin: CudaModule });

/** Declares the kernels of one .cu file. */
/* @__NO_SIDE_EFFECTS__ */
export function cudaModule<Names extends string>(
  path: string,
  kernels: Readonly<Record<Names, Signature>>,
  { flags = [], variant, precisions, target, twin }: CudaBuild = {},
): CudaModule<Names> {
  const { name, url } = sourceOf(path);
  const build = { url, kernels, flags, precisions, target, twin };
  return declare({ language: 'cuda', name: variant ? `${name}.${variant}` : name, ...build });
}

const textModules = new Map<string, KernelModule | CudaModule>();

/** Declares the kernels of a text, for the host devices or for CUDA. Devices compile it at its first use. */
export function textModule(
  language: 'c',
  name: string,
  text: string,
  kernels: Readonly<Record<string, Signature>>,
): KernelModule;
export function textModule(
  language: 'cuda',
  name: string,
  text: string,
  kernels: Readonly<Record<string, Signature>>,
): CudaModule;
export function textModule(
  language: 'c' | 'cuda',
  name: string,
  text: string,
  kernels: Readonly<Record<string, Signature>>,
): KernelModule | CudaModule {
  // The same text is loaded once, however often it is given.
  const key = JSON.stringify([language, name, text, kernels]);
  const known = textModules.get(key);
  if (known) return known;
  const url = textUrl(`${name}.${language === 'c' ? 'c' : 'cu'}`, text);
  const module = { language, name, url, kernels, flags: [] } as KernelModule | CudaModule;
  textModules.set(key, module);
  return module;
}

function sourceOf(path: string): { name: string; url: URL } {
  const url = sourceUrl(path);
  return { name: url.pathname.replace(/^.*\/kernels\/|^.*\/(?!.*\/kernels\/)/, '').replace(/\.\w+$/, ''), url };
}

function declare<Module extends AnyModule>(module: Module): Module {
  declared.set(`${module.language} ${module.name}`, module);
  return module;
}

/** All declared modules, in every language; a device prepares those written for it. */
export function declaredModules(): AnyModule[] {
  return [...declared.values()];
}

const KERNEL_KINDS = ['ptr', 'i32', 'f32', 'f64', 'map'];
const COUNTED_KINDS = /^(words|maps):(\d+)$/;

function countIn(kind: string, of: 'words' | 'maps'): number | undefined {
  const match = COUNTED_KINDS.exec(kind);
  return match?.[1] === of ? Number(match[2]) : undefined;
}

/** The number of words in an argument of this kind; undefined for other kinds. */
export const wordsIn = (kind: string) => countIn(kind, 'words');

/** The number of tensor maps in an argument of this kind; undefined for other kinds. */
export const mapsIn = (kind: string) => (kind === 'map' ? 1 : countIn(kind, 'maps'));

/** Splits a signature into its argument kinds and its return kind. @throws ValueError for a word that is not among `kinds` */
export function parseSignature(
  signature: Signature,
  kinds: readonly string[] = KERNEL_KINDS,
  returnKinds: readonly string[] = ['f64', 'count'],
): { parameters: string[]; returns: string } {
  const [left, right] = signature.split('->');
  const parameters = left.trim().split(/\s+/).filter(Boolean);
  for (const kind of parameters)
    if (!kinds.includes(kind) && !(kinds === KERNEL_KINDS && COUNTED_KINDS.test(kind)))
      throw new ValueError(`unknown argument kind "${kind}"`);
  const returns = right?.trim() ?? 'void';
  if (right !== undefined && !returnKinds.includes(returns)) throw new ValueError(`unknown return kind "${returns}"`);
  return { parameters, returns };
}
