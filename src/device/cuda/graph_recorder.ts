// Records what a device enqueues as a CUDA graph, and refuses what a capture forbids.
import { RecordingError } from '../../errors.ts';
import type { MemoryFigures, Recording } from '../device.ts';
import { interruptionPoint } from '../interruption.ts';
import { Graph } from '../native/cuda_handles.ts';
import type { Driver, Stream } from '../native/libcuda.ts';
import { GraphPool } from './memory.ts';

export class GraphRecorder {
  private readonly driver: Driver;
  private readonly stream: Stream;
  private readonly caching: boolean;
  /** Memory of the graph that is being recorded. */
  private active: GraphPool | undefined;
  /** Memory of all live graphs, and of destroyed graphs whose blocks are still in use. */
  private readonly pools = new Set<GraphPool>();
  private readonly retired = new Set<GraphPool>();

  constructor(driver: Driver, stream: Stream, caching: boolean) {
    this.driver = driver;
    this.stream = stream;
    this.caching = caching;
  }

  /** @param expectedBytes estimated peak memory of `work` */
  record(work: () => void, expectedBytes = 0): Recording {
    this.refuse('recording another graph');
    const pool = new GraphPool(this.driver, this.caching, expectedBytes);
    this.pools.add(pool);
    this.stream.lastKernel = '';
    let graph: Graph;
    try {
      this.active = pool;
      graph = new Graph(this.driver, this.stream, work);
    } catch (error) {
      this.active = undefined;
      this.retire(pool);
      throw error;
    } finally {
      this.active = undefined;
    }
    return {
      replay: () => {
        this.refuse('replaying a graph');
        interruptionPoint();
        graph.replay();
      },
      [Symbol.dispose]: () => {
        this.stream.wait();
        graph[Symbol.dispose]();
        this.retire(pool);
      },
    };
  }

  get recording(): boolean {
    return this.active !== undefined;
  }

  /** The memory of the current recording. */
  get pool(): GraphPool['allocator'] | undefined {
    return this.active?.allocator;
  }

  /** @throws RecordingError while a graph is recorded */
  refuse(what: string): void {
    if (!this.active) return;
    const { lastKernel } = this.stream;
    const where = lastKernel ? `after the kernel ${lastKernel}` : 'before its first kernel';
    throw new RecordingError(`${what} is not possible while work is recorded (${where})`);
  }

  /** Frees a block of any graph's memory. @returns false if the address belongs to none */
  free(address: number): boolean {
    for (const pool of this.pools)
      if (pool.allocator.owns(address)) {
        pool.allocator.free(address);
        if (this.retired.has(pool)) this.retire(pool);
        return true;
      }
    return false;
  }

  /** Adds the graphs' memory to `figures`: each graph needs all of its memory at its next replay. */
  withGraphs({ live, highWater, reserved }: MemoryFigures): MemoryFigures {
    const pools = [...this.pools].map((pool) => pool.memory());
    const sum = (key: keyof MemoryFigures) => pools.reduce((total, figures) => total + figures[key], 0);
    return {
      live: live + sum('live'),
      highWater: Math.max(highWater, live + sum('highWater')),
      reserved: reserved + sum('reserved'),
    };
  }

  private retire(pool: GraphPool): void {
    this.retired.add(pool);
    if (pool.allocator.memory().live > 0) return;
    pool.release();
    this.pools.delete(pool);
    this.retired.delete(pool);
  }
}
