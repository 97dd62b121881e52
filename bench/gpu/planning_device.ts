// A card that runs nothing: it hands out addresses and logs what is enqueued, so that the kernels and memory of a training step can be
// counted without a card, driver or compiler. Which work is enqueued depends on shapes alone; values read back are 0.
import { CachingAllocator } from '../../src/device/allocator.ts';
import { PoolAllocator } from '../../src/device/cuda/pool_allocator.ts';
import {
  type Device,
  type HostArray,
  type MemoryFigures,
  type Precision,
  type Recording,
  registerDevice,
  type TensorMaps,
} from '../../src/device/device.ts';
import type { AnyModule, CudaLaunchers, KernelModule, Launchers, LaunchGrid } from '../../src/device/module.ts';
import { Tables } from '../../src/device/tables.ts';
import { DeviceError } from '../../src/errors.ts';

/** A node of a graph: a kernel, a copy within the card or a fill. */
export interface PlannedNode {
  kind: 'kernel' | 'copy' | 'fill';
  /** The kernel's name; otherwise `kind`. */
  name: string;
  /** The build that the kernel is from: see CudaModule. */
  module?: string;
  launchGrid?: LaunchGrid;
  arguments: readonly number[];
}

const PAGE = 2 * 2 ** 20;

export class PlanningDevice implements Device {
  readonly kind = 'cuda';
  readonly computesBf16 = true;
  readonly name = 'plan';
  readonly exact = true;
  readonly description = 'no card: what is enqueued is written down';
  readonly workers = 132;
  readonly precision: Precision;
  readonly tensorMaps: TensorMaps | undefined;
  /** Nodes enqueued since the last recording began, or since the start. */
  nodes: PlannedNode[] = [];
  /** Called when memory in use reaches a new peak. */
  onHighWater: (() => void) | undefined;
  private next = PAGE;
  private readonly reserve = (bytes: number) => {
    const address = this.next;
    this.next += Math.ceil(bytes / PAGE) * PAGE + PAGE;
    return address;
  };
  private readonly allocator = new CachingAllocator({ reserve: this.reserve, release: () => {} });
  private readonly modules = new Map<AnyModule, unknown>();
  private pool: PoolAllocator | undefined;
  /** Tables by address. */
  readonly contents = new Map<number, readonly number[]>();
  private readonly tables = new Tables(this);
  private highest = 0;

  /** @param hopper whether to plan for sm_90a; otherwise any card from sm_80 on */
  constructor(precision: Precision, hopper: boolean) {
    registerDevice(this);
    this.precision = precision;
    this.tensorMaps = hopper ? { rows: () => 0, patches: () => 0, together: () => 0 } : undefined;
  }

  allocate(bytes: number): number {
    const address = (this.pool ?? this.allocator).allocate(bytes);
    const { live } = this.memory();
    if (live > this.highest) {
      this.highest = live;
      this.onHighWater?.();
    }
    return address;
  }

  free(address: number): void {
    if (this.pool?.owns(address)) this.pool.free(address);
    else this.allocator.free(address);
  }

  upload(): void {}

  download(_address: number, target: HostArray): void {
    target.fill(0);
  }

  copy(target: number, source: number, bytes: number): void {
    if (bytes > 0) this.nodes.push({ kind: 'copy', name: 'copy', arguments: [target, source, bytes] });
  }

  fill(address: number, bytes: number, byte: number): void {
    if (bytes > 0) this.nodes.push({ kind: 'fill', name: 'fill', arguments: [address, bytes, byte] });
  }

  load<Names extends string>(module: AnyModule): Launchers<Names> & CudaLaunchers<Names>;
  load(module: AnyModule): unknown {
    if (module.language !== 'cuda') throw new DeviceError(`${(module as KernelModule).name} has no kernels for a card`);
    const known = this.modules.get(module);
    if (known) return known;
    const launcher =
      (name: string) =>
      (launchGrid: LaunchGrid, ...values: number[]) => {
        this.nodes.push({ kind: 'kernel', name, module: module.name, launchGrid, arguments: values });
      };
    const launchers = Object.fromEntries(Object.keys(module.kernels).map((name) => [name, launcher(name)]));
    this.modules.set(module, launchers);
    return launchers;
  }

  async prepare(): Promise<void> {}

  table(values: readonly number[]): number {
    const address = this.tables.address(values);
    this.contents.set(address, values);
    return address;
  }

  /** Like a card: a recording has its own memory pool, and free memory outside it is returned first. */
  record(work: () => void, expectedBytes?: number): Recording {
    this.allocator.trim();
    this.pool = new PoolAllocator(this.reserve, expectedBytes);
    this.highest = 0;
    this.nodes = [];
    work();
    return { replay: () => {}, [Symbol.dispose]: () => {} };
  }

  async synchronize(): Promise<void> {}

  memory(): MemoryFigures {
    const [own, pool] = [this.allocator.memory(), this.pool?.memory()];
    if (!pool) return own;
    return {
      live: own.live + pool.live,
      highWater: own.live + pool.highWater,
      reserved: own.reserved + pool.reserved,
    };
  }

  resetHighWater(): void {
    this.allocator.resetHighWater();
  }

  trim(): number {
    return this.allocator.trim();
  }
}
