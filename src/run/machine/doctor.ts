// `doctor`: checks what this machine offers and says how to install what it lacks.
import { availableParallelism, totalmem } from 'node:os';
import { KernelCache } from '../../device/cache.ts';
import { compilerName, describeMissingCompiler, lookForCompiler, lookForCompilerAsync } from '../../device/cc.ts';
import { CpuDevice } from '../../device/cpu.ts';
import { tryCompiler } from '../../device/cpu_compiler.ts';
import { type CudaPart, surveyCuda } from '../../device/cuda/survey.ts';
import { surveyEnvironment } from '../../device/environment.ts';
import { fromLauncher } from '../../device/launch.ts';
import { declaredModules } from '../../device/module.ts';
import { findMpi } from '../../device/mpi.ts';
import { openDevice } from '../../device/open.ts';
import { ffiVersion, openSystemLibrary } from '../../device/system_library.ts';
import { DeviceError } from '../../errors.ts';
import { lapack } from '../../eval/lapack.ts';
import { presetNames } from '../config/index.ts';
import { gitRevision, packageVersion } from './provenance.ts';
// Declares every kernel file.
import '../../kernels/index.ts';
import '../../kernels/inner/leaf_gradients.ts';
import '../../kernels/inner/linears.ts';

export interface Finding {
  what: string;
  state: 'ok' | 'note' | 'missing';
  detail: string;
  /** How to fix it. */
  remedy?: string;
}

/**
 * Examines this machine: compilers, devices, libraries, the cache of kernels. It changes nothing.
 * @returns the findings in the order in which `doctor` prints them
 * @example
 * const findings = await examine();
 * findings[0].what; // 'rectiflow'
 * for (const { what, state, remedy } of findings) if (state === 'missing') console.log(what, remedy);
 */
export async function examine(): Promise<Finding[]> {
  const module = await wasm();
  // What the device cpu lacks is only a note while wasm can replace it.
  const lacking = module.state === 'ok' ? 'note' : 'missing';
  return [
    version(),
    machine(lacking),
    environment(),
    ffi(lacking),
    await compiler(lacking),
    cacheFinding(),
    await cpu(lacking),
    module,
    ...cuda(),
    systemLibrary(),
    mpi(),
    configurations(),
  ];
}

function version(): Finding {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const supported = major > 20 || (major === 20 && minor >= 19);
  return {
    what: 'rectiflow',
    state: supported ? 'ok' : 'missing',
    detail: `${packageVersion()} (${gitRevision() ?? 'installed package'}), Node ${process.versions.node}`,
    remedy: supported ? undefined : 'install Node 20.19 or later',
  };
}

type Lacking = 'note' | 'missing';

