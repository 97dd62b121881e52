// A kernel file and what it exports, as data: the op's launch code declares it, a device compiles and binds it.

import type { Precision } from './device.ts';
import { sourceUrl, textUrl } from './source.ts';

/**
 * Kinds of kernel arguments: a device address, int32, float, double; of CUDA also `map`, a tensor map (its address in the host's
 * memory), `maps:N`, N of them that lie side by side there, and `words:N`, N words of 32 bits by value, which are N arguments of the launcher. "-> f64" marks a kernel that
 * returns a double, "-> count" one whose double depends on numbers and tables alone: bytes, or parts.
 */
export type Signature = string;

export interface KernelModule<Names extends string = string> {
  readonly language: 'c';
  /** File name without its ending, and the build of it: how messages and the cache call it. */
  readonly name: string;
  readonly url: URL;
  /** Kernel name -> argument kinds, e.g. `'ptr ptr i32 f32'`. */
  readonly kernels: Readonly<Record<Names, Signature>>;
  /** Compiler flags beyond the device's own. */
  readonly flags: readonly string[];
}

export type Launchers<Names extends string = string> = Readonly<Record<Names, (...values: number[]) => number>>;

/** How a CUDA kernel is launched: blocks, threads of a block, bytes of dynamic shared memory of a block. Missing extents are 1. */
export interface LaunchGrid {
  readonly grid: readonly [x: number, y?: number, z?: number];
  readonly block: readonly [x: number, y?: number, z?: number];
  readonly shared?: number;
}

export interface CudaModule<Names extends string = string> extends Omit<KernelModule<Names>, 'language'> {
  readonly language: 'cuda';
  /** On devices of which precision it is of use; all unless said. */
  readonly precisions?: readonly Precision[];
  /** The one target whose instructions it has, as sm_90a; any unless said. */
  readonly target?: string;
}

/** Kernels of CUDA are enqueued, over a grid, and return nothing. */
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

/** What sets one build of a .cu file apart. */
interface CudaBuild extends Pick<CudaModule, 'precisions' | 'target'> {
  /** NVRTC's. */
  flags?: readonly string[];
  /** Its name, where the file has several builds. */
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
  const url = textUrl(`${name}.${language === 'c' ? 'c' : 'cu'}`, text);
  return { language, name, url, kernels, flags: [] } as KernelModule | CudaModule;
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

/** How many words an argument of that kind has by value; undefined where it is a number. */
export const wordsIn = (kind: string) => countIn(kind, 'words');

/** How many tensor maps an argument of that kind has; undefined where it is something else. */
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
