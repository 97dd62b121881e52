// The CUDA driver: raw signatures (`functions`), checked calls that throw with the driver's own words (`Driver`), and owned
// handles. Handles and device addresses are numbers: both are user-space addresses below 2^53.
import { DeviceError } from '../../errors.ts';
import type { HostArray } from '../device.ts';
import { fromEnvironment } from '../environment.ts';
import { type NativeFunctions, openSystemLibrary, type SystemLibrary } from '../system_library.ts';
import { readCString } from './loader.ts';

/** Symbols with a suffix are the current versions of their calls; the plain names are older versions. */
const functions = {
  cuInit: 'u32 -> i32',
  cuDriverGetVersion: 'array -> i32',
  cuGetErrorName: 'i32 array -> i32',
  cuGetErrorString: 'i32 array -> i32',
  cuDeviceGetCount: 'array -> i32',
  cuDeviceGet: 'array i32 -> i32',
  cuDeviceGetName: 'array i32 i32 -> i32',
  cuDeviceGetAttribute: 'array i32 i32 -> i32',
  cuDeviceTotalMem_v2: 'array i32 -> i32',
  cuDevicePrimaryCtxRetain: 'array i32 -> i32',
  cuDevicePrimaryCtxRelease_v2: 'i32 -> i32',
  cuCtxSetCurrent: 'ptr -> i32',
  cuMemAlloc_v2: 'array size -> i32',
  cuMemFree_v2: 'ptr -> i32',
  cuMemcpyHtoDAsync_v2: 'ptr array size ptr -> i32',
  cuMemcpyDtoHAsync_v2: 'array ptr size ptr -> i32',
  cuMemcpyDtoDAsync_v2: 'ptr ptr size ptr -> i32',
  cuMemsetD8Async: 'ptr u32 size ptr -> i32',
  cuStreamCreate: 'array u32 -> i32',
  cuStreamDestroy_v2: 'ptr -> i32',
  cuStreamSynchronize: 'ptr -> i32',
  cuStreamQuery: 'ptr -> i32',
  cuMemHostAlloc: 'array size u32 -> i32',
  cuMemFreeHost: 'ptr -> i32',
  cuEventCreate: 'array u32 -> i32',
  cuEventDestroy_v2: 'ptr -> i32',
  cuEventRecord: 'ptr ptr -> i32',
  cuEventRecordWithFlags: 'ptr ptr u32 -> i32',
  cuEventSynchronize: 'ptr -> i32',
  cuEventElapsedTime: 'array ptr ptr -> i32',
  cuStreamWaitEvent: 'ptr ptr u32 -> i32',
  cuStreamBeginCapture_v2: 'ptr i32 -> i32',
  cuStreamEndCapture: 'ptr array -> i32',
  cuThreadExchangeStreamCaptureMode: 'array -> i32',
  cuGraphInstantiateWithFlags: 'array ptr size -> i32',
  cuGraphDestroy: 'ptr -> i32',
  cuGraphExecDestroy: 'ptr -> i32',
  cuGraphLaunch: 'ptr ptr -> i32',
  cuModuleLoadData: 'array array -> i32',
  cuModuleUnload: 'ptr -> i32',
  cuModuleGetFunction: 'array ptr str -> i32',
  cuFuncSetAttribute: 'ptr i32 i32 -> i32',
  cuLaunchKernelEx: 'ptr ptr ptr ptr -> i32',
} as const;

const library = {
  name: 'libcuda',
  purpose: 'the device cuda',
  files: ['libcuda.so.1', 'libcuda.so', '/usr/lib/wsl/lib/libcuda.so.1'],
  variable: 'LIBCUDA_PATH',
  install: 'it comes with the NVIDIA driver; in a container, start it with the GPUs passed in, e.g. `--gpus all`',
  functions,
} satisfies SystemLibrary<typeof functions>;

/** Available since CUDA 12.4: the layout of a kernel's parameters. */
const parameterLibrary = {
  ...library,
  name: 'libcuda of CUDA 12.4 or later',
  functions: { cuFuncGetParamInfo: 'ptr size array array -> i32' },
} as const;

