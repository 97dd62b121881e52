// NVRTC, the CUDA run-time compiler: raw signatures, checked calls, and a program as an owned handle. NVRTC opens libnvrtc-builtins by
// bare name at the first compilation, so that file is loaded first.
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CompileError, DeviceError } from '../../errors.ts';
import { runSync } from '../command.ts';
import { fromEnvironment, homeFolder } from '../environment.ts';
import { type NativeFunctions, openSystemLibrary, type SystemLibrary } from '../system_library.ts';
import { inBackground } from './loader.ts';

const functions = {
  nvrtcGetErrorString: 'i32 -> str',
  nvrtcVersion: 'array array -> i32',
  nvrtcGetNumSupportedArchs: 'array -> i32',
  nvrtcGetSupportedArchs: 'array -> i32',
  nvrtcCreateProgram: 'array str str i32 ptr ptr -> i32',
  nvrtcDestroyProgram: 'array -> i32',
  nvrtcCompileProgram: 'ptr i32 strs -> i32',
  nvrtcGetProgramLogSize: 'ptr array -> i32',
  nvrtcGetProgramLog: 'ptr array -> i32',
  nvrtcGetCUBINSize: 'ptr array -> i32',
  nvrtcGetCUBIN: 'ptr array -> i32',
  nvrtcGetPTXSize: 'ptr array -> i32',
  nvrtcGetPTX: 'ptr array -> i32',
} as const;

const LIBRARY = /^libnvrtc\.so(\.\d+)*$/;
const BUILTINS = /^libnvrtc-builtins\.so(\.\d+)*$/;
/** Milliseconds that Python may take to name its folders. */
const PYTHON_MS = 10_000;
const SUCCESS = 0;
const COMPILATION = 6;

/** The files of a folder whose names match, newest version first; empty if there is no such folder. */
function filesIn(folder: string, pattern: RegExp): string[] {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => pattern.test(name));
  return names.sort((a, b) => b.localeCompare(a, 'en', { numeric: true })).map((name) => join(folder, name));
}

/** site-packages folders: the active environment's, one next to the working directory, the user's, the system's. */
function packageFolders(): string[] {
  const home = homeFolder();
  const roots = [
    fromEnvironment('VIRTUAL_ENV'),
    fromEnvironment('CONDA_PREFIX'),
    '.venv',
    home && join(home, '.local'),
    '/usr/local',
    '/usr',
  ];
  return roots
    .filter((root) => root !== undefined)
    .flatMap((root) =>
      filesIn(join(root, 'lib'), /^python3(\.\d+)?$/).flatMap((python) =>
        ['site-packages', 'dist-packages'].map((name) => join(python, name)),
      ),
    );
}

/** The site-packages of the Python that comparisons with PyTorch use, or python3; empty if it does not run. */
function pythonFolders(): string[] {
  const program =
    'import sysconfig; print(*dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")), sep="\\n")';
  const { status, stdout } = runSync(
    fromEnvironment('RECTIFLOW_TORCH_PYTHON') ?? 'python3',
    ['-c', program],
    PYTHON_MS,
  );
  return status === 0 ? stdout.split('\n').filter((folder) => folder !== '') : [];
}

/** The lib folders of NVIDIA's wheels, such as nvidia/cuda_nvrtc/lib and nvidia/cu13/lib. */
function wheelFolders(packages: readonly string[]): string[] {
  return packages.flatMap((folder) => filesIn(join(folder, 'nvidia'), /^\w+$/).map((wheel) => join(wheel, 'lib')));
}

/** @param packages further site-packages folders */
function specification(packages: readonly string[] = []): SystemLibrary<typeof functions> {
  const named = [fromEnvironment('CUDA_HOME'), fromEnvironment('CUDA_PATH')];
  const toolkits = [...named, '/usr/local/cuda'].filter((folder) => folder !== undefined);
  const toolkitFolders = toolkits.flatMap((folder) => ['lib64', 'lib'].map((name) => join(folder, name)));
  const folders = [...toolkitFolders, ...wheelFolders([...packageFolders(), ...packages])];
  const found = folders.flatMap((folder) => filesIn(folder, LIBRARY));
  return {
    name: 'libnvrtc',
    purpose: 'the device cuda',
    files: [...found, 'libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so.11.2', 'libnvrtc.so'],
    companions: (file) => (basename(file) === file ? [] : filesIn(dirname(file), BUILTINS)),
    variable: 'LIBNVRTC_PATH',
    install:
      '`pip install nvidia-cuda-nvrtc` in the active Python environment, or the CUDA toolkit with CUDA_HOME naming its ' +
      `folder; folders looked into: ${[...toolkitFolders, ...packageFolders().map((f) => join(f, 'nvidia/*/lib'))].join(', ')}`,
    functions,
  };
}

/** The compiled image and the compiler's log. */
export interface Compilation {
  image: Uint8Array<ArrayBuffer>;
  log: string;
}

let opened: { key: string; compiler: Nvrtc } | undefined;

