// A queue of jobs for a device, which runs one at a time.

/** Runs one job at a time, in order of arrival. At most `limit` jobs wait. */
export class JobQueue {
  readonly limit: number;
  private readonly jobs: (() => Promise<void>)[] = [];
  private working: Promise<void> | undefined;
  private lastSeconds = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Number of waiting jobs, without the running one. */
  get waiting(): number {
    return this.jobs.length;
  }

  get busy(): boolean {
    return this.working !== undefined;
  }

  get full(): boolean {
    return this.busy && this.jobs.length >= this.limit;
  }

  /** Estimated seconds until there is room, 1 to 60: the duration of the last job. */
  get retrySeconds(): number {
    return Math.min(60, Math.max(1, Math.ceil(this.lastSeconds)));
  }

  /**
   * Runs a job after those before it. The queue must not be full.
   * @param signal removes a waiting job from the queue. A running job must watch the signal itself; it blocks the queue
   * until it ends
   * @throws the signal's reason immediately when aborted; any error of the job
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

  /** Resolves when no job is running. */
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