/** Available since CUDA 12.0. */
const tensorMapLibrary = {
  ...library,
  name: 'libcuda of CUDA 12 or later',
  functions: {
    cuTensorMapEncodeTiled: 'ptr i32 u32 ptr array array array array i32 i32 i32 i32 -> i32',
    cuTensorMapEncodeIm2col: 'ptr i32 u32 ptr array array array array u32 u32 array i32 i32 i32 i32 -> i32',
  },
} as const;
const TENSOR_BF16 = 9;
/** No interleaving, 128 bytes of swizzle, fetches of 256 bytes into L2, zeros outside. */
const TENSOR_OPTIONS = [0, 3, 3, 0] as const;

const SUCCESS = 0;
const INVALID_VALUE = 1;
const OUT_OF_MEMORY = 2;
const NOT_READY = 600;
const LAUNCH_TIMEOUT = 702;
/** Codes from here to 719: a kernel failed some time before the call that reports it, and the context is lost. */
const KERNEL_FAILURES = [700, 719] as const;
const STREAM_NON_BLOCKING = 1;
const ATTRIBUTE = { multiprocessors: 16, capabilityMajor: 75, capabilityMinor: 76, sharedMemoryOptIn: 97 } as const;
const FUNCTION_MAX_DYNAMIC_SHARED = 8;

/** A failed driver call, with the driver's name and text for the reason. */
export class DriverError extends DeviceError {
  readonly result: number;

  constructor(result: number, message: string) {
    super(message);
    this.result = result;
  }

  get outOfMemory(): boolean {
    return this.result === OUT_OF_MEMORY;
  }
}

type Raw = NativeFunctions<typeof functions>;
type Name = keyof Raw;

export interface Card {
  readonly index: number;
  readonly name: string;
  /** 90 for compute capability 9.0. */
  readonly architecture: number;
  readonly multiprocessors: number;
  readonly memory: number;
  /** The maximum shared memory of a block in bytes. */
  readonly sharedMemory: number;
}

const drivers = new Map<string, Driver>();

/** Initializes the driver. @throws DeviceError saying what was tried and what to set */
export function openDriver(): Driver {
  const key = fromEnvironment('LIBCUDA_PATH') ?? '';
  let driver = drivers.get(key);
  if (!driver) {
    driver = new Driver();
    drivers.set(key, driver);
  }
  return driver;
}

export class Driver {
  /** The newest CUDA version that the driver supports, such as "13.0". */
  readonly version: string;
  private readonly raw: Raw;
  private readonly word = new BigUint64Array(1);
  private readonly integer = new Int32Array(1);
  /** The context that is current on this thread. */
  private current = 0;

  constructor() {
    try {
      this.raw = openSystemLibrary(library);
    } catch (cause) {
      throw new DeviceError((cause as Error).message, { cause });
    }
    this.call('cuInit', 0);
    this.call('cuDriverGetVersion', this.integer);
    this.version = `${Math.floor(this.integer[0] / 1000)}.${Math.floor((this.integer[0] % 1000) / 10)}`;
  }

  /** @throws DriverError unless the call succeeds */
  call<N extends Name>(name: N, ...values: Parameters<Raw[N]>): void {
    const result = (this.raw[name] as (...values: unknown[]) => number)(...values);
    if (result !== SUCCESS) throw this.failure(name, result);
  }

  /** Same as `call`, for calls that write a handle or an address to their first argument; returns it. */
  make<N extends Name>(name: N, ...rest: Parameters<Raw[N]> extends [unknown, ...infer R] ? R : never): number {
    (this.call as (name: Name, ...values: unknown[]) => void).call(this, name, this.word, ...rest);
    const made = Number(this.word[0]);
    if (!Number.isSafeInteger(made)) throw new DeviceError(`${name} returned an address beyond 2^53`);
    return made;
  }

  failure(name: string, result: number): DriverError {
    const text = (call: 'cuGetErrorName' | 'cuGetErrorString') => {
      const place = new BigUint64Array(1);
      return this.raw[call](result, place) === SUCCESS ? readCString(Number(place[0])) : 'unknown';
    };
    const [first, last] = KERNEL_FAILURES;
    const hint =
      result >= first && result <= last
        ? '; a kernel before this call failed: RECTIFLOW_DEBUG=2 waits for each and names it'
        : '';
    const message = `${name}: ${text('cuGetErrorName')} (${result}), ${text('cuGetErrorString')}${hint}`;
    return new DriverError(result, message);
  }