function machine(lacking: Lacking): Finding {
  const native = process.platform === 'linux' || process.platform === 'darwin';
  return {
    what: 'machine',
    state: native ? 'ok' : lacking,
    detail: `${process.platform} ${process.arch}, ${availableParallelism()} threads, ${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    remedy: native ? undefined : 'native devices need Linux or macOS; the device wasm works everywhere',
  };
}

/** The one library that the package does not contain. */
function ffi(lacking: Lacking): Finding {
  const what = 'koffi';
  try {
    // The package may be installed without its binary for this system.
    return { what, state: 'ok', detail: ffiVersion() };
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    return { what, state: lacking, detail: error.message };
  }
}

function environment(): Finding {
  const { set, wrong, unknown } = surveyEnvironment();
  const what = 'environment';
  if (wrong.length > 0) return { what, state: 'missing', detail: wrong.join('; '), remedy: 'correct or unset them' };
  if (unknown.length > 0) return { what, state: 'note', detail: unknown.join('; ') };
  return { what, state: 'ok', detail: set.join(', ') || 'no variable is set' };
}

async function compiler(lacking: Lacking): Promise<Finding> {
  const what = 'C compiler';
  try {
    const result = await lookForCompilerAsync();
    if (!('tried' in result)) return { what, state: 'ok', detail: `${compilerName(result)}: ${result.version}` };
    const remedy = 'install one, or set CC; without one, commands use the device wasm unless --device names another';
    return { what, state: lacking, detail: describeMissingCompiler(result.tried), remedy };
  } catch (error) {
    // The device wasm does not replace a compiler that CC names.
    return {
      what,
      state: 'missing',
      detail: (error as Error).message,
      remedy: 'set CC to a working compiler, or unset it',
    };
  }
}

/** Compiles and loads a one-line library in the cache folder, as kernels are. */
export function cacheFinding(): Finding {
  const what = 'kernel cache';
  const kernels = new KernelCache();
  const { files, bytes } = kernels.usage();
  const remedy = 'repair the folder, or set RECTIFLOW_CACHE to another';
  const trial = attempt(() => tryCompiler(kernels));
  if (kernels.reason) {
    const detail = `${kernels.reason}; every process compiles the kernels again${trial ? `; ${trial}` : ''}`;
    return { what, state: 'note', detail, remedy };
  }
  const detail = `${kernels.folder}: ${files} kernels, ${(bytes / 2 ** 20).toFixed(1)} MiB`;
  return trial ? { what, state: 'note', detail: `${detail}; ${trial}`, remedy } : { what, state: 'ok', detail };
}

/**
 * The error message of the work; undefined if it succeeds, or if compiler or koffi, which have their own lines, are
 * missing.
 */
function attempt(work: () => void): string | undefined {
  try {
    ffiVersion();
    lookForCompiler();
  } catch {
    return undefined;
  }
  try {
    work();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

async function cpu(lacking: Lacking): Promise<Finding> {
  try {
    const start = performance.now();
    const device = await CpuDevice.open();
    await device.prepare(declaredModules());
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    return {
      what: 'device cpu',
      state: 'ok',
      detail: `${declaredModules().filter(({ language }) => language === 'c').length} kernel files ready in ${seconds} s`,
    };
  } catch (error) {
    return { what: 'device cpu', state: lacking, detail: (error as Error).message };
  }
}

/** The device that replaces cpu where there is no compiler. */
async function wasm(): Promise<Finding> {
  try {
    const device = await openDevice('wasm');
    await device.prepare(declaredModules());
    return { what: 'device wasm', state: 'ok', detail: `the same kernels in WebAssembly, ${device.description}` };
  } catch (error) {
    return { what: 'device wasm', state: 'note', detail: (error as Error).message };
  }
}

/** What the device cuda needs. */
function cuda(): Finding[] {
  const { driver, nvrtc, cards, kernels } = surveyCuda();
  const finding = (what: string, part: CudaPart, remedy: string): Finding =>
    part.works ? { what, state: 'ok', detail: part.text } : { what, state: 'note', detail: part.text, remedy };
  return [
    finding('CUDA driver', driver, 'install the NVIDIA driver, or set LIBCUDA_PATH; the device cpu works without it'),
    finding('NVRTC', nvrtc, 'pip install nvidia-cuda-nvrtc, or set CUDA_HOME or LIBNVRTC_PATH; only cuda needs it'),
    ...cards.map((card, i) => finding(`device cuda:${i}`, card, 'use another card, or the device cpu')),
    ...kernels.map((part, i) =>
      finding(`kernels cuda:${i}`, part, 'the portable ones serve instead; please report it'),
    ),
  ];
}

/** The optional LAPACK of the operating system. */
function systemLibrary(): Finding {
  const what = lapack.name;
  try {
    openSystemLibrary<Readonly<Record<string, string>>>(lapack);
    return { what, state: 'ok', detail: `found; used by ${lapack.purpose}` };
  } catch (error) {
    const remedy = `${lapack.install}; only ${lapack.purpose} uses it`;
    return { what, state: 'note', detail: (error as Error).message, remedy };
  }
}

/** The optional library by which several processes train together. */
function mpi(): Finding {
  const what = 'MPI';
  try {
    return { what, state: 'ok', detail: `${findMpi(fromLauncher())}; used by training on several processes` };
  } catch (error) {
    const remedy =
      'Debian: openmpi-bin and libopenmpi3, or mpich and libmpich12; only training on several processes uses it';
    return { what, state: 'note', detail: (error as Error).message, remedy };
  }
}

function configurations(): Finding {
  const names = presetNames().map((name) => name.replace(/^.*\//, ''));
  return { what: 'configurations', state: 'ok', detail: names.join(', ') };
}
