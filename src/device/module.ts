// Declarations of kernel files as data: an op's launch code declares a file and its kernels, and a device compiles it and
// binds them.

import type { Precision } from './device.ts';
import { sourceUrl } from './source.ts';

/**
 * The kinds of a kernel's arguments: `ptr` (a device address), `i32`, `f32` and `f64`. CUDA also has `map` (a tensor map,
 * given by its address in host memory), `maps:N` (N tensor maps next to each other in host memory) and `words:N` (N words
 * of 32 bits by value, which are N arguments of the launcher). "-> f64" marks a kernel that returns a double, "-> count" one
 * whose double depends on numbers and tables alone, such as a number of bytes or of parts.
 */
export type Signature = string;

export interface KernelModule<Names extends string = string> {
  readonly language: 'c';
  /** The file name without its ending, with the name of the build if there is one; used in messages and in the cache. */
  readonly name: string;
  readonly url: URL;
  /** Kernel name -> argument kinds, e.g. `'ptr ptr i32 f32'`. */
  readonly kernels: Readonly<Record<Names, Signature>>;
  /** Compiler flags beyond the device's own. */
  readonly flags: readonly string[];
}

export type Launchers<Names extends string = string> = Readonly<Record<Names, (...values: number[]) => number>>;

/**
 * The launch of a CUDA kernel: its blocks, the threads of a block, and the bytes of dynamic shared memory of a block. Missing
 * extents are 1.
 */
export interface LaunchGrid {
  readonly grid: readonly [x: number, y?: number, z?: number];
  readonly block: readonly [x: number, y?: number, z?: number];
  readonly shared?: number;
}

export interface CudaModule<Names extends string = string> extends Omit<KernelModule<Names>, 'language'> {
  readonly language: 'cuda';
  /** The precisions of the devices that use this build; default: all. */
  readonly precisions?: readonly Precision[];
  /** The compilation target that it is written for, such as sm_90a; default: any. */
  readonly target?: string;
}

/** CUDA kernels as functions: a call enqueues the kernel over a grid and returns nothing. */
export type CudaLaunchers<Names extends string = string> = Readonly<
  Record<Names, (grid: LaunchGrid, ...values: number[]) => void>
>;

export type AnyModule = KernelModule | CudaModule;

/** Every module declared so far: what `prepare` compiles. */
const declared = new Map<string, AnyModule>();

/**
 * Declares the kernels of one C file, for the CPU.
 * @param path the source below src/, such as `kernels/conv/conv.c`, or a file URL
 */
export function kernelModule<Names extends string>(
  path: string,
  kernels: Readonly<Record<Names, Signature>>,
  { flags = [] }: { flags?: readonly string[] } = {},
): KernelModule<Names> {
  return declare({ language: 'c', ...sourceOf(path), kernels, flags });
}

/** The properties of one build of a .cu file. */
interface CudaBuild extends Pick<CudaModule, 'precisions' | 'target'> {
  /** Options of NVRTC. */
  flags?: readonly string[];
  /** The name of the build; needed if the file has several. */
  variant?: string;
}

/** Declares the kernels of one .cu file. */
export function cudaModule<Names extends string>(
  path: string,
  kernels: Readonly<Record<Names, Signature>>,
  { flags = [], variant, precisions, target }: CudaBuild = {},
): CudaModule<Names> {
  const { name, url } = sourceOf(path);
  const build = { url, kernels, flags, precisions, target };
  return declare({ language: 'cuda', name: variant ? `${name}.${variant}` : name, ...build });
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

/** The number of words of an argument `words:N`; undefined for other kinds. */
export const wordsIn = (kind: string) => countIn(kind, 'words');

/** The number of tensor maps of an argument `map` or `maps:N`; undefined for other kinds. */
export const mapsIn = (kind: string) => (kind === 'map' ? 1 : countIn(kind, 'maps'));

/** Splits a signature into its argument kinds and its return kind; throws on a word that is not among `kinds`. */
export function parseSignature(
  signature: Signature,
  kinds: readonly string[] = KERNEL_KINDS,
  returnKinds: readonly string[] = ['f64', 'count'],
): { parameters: string[]; returns: string } {
  const [left, right] = signature.split('->');
  const parameters = left.trim().split(/\s+/).filter(Boolean);
  for (const kind of parameters)
    if (!kinds.includes(kind) && !(kinds === KERNEL_KINDS && COUNTED_KINDS.test(kind)))
      throw new Error(`unknown argument kind "${kind}"`);
  const returns = right?.trim() ?? 'void';
  if (right !== undefined && !returnKinds.includes(returns)) throw new Error(`unknown return kind "${returns}"`);
  return { parameters, returns };
}
