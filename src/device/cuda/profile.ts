// The time of each kernel of recorded work: the graph gets an event after each of its kernels, so the times are taken on the card and
// the host's do not count.
import { Event } from '../native/cuda_handles.ts';
import type { Driver, Stream } from '../native/libcuda.ts';

export interface KernelTime {
  kernel: string;
  /** From the kernel before it to its end: the gap, and copies between the two, are included. */
  milliseconds: number;
}

/**
 * Median times of the kernels that `work` enqueues, in order.
 * @param record records work as a graph
 */
export function profile(
  driver: Driver,
  stream: Stream,
  record: (work: () => void) => Disposable & { replay(): void },
  work: () => void,
  replays: number,
): KernelTime[] {
  const marks: Event[] = [];
  const mark = () => {
    const event = new Event(driver, true);
    marks.push(event);
    event.recordInGraph(stream);
  };
  const kernels: string[] = [];
  const marked = () => {
    mark();
    stream.onLaunch = (name) => {
      kernels.push(name);
      mark();
    };
    try {
      work();
    } finally {
      stream.onLaunch = undefined;
    }
  };
  try {
    using graph = record(marked);
    const samples = Array.from({ length: replays }, () => {
      graph.replay();
      stream.wait();
      return kernels.map((_, i) => marks[i + 1].since(marks[i]));
    });
    return kernels.map((kernel, i) => {
      const sorted = samples.map((times) => times[i]).sort((a, b) => a - b);
      return { kernel, milliseconds: sorted[Math.floor(replays / 2)] };
    });
  } finally {
    for (const event of marks) event[Symbol.dispose]();
  }
}