  get cards(): number {
    this.call('cuDeviceGetCount', this.integer);
    return this.integer[0];
  }

  card(index: number): Card {
    this.call('cuDeviceGet', this.integer, index);
    const ordinal = this.integer[0];
    const attribute = (which: number) => {
      this.call('cuDeviceGetAttribute', this.integer, which, ordinal);
      return this.integer[0];
    };
    const name = new Uint8Array(256);
    this.call('cuDeviceGetName', name, name.length, ordinal);
    return {
      index: ordinal,
      name: new TextDecoder().decode(name.subarray(0, name.indexOf(0))),
      architecture: 10 * attribute(ATTRIBUTE.capabilityMajor) + attribute(ATTRIBUTE.capabilityMinor),
      multiprocessors: attribute(ATTRIBUTE.multiprocessors),
      memory: this.make('cuDeviceTotalMem_v2', ordinal),
      sharedMemory: attribute(ATTRIBUTE.sharedMemoryOptIn),
    };
  }

  /** Makes `context` current on this thread, unless it is. */
  enter(context: number): void {
    if (this.current === context) return;
    this.call('cuCtxSetCurrent', context);
    this.current = context;
  }

  /** Whether all work in a stream is done. */
  idle(stream: number): boolean {
    const result = this.raw.cuStreamQuery(stream);
    if (result !== SUCCESS && result !== NOT_READY) throw this.failure('cuStreamQuery', result);
    return result === SUCCESS;
  }

  /**
   * @param config address of a CUlaunchConfig
   * @param parameters address of a table of the addresses of the arguments
   */
  launch(config: number, kernel: number, parameters: number): void {
    const result = this.raw.cuLaunchKernelEx(config, kernel, parameters, 0);
    if (result !== SUCCESS) throw this.failure('cuLaunchKernelEx', result);
  }

  /** Undefined if the driver lacks it. */
  tensorMapEncoder(): TensorMapEncoder | undefined {
    try {
      return new TensorMapEncoder(this, openSystemLibrary(tensorMapLibrary));
    } catch {
      return undefined;
    }
  }

  /** Bytes of each parameter of a kernel; undefined if the driver cannot report them. */
  parameterSizes(kernel: number): number[] | undefined {
    let raw: NativeFunctions<typeof parameterLibrary.functions>;
    try {
      raw = openSystemLibrary(parameterLibrary);
    } catch {
      return undefined;
    }
    const sizes: number[] = [];
    const [offset, size] = [new BigUint64Array(1), new BigUint64Array(1)];
    for (;;) {
      const result = raw.cuFuncGetParamInfo(kernel, sizes.length, offset, size);
      if (result === INVALID_VALUE) return sizes;
      if (result !== SUCCESS) throw this.failure('cuFuncGetParamInfo', result);
      sizes.push(Number(size[0]));
    }
  }
}

/** The primary context, which all users of a card in this process share. */
export class PrimaryContext {
  readonly handle: number;
  readonly driver: Driver;
  private readonly card: number;

  constructor(driver: Driver, card: number) {
    this.driver = driver;
    this.card = card;
    this.handle = driver.make('cuDevicePrimaryCtxRetain', card);
  }

  [Symbol.dispose](): void {
    this.driver.enter(0);
    this.driver.call('cuDevicePrimaryCtxRelease_v2', this.card);
  }
}

/** A stream: a queue of work that runs in order. Its context must be current. */
export class Stream {
  readonly handle: number;
  /** The last enqueued kernel, for messages. */
  lastKernel = '';
  /** Called after a kernel has been enqueued. */
  onLaunch: ((kernel: string) => void) | undefined;
  /** The most milliseconds that a wait may take; default: any. */
  limit: number | undefined;
  private readonly driver: Driver;

  constructor(driver: Driver) {
    this.driver = driver;
    this.handle = driver.make('cuStreamCreate', STREAM_NON_BLOCKING);
  }

  /** Enqueues a copy. `source` is pinned memory, which must not change until the copy is done. */
  upload(target: number, source: HostArray): void {
    this.driver.call('cuMemcpyHtoDAsync_v2', target, source, source.byteLength, this.handle);
  }

