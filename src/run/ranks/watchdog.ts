// Ends a rank that waits for others for too long. Its main thread waits in a call of MPI, where neither timers nor signals run, so
// another thread looks at the clock. The launcher then ends the other ranks.
import { Worker } from 'node:worker_threads';
import { fromEnvironment } from '../../device/environment.ts';

/** Default seconds, those of PyTorch's process groups. */
const LIMIT = 600;

/** The thread's program, as a string so that it works in a bundle and from TypeScript sources too. */
const program = `
const { writeSync } = require('node:fs');
const { beat, title, unit, limit } = require('node:worker_threads').workerData;
let seen = -1;
let since = Date.now();
setInterval(() => {
  const step = Atomics.load(beat, 0);
  if (step !== seen || step < 0) {
    seen = step;
    since = Date.now();
  } else if (Date.now() - since > 1000 * limit) {
    const waited = Math.round((Date.now() - since) / 1000);
    writeSync(2, 'rectiflow: ' + title + ' has been in ' + unit + ' ' + step + ' for ' + waited + ' s: another rank hangs, or the network does. ' +
      'What was written before remains; RECTIFLOW_TIMEOUT is the limit in seconds\\n');
    process.kill(process.pid, 'SIGKILL');
  }
}, 200);
`;

export class Watchdog {
  /** The step or batch that is running, or -1 between two of them. */
  private readonly beat = new Int32Array(new SharedArrayBuffer(4)).fill(-1);
  private readonly worker: Worker;

  /**
   * @param title of the rank
   * @param unit what the numbers of `begin` count
   */
  constructor(title: string, unit: 'step' | 'batch' = 'step') {
    const limit = fromEnvironment('RECTIFLOW_TIMEOUT') ?? LIMIT;
    this.worker = new Worker(program, {
      eval: true,
      execArgv: [],
      workerData: { beat: this.beat, title, unit, limit },
    });
    this.worker.unref();
  }

  /** Starts the clock of a step, or of waiting for the others' batches. */
  begin(step: number): void {
    Atomics.store(this.beat, 0, step);
  }

  /** Stops it: what follows is not waiting for others. */
  end(): void {
    Atomics.store(this.beat, 0, -1);
  }

  [Symbol.dispose](): void {
    this.end();
    void this.worker.terminate();
  }
}