/** @throws DeviceError saying what was tried and what to set */
export function openNvrtc(): Nvrtc {
  const key = (['LIBNVRTC_PATH', 'CUDA_HOME', 'CUDA_PATH', 'RECTIFLOW_TORCH_PYTHON'] as const)
    .map(fromEnvironment)
    .join('\0');
  if (opened?.key !== key) opened = { key, compiler: new Nvrtc() };
  return opened.compiler;
}

/** Python is asked for its packages only after everything else has failed, because that starts a program. */
function openLibrary(): NativeFunctions<typeof functions> {
  try {
    return openSystemLibrary(specification());
  } catch (error) {
    const packages = fromEnvironment('LIBNVRTC_PATH') === undefined ? pythonFolders() : [];
    if (wheelFolders(packages).every((folder) => filesIn(folder, LIBRARY).length === 0)) throw error;
    return openSystemLibrary(specification(packages));
  }
}

export class Nvrtc {
  /** The version, such as "13.0". */
  readonly version: string;
  /** The architectures that it compiles for, sorted; 80 stands for sm_80. */
  readonly architectures: readonly number[];
  private readonly raw: NativeFunctions<typeof functions>;

  constructor() {
    try {
      this.raw = openLibrary();
    } catch (cause) {
      throw new DeviceError((cause as Error).message, { cause });
    }
    const [major, minor, count] = [new Int32Array(1), new Int32Array(1), new Int32Array(1)];
    this.check('nvrtcVersion', this.raw.nvrtcVersion(major, minor));
    this.version = `${major[0]}.${minor[0]}`;
    this.check('nvrtcGetNumSupportedArchs', this.raw.nvrtcGetNumSupportedArchs(count));
    const architectures = new Int32Array(count[0]);
    this.check('nvrtcGetSupportedArchs', this.raw.nvrtcGetSupportedArchs(architectures));
    this.architectures = [...architectures].sort((a, b) => a - b);
  }

  /**
   * Compiles one source to a cubin (`--gpu-architecture=sm_N`) or to PTX (`compute_N`).
   * @param file the file name in messages
   * @throws CompileError with the whole log
   */
  compile(file: string, source: string, options: readonly string[]): Compilation {
    using program = new Program(this.raw, this.check, file, source);
    const result = this.raw.nvrtcCompileProgram(program.handle, options.length, options);
    return this.outcome(program, result, file, options);
  }

  /** Same as `compile`, on another thread. */
  async compileInBackground(file: string, source: string, options: readonly string[]): Promise<Compilation> {
    using program = new Program(this.raw, this.check, file, source);
    const result = await inBackground(this.raw.nvrtcCompileProgram, program.handle, options.length, options);
    return this.outcome(program, result, file, options);
  }

  private outcome(program: Program, result: number, file: string, options: readonly string[]): Compilation {
    const log = program.text('nvrtcGetProgramLogSize', 'nvrtcGetProgramLog');
    if (result !== SUCCESS) {
      const reason = result === COMPILATION ? '' : ` (${this.raw.nvrtcGetErrorString(result)})`;
      throw new CompileError(
        `${file} did not compile with NVRTC ${this.version} ${options.join(' ')}${reason}:\n${log || 'no message'}`,
      );
    }
    const toPtx = options.some((option) => /=compute_\d+/.test(option));
    const image = toPtx
      ? program.bytes('nvrtcGetPTXSize', 'nvrtcGetPTX')
      : program.bytes('nvrtcGetCUBINSize', 'nvrtcGetCUBIN');
    return { image, log };
  }

  private readonly check = (call: string, result: number): void => {
    if (result !== SUCCESS) throw new DeviceError(`${call}: ${this.raw.nvrtcGetErrorString(result)} (${result})`);
  };
}

type Size = 'nvrtcGetProgramLogSize' | 'nvrtcGetCUBINSize' | 'nvrtcGetPTXSize';
type Content = 'nvrtcGetProgramLog' | 'nvrtcGetCUBIN' | 'nvrtcGetPTX';

class Program {
  readonly handle: number;
  private readonly place = new BigUint64Array(1);
  private readonly raw: NativeFunctions<typeof functions>;
  private readonly check: (call: string, result: number) => void;

  constructor(raw: NativeFunctions<typeof functions>, check: Program['check'], file: string, source: string) {
    this.raw = raw;
    this.check = check;
    check('nvrtcCreateProgram', raw.nvrtcCreateProgram(this.place, source, file, 0, 0, 0));
    this.handle = Number(this.place[0]);
  }

  bytes(size: Size, content: Content): Uint8Array<ArrayBuffer> {
    const count = new BigUint64Array(1);
    this.check(size, this.raw[size](this.handle, count));
    const bytes = new Uint8Array(Number(count[0]));
    this.check(content, this.raw[content](this.handle, bytes));
    return bytes;
  }

  /** The text without its terminating zero. */
  text(size: Size, content: Content): string {
    return new TextDecoder().decode(this.bytes(size, content)).replace(/\0+$/, '').trim();
  }

  [Symbol.dispose](): void {
    this.raw.nvrtcDestroyProgram(this.place);
  }
}
