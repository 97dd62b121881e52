// Owned handles of the CUDA driver: events, pinned host memory, graphs.
import { type Driver, DriverError, type Stream } from './libcuda.ts';
import { memoryView } from './loader.ts';

/** Values of CUstreamCaptureMode: which calls a capture forbids, and on which threads. */
const CAPTURE = { threadLocal: 1, relaxed: 2 } as const;
const EVENT_WITHOUT_TIME = 2;
/** A value of CUevent_record_flags: in a capture, the event becomes a node of the graph, and each replay records it. */
const RECORD_EXTERNAL = 1;

/** An event in a stream, which the host or another stream can wait for. */
export class Event {
  readonly handle: number;
  private readonly driver: Driver;

  /** @param timed whether `since` will be called */
  constructor(driver: Driver, timed = false) {
    this.driver = driver;
    this.handle = driver.make('cuEventCreate', timed ? 0 : EVENT_WITHOUT_TIME);
  }

  record(stream: Stream): void {
    this.driver.call('cuEventRecord', this.handle, stream.handle);
  }

  /** While a graph is captured: records the event at this place in each replay. */
  recordInGraph(stream: Stream): void {
    this.driver.call('cuEventRecordWithFlags', this.handle, stream.handle, RECORD_EXTERNAL);
  }

  /** Blocks until all work before the event is done; returns at once if the event was not recorded yet. */
  wait(): void {
    this.driver.call('cuEventSynchronize', this.handle);
  }

  /** Makes work that is enqueued in `stream` from now on wait for the event. */
  hold(stream: Stream): void {
    this.driver.call('cuStreamWaitEvent', stream.handle, this.handle, 0);
  }

  /** Milliseconds on the card from `start` to this event; both must have completed. */
  since(start: Event): number {
    const milliseconds = new Float32Array(1);
    this.driver.call('cuEventElapsedTime', milliseconds, start.handle, this.handle);
    return milliseconds[0];
  }

  [Symbol.dispose](): void {
    this.driver.call('cuEventDestroy_v2', this.handle);
  }
}

/** Pinned host memory, from which the card copies asynchronously. */
export class PinnedMemory {
  readonly bytes: Uint8Array;
  private readonly address: number;
  private readonly driver: Driver;

  constructor(driver: Driver, bytes: number) {
    this.driver = driver;
    this.address = driver.make('cuMemHostAlloc', bytes, 0);
    this.bytes = memoryView(this.address, bytes);
  }

  /** `bytes` must not be used afterwards. */
  [Symbol.dispose](): void {
    this.driver.call('cuMemFreeHost', this.address);
  }
}

/** Captured work as one executable graph. */
export class Graph {
  private readonly handle: number;
  private readonly driver: Driver;
  private readonly stream: Stream;

  /**
   * Captures what `work` enqueues without running it; `replay` runs it.
   * @throws what `work` throws; DriverError if the driver invalidated the capture
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

  /** Enqueues the whole graph. */
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

/** Ends a capture whose work has failed; the driver may have invalidated it already. */
function abandonCapture(driver: Driver, stream: Stream): void {
  try {
    driver.call('cuGraphDestroy', endCapture(driver, stream));
  } catch (error) {
    if (!(error instanceof DriverError)) throw error;
  }
}

/** Runs `fn`, which makes a call that captures forbid although it is harmless to them, such as an allocation. */
export function duringCapture<T>(driver: Driver, fn: () => T): T {
  const mode = Int32Array.of(CAPTURE.relaxed);
  driver.call('cuThreadExchangeStreamCaptureMode', mode);
  try {
    return fn();
  } finally {
    driver.call('cuThreadExchangeStreamCaptureMode', mode);
  }
}
