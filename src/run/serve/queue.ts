// Jobs for a device, which does one at a time.

/** Does one job at a time, in the order in which they came; at most `limit` wait. */
export class JobQueue {
  readonly limit: number;
  private readonly jobs: (() => Promise<void>)[] = [];
  private working: Promise<void> | undefined;
  private lastSeconds = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** How many jobs wait; the one that is being done is not counted. */
  get waiting(): number {
    return this.jobs.length;
  }

  get busy(): boolean {
    return this.working !== undefined;
  }

  get full(): boolean {
    return this.busy && this.jobs.length >= this.limit;
  }

  /** Seconds until there may be room again, by the time that the last job took; from 1 to 60. */
  get retrySeconds(): number {
    return Math.min(60, Math.max(1, Math.ceil(this.lastSeconds)));
  }

  /**
   * Does the job when those before it are done. The queue must not be full.
   * @param signal takes a waiting job out of the queue. A job that runs watches it by itself, and keeps its place until it has ended
   * @throws the signal's reason at once when aborted; what the job throws
   */
  run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const job = async () => {
        signal.removeEventListener('abort', leave);
        signal.addEventListener('abort', giveUp, { once: true });
        try {
          resolve(await work());
        } catch (error) {
          reject(error);
        }
        signal.removeEventListener('abort', giveUp);
      };
      const giveUp = () => reject(signal.reason);
      const leave = () => {
        this.jobs.splice(this.jobs.indexOf(job), 1);
        giveUp();
      };
      signal.addEventListener('abort', leave, { once: true });
      this.jobs.push(job);
      this.working ??= this.work();
    });
  }

  /** Resolves when no job is being done. */
  async idle(): Promise<void> {
    await this.working;
  }

  private async work(): Promise<void> {
    for (let job = this.jobs.shift(); job; job = this.jobs.shift()) {
      const start = performance.now();
      await job();
      this.lastSeconds = (performance.now() - start) / 1000;
    }
    this.working = undefined;
  }
}
