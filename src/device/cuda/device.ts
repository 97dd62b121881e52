// The CUDA device: the driver's primary context of one card, one stream, kernels compiled by NVRTC.
// Each JavaScript thread that opens a card has a device of its own on the card's one context.
import { CompileError, DeviceError } from '../../errors.ts';
import { debugLevel, traceLaunch } from '../debug.ts';
import {
  type CompileProgress,
  type Device,
  type HostArray,
  type LateReads,
  type MemoryFigures,
  type Precision,
  type Recording,
  registerDevice,
  type TensorMaps,
} from '../device.ts';
import { fromEnvironment } from '../environment.ts';
import type { AnyModule, CudaLaunchers, CudaModule, KernelModule, Launchers } from '../module.ts';
import { Event } from '../native/cuda_handles.ts';
import { type Card, type Driver, LoadedModule, openDriver, PrimaryContext, Stream } from '../native/libcuda.ts';
import { openNvrtc } from '../native/libnvrtc.ts';
import { Tables } from '../tables.ts';
import { chooseTarget, HOPPER } from './architecture.ts';
import { CudaCompiler } from './compiler.ts';
import { GraphRecorder } from './graph_recorder.ts';
import { CudaLateReads } from './late_reads.ts';
import { bindKernel, type CudaLauncher } from './launcher.ts';
import { type CudaAllocator, openAllocator } from './memory.ts';
import { type KernelTime, profile } from './profile.ts';
import { Staging } from './staging.ts';
import { CudaTensorMaps } from './tensor_maps.ts';
import { VerifiedBuilds } from './verified_builds.ts';

/** How often `synchronize` polls without a pause before it sleeps between polls. */
const EAGER_POLLS = 200;

interface CudaOptions {
  /** Default fp32. */
  precision?: Precision;
  /**
   * False: every tensor is an allocation of its own, slow, for NVIDIA's compute-sanitizer. Default: true unless
   * RECTIFLOW_CUDA_CACHING is 0.
   */
  caching?: boolean;
}

export class CudaDevice implements Device {
  readonly kind = 'cuda';
  readonly computesBf16 = true;
  readonly precision: Precision;
  readonly exact = true;
  readonly name: string;
  readonly workers: number;
  readonly description: string;
  readonly totalMemory: number;
  readonly card: Card;
  readonly tensorMaps: TensorMaps | undefined;
  readonly fastBuilds: VerifiedBuilds;
  /** The compilation target, such as sm_90a. */
  private readonly target: string;
  private readonly driver: Driver;
  private readonly context: PrimaryContext;
  private readonly stream: Stream;
  private readonly allocator: CudaAllocator;
  private readonly compiler: CudaCompiler;
  private readonly modules = new Map<AnyModule, { image: LoadedModule; launchers: CudaLaunchers }>();
  private readonly tables: Tables;
  private readonly staging: Staging;
  private readonly recorder: GraphRecorder;

  /** @throws DeviceError saying what to do if the driver, NVRTC or the card is missing or too old */
  constructor(index = 0, options: CudaOptions = {}) {
    registerDevice(this);
    const driver = openDriver();
    const nvrtc = openNvrtc();
    if (index >= driver.cards)
      throw new DeviceError(
        `device cuda:${index} does not exist: the driver shows ${driver.cards} card(s)` +
          `${driver.cards > 0 ? ', counted from 0' : ''}; CUDA_VISIBLE_DEVICES is ${fromEnvironment('CUDA_VISIBLE_DEVICES') ?? 'not set'}`,
      );
    this.driver = driver;
    this.card = driver.card(index);
    this.precision = options.precision ?? 'fp32';
    this.name = `cuda:${index}`;
    this.workers = this.card.multiprocessors;
    const target = chooseTarget(this.card, nvrtc);
    this.target = target.name;
    this.compiler = new CudaCompiler(nvrtc, target);
    const encoder = target.name === HOPPER ? driver.tensorMapEncoder() : undefined;
    this.tensorMaps = encoder && new CudaTensorMaps(encoder);
    this.totalMemory = this.card.memory;
    const memory = (this.totalMemory / 2 ** 30).toFixed(1);
    this.description = `${this.card.name}, ${memory} GiB, kernels for ${target.name}, driver ${driver.version}, NVRTC ${nvrtc.version}`;
    this.context = new PrimaryContext(driver, index);
    driver.enter(this.context.handle);
    this.stream = new Stream(driver);
    const { caching = fromEnvironment('RECTIFLOW_CUDA_CACHING') ?? true } = options;
    this.allocator = openAllocator(driver, this.stream, caching);
    this.staging = new Staging(driver, this.stream);
    this.recorder = new GraphRecorder(driver, this.stream, caching);
    this.tables = new Tables(this);
    const { compiler, stream, card, recorder } = this;
    this.fastBuilds = new VerifiedBuilds({
      ...{ device: this, driver, compiler, stream, card },
      refuse: (what) => recorder.refuse(what),
    });
  }

  allocate(bytes: number): number {
    this.enter();
    return (this.recorder.pool ?? this.allocator).allocate(bytes);
  }

  free(address: number): void {
    this.enter();
    if (this.recorder.free(address)) return;
    this.recorder.refuse('freeing memory that was allocated before the recording');
    this.allocator.free(address);
  }

  upload(address: number, source: HostArray): void {
    if (source.byteLength === 0) return;
    this.enter();
    this.recorder.refuse('writing values of the host');
    this.staging.upload(address, source);
  }

  download(address: number, target: HostArray): void {
    if (target.byteLength === 0) return;
    this.enter();
    this.recorder.refuse('reading a value');
    this.stream.download(target, address);
  }

