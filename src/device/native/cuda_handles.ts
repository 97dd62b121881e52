// More of the CUDA driver's objects, each owned by whoever made it: events, pinned host memory, graphs.
import { type Driver, DriverError, type Stream } from './libcuda.ts';
import { memoryView } from './loader.ts';

/** From CUstreamCaptureMode: which calls a capture forbids, and to whom. */
const CAPTURE = { threadLocal: 1, relaxed: 2 } as const;
const EVENT_WITHOUT_TIME = 2;

/** A mark in a stream: a host may wait for it, another stream too. */
export class Event {
  readonly handle: number;
  private readonly driver: Driver;

  /** @param timed whether `since` will be asked */
  constructor(driver: Driver, timed = false) {
    this.driver = driver;
    this.handle = driver.make('cuEventCreate', timed ? 0 : EVENT_WITHOUT_TIME);
  }

  record(stream: Stream): void {
    this.driver.call('cuEventRecord', this.handle, stream.handle);
  }

  /** Blocks until all that was enqueued before the mark is done; returns at once where there is no mark yet. */
  wait(): void {
    this.driver.call('cuEventSynchronize', this.handle);
  }

  /** Lets what is enqueued in `stream` from now on wait for the mark. */
  hold(stream: Stream): void {
    this.driver.call('cuStreamWaitEvent', stream.handle, this.handle, 0);
  }

  /** Milliseconds of the card from `start` to this mark, both of which it has passed. */
  since(start: Event): number {
    const milliseconds = new Float32Array(1);
    this.driver.call('cuEventElapsedTime', milliseconds, start.handle, this.handle);
    return milliseconds[0];
  }

  [Symbol.dispose](): void {
    this.driver.call('cuEventDestroy_v2', this.handle);
  }
}

/** Host memory that the card copies from by itself, while the host goes on. */
export class PinnedMemory {
  readonly bytes: Uint8Array;
  private readonly address: number;
  private readonly driver: Driver;

  constructor(driver: Driver, bytes: number) {
    this.driver = driver;
    this.address = driver.make('cuMemHostAlloc', bytes, 0);
    this.bytes = memoryView(this.address, bytes);
  }

  /** `bytes` must not be used any more. */
  [Symbol.dispose](): void {
    this.driver.call('cuMemFreeHost', this.address);
  }
}

/** What was enqueued while it was captured, as one piece of work. */
export class Graph {
  private readonly handle: number;
  private readonly driver: Driver;
  private readonly stream: Stream;

  /**
   * Nothing of what `work` enqueues is done; `replay` does it.
   * @throws what `work` throws; DriverError when the driver gave the capture up
   */
  constructor(driver: Driver, stream: Stream, work: () => void) {
    this.driver = driver;
    this.stream = stream;
    driver.call('cuStreamBeginCapture_v2', stream.handle, CAPTURE.threadLocal);
    try {
      work();
    } catch (error) {
      abandonCapture(driver, stream);
      throw error;
    }
    const graph = endCapture(driver, stream);
    try {
      this.handle = driver.make('cuGraphInstantiateWithFlags', graph, 0);
    } finally {
      driver.call('cuGraphDestroy', graph);
    }
  }

  /** Enqueues all of it. */
  replay(): void {
    this.driver.call('cuGraphLaunch', this.handle, this.stream.handle);
  }

  [Symbol.dispose](): void {
    this.driver.call('cuGraphExecDestroy', this.handle);
  }
}

/** @returns the captured graph, which the caller destroys */
function endCapture(driver: Driver, stream: Stream): number {
  const captured = new BigUint64Array(1);
  driver.call('cuStreamEndCapture', stream.handle, captured);
  return Number(captured[0]);
}

/** Ends a capture whose work has failed; that the driver has given it up already is no news. */
function abandonCapture(driver: Driver, stream: Stream): void {
  try {
    driver.call('cuGraphDestroy', endCapture(driver, stream));
  } catch (error) {
    if (!(error instanceof DriverError)) throw error;
  }
}

/** Runs `fn`, which makes a call that captures of this thread forbid and that does no harm to them: an allocation. */
export function duringCapture<T>(driver: Driver, fn: () => T): T {
  const mode = Int32Array.of(CAPTURE.relaxed);
  driver.call('cuThreadExchangeStreamCaptureMode', mode);
  try {
    return fn();
  } finally {
    driver.call('cuThreadExchangeStreamCaptureMode', mode);
  }
}