  download(target: HostArray, source: number): void {
    // The copy itself waits for the kernels before it, without a limit.
    if (this.limit !== undefined) this.waitWithin(this.limit);
    this.driver.call('cuMemcpyDtoHAsync_v2', target, source, target.byteLength, this.handle);
    this.wait();
  }

  /** @throws DriverError for work that failed, or that takes longer than the limit */
  wait(): void {
    if (this.limit !== undefined) this.waitWithin(this.limit);
    this.driver.call('cuStreamSynchronize', this.handle);
  }

  private waitWithin(milliseconds: number): void {
    const end = performance.now() + milliseconds;
    const pause = new Int32Array(new SharedArrayBuffer(4));
    while (!this.driver.idle(this.handle)) {
      if (performance.now() > end)
        throw new DriverError(LAUNCH_TIMEOUT, `${this.lastKernel} did not end within ${milliseconds / 1000} s`);
      Atomics.wait(pause, 0, 0, 1);
    }
  }

  [Symbol.dispose](): void {
    this.driver.call('cuStreamDestroy_v2', this.handle);
  }
}

/** A loaded image and the kernels in it. */
export class LoadedModule {
  readonly handle: number;
  private readonly driver: Driver;

  /** @param image a cubin, or PTX text that ends in a zero */
  constructor(driver: Driver, image: Uint8Array) {
    this.driver = driver;
    this.handle = driver.make('cuModuleLoadData', image);
  }

  /** @throws DriverError if the image lacks the kernel */
  kernel(name: string): number {
    return this.driver.make('cuModuleGetFunction', this.handle, name);
  }

  [Symbol.dispose](): void {
    this.driver.call('cuModuleUnload', this.handle);
  }
}

/** Allows a kernel to be launched with up to `bytes` of dynamic shared memory; more than 48 KiB needs this opt-in. */
export function allowSharedMemory(driver: Driver, kernel: number, bytes: number): void {
  driver.call('cuFuncSetAttribute', kernel, FUNCTION_MAX_DYNAMIC_SHARED, bytes);
}

/** A bf16 tensor in global memory as a tensor map describes it: the innermost axis first; strides in bytes for the others. */
interface MappedTensor {
  address: number;
  extents: readonly number[];
  pitches: readonly number[];
}

/** Writes CUtensorMaps, 128 bytes at multiples of 64 in the host's memory. */
export class TensorMapEncoder {
  private readonly driver: Driver;
  private readonly raw: NativeFunctions<typeof tensorMapLibrary.functions>;

  constructor(driver: Driver, raw: NativeFunctions<typeof tensorMapLibrary.functions>) {
    this.driver = driver;
    this.raw = raw;
  }

  tiled(map: number, { box, ...tensor }: MappedTensor & { box: readonly number[] }): void {
    const { address, rank, extents, pitches, steps } = describeTensor(tensor);
    const sizes = Uint32Array.from(box);
    const { cuTensorMapEncodeTiled: encode } = this.raw;
    const result = encode(map, TENSOR_BF16, rank, address, extents, pitches, sizes, steps, ...TENSOR_OPTIONS);
    if (result !== SUCCESS) throw this.driver.failure('cuTensorMapEncodeTiled', result);
  }

  im2col(
    map: number,
    {
      lower,
      upper,
      channels,
      pixels,
      ...tensor
    }: MappedTensor & {
      lower: readonly number[];
      upper: readonly number[];
      channels: number;
      pixels: number;
    },
  ): void {
    const { address, rank, extents, pitches, steps } = describeTensor(tensor);
    const corners = [lower, upper].map((corner) => Int32Array.from(corner)) as [Int32Array, Int32Array];
    const { cuTensorMapEncodeIm2col: encode } = this.raw;
    const shape = [address, extents, pitches, ...corners, channels, pixels, steps] as const;
    const result = encode(map, TENSOR_BF16, rank, ...shape, ...TENSOR_OPTIONS);
    if (result !== SUCCESS) throw this.driver.failure('cuTensorMapEncodeIm2col', result);
  }
}

function describeTensor({ address, extents, pitches }: MappedTensor) {
  const words = (values: readonly number[]) => BigUint64Array.from(values, BigInt);
  const steps = new Uint32Array(extents.length).fill(1);
  return { address, rank: extents.length, extents: words(extents), pitches: words(pitches), steps };
}