  lateReads(bytes: number): LateReads {
    this.enter();
    return new CudaLateReads(this.driver, this.stream, bytes, () => {
      this.enter();
      this.recorder.refuse('reading a value');
    });
  }

  copy(target: number, source: number, bytes: number): void {
    if (bytes === 0) return;
    this.enter();
    this.driver.call('cuMemcpyDtoDAsync_v2', target, source, bytes, this.stream.handle);
  }

  fill(address: number, bytes: number, byte: number): void {
    if (bytes === 0) return;
    this.enter();
    this.driver.call('cuMemsetD8Async', address, byte, bytes, this.stream.handle);
  }

  load<Names extends string>(module: KernelModule<Names>): Launchers<Names>;
  load<Names extends string>(module: CudaModule<Names>): CudaLaunchers<Names>;
  load(module: AnyModule): Launchers | CudaLaunchers {
    this.enter();
    if (module.language !== 'cuda')
      throw new DeviceError(`${module.name} has no kernels for the device ${this.name} yet; this op runs on cpu`);
    this.fastBuilds.require(module);
    const known = this.modules.get(module);
    if (known) return this.fastBuilds.observed(module, known.launchers);
    this.recorder.refuse(`loading ${module.name}`);
    const image = this.loadImage(module);
    const launchers: Record<string, CudaLauncher> = {};
    for (const [name, signature] of Object.entries<string>(module.kernels)) {
      const launch = bindKernel(this.driver, this.stream, image.kernel(name), name, signature);
      launchers[name] = debugLevel() >= 2 ? this.trace(name, launch) : launch;
    }
    this.modules.set(module, { image, launchers });
    return this.fastBuilds.observed(module, launchers);
  }

  async prepare(modules: readonly AnyModule[], onProgress?: (progress: CompileProgress) => void): Promise<void> {
    const waiting = modules
      .filter((module): module is CudaModule => module.language === 'cuda')
      .filter(({ precisions }) => precisions?.includes(this.precision) ?? true)
      .filter(({ target }) => !target || (target === this.target && this.tensorMaps))
      .filter((module) => !this.modules.has(module));
    const all = new Set([...waiting, ...this.fastBuilds.twinsFor(waiting)]);
    await this.compiler.fill([...all], onProgress);
    for (const module of waiting) if (this.fastBuilds.verdictOf(module).reason === undefined) this.load(module);
  }

  table(values: readonly number[]): number {
    if (this.recorder.recording && !this.tables.has(values)) this.recorder.refuse('making a table of sizes');
    return this.tables.address(values);
  }

  record(work: () => void, expectedBytes?: number): Recording {
    this.enter();
    // Free memory of eager work may be enough for the recording.
    this.allocator.trim();
    const recording = this.recorder.record(work, expectedBytes);
    return {
      replay: () => {
        this.enter();
        recording.replay();
      },
      [Symbol.dispose]: () => {
        this.enter();
        recording[Symbol.dispose]();
      },
    };
  }

  time(work: () => void): number {
    this.enter();
    this.recorder.refuse('measuring time');
    using start = new Event(this.driver, true);
    using end = new Event(this.driver, true);
    start.record(this.stream);
    work();
    this.enter();
    end.record(this.stream);
    end.wait();
    return end.since(start);
  }

  profile(work: () => void, replays: number): KernelTime[] {
    this.enter();
    return profile(this.driver, this.stream, (enqueue) => this.record(enqueue), work, replays);
  }

  async synchronize(): Promise<void> {
    this.recorder.refuse('waiting for the device');
    for (let poll = 0; ; poll++) {
      this.enter();
      if (this.driver.idle(this.stream.handle)) return;
      await new Promise<void>((resolve) => (poll < EAGER_POLLS ? setImmediate(resolve) : setTimeout(resolve, 1)));
    }
  }

  memory(): MemoryFigures {
    return this.recorder.withGraphs(this.allocator.memory());
  }

  resetHighWater(): void {
    this.allocator.resetHighWater();
  }

  trim(): number {
    return this.allocator.trim();
  }

  /** Returns all unused memory to the driver. */
  [Symbol.dispose](): void {
    this.enter();
    this.stream.wait();
    for (const { image } of this.modules.values()) image[Symbol.dispose]();
    this.modules.clear();
    this.allocator.trim();
    this.staging[Symbol.dispose]();
    this.stream[Symbol.dispose]();
    this.context[Symbol.dispose]();
  }

  /** Driver calls use the context that is current on the calling thread. */
  private enter(): void {
    this.driver.enter(this.context.handle);
  }

  private loadImage(module: CudaModule): LoadedModule {
    try {
      return new LoadedModule(this.driver, this.compiler.image(module));
    } catch (cause) {
      if (cause instanceof CompileError) throw cause;
      if (this.compiler.forget(module)) return this.loadImage(module);
      throw new DeviceError(
        `the driver refused ${module.name}.cu (${this.description}): ${(cause as Error).message}. A driver older than ` +
          'NVRTC does this: update the driver, or name an older NVRTC by LIBNVRTC_PATH',
        { cause },
      );
    }
  }

  /** Waits before and after, so that the time, and an error, belong to this kernel. */
  private trace(name: string, launch: CudaLauncher): CudaLauncher {
    let launchGrid: Parameters<CudaLauncher>[0];
    const timed = traceLaunch(name, (...values) => {
      launch(launchGrid, ...values);
      try {
        this.stream.wait();
      } catch (cause) {
        throw new DeviceError(`${name} failed: ${(cause as Error).message}`, { cause });
      }
      return 0;
    });
    // Recorded work does not run now, so there is no time to report.
    return (grid, ...values) => {
      if (this.recorder.recording) return launch(grid, ...values);
      launchGrid = grid;
      this.stream.wait();
      timed(...values);
    };
  }
}
