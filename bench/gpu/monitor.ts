// The card's clock, power and temperature while an item runs, from one nvidia-smi that prints a line every 100 ms.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

interface Sample {
  at: number;
  numbers: readonly number[];
}

const FIELDS = ['clocks.sm', 'power.draw', 'temperature.gpu'];
const NAMES = ['megahertz', 'watts', 'celsius'];
const INTERVAL_MS = 100;

export class CardMonitor {
  private samples: Sample[] = [];
  private readonly child: ChildProcess;
  /** Why there are no samples. */
  absent: string | undefined;

  /** @param card its number or its UUID, for nvidia-smi */
  constructor(card: string) {
    const args = [
      `--query-gpu=${FIELDS.join(',')}`,
      '--format=csv,noheader,nounits',
      '-i',
      card,
      '-lms',
      `${INTERVAL_MS}`,
    ];
    this.child = spawn('nvidia-smi', args, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.child.on('error', (error: NodeJS.ErrnoException) => {
      this.absent = error.code === 'ENOENT' ? 'nvidia-smi is not installed' : error.message;
    });
    this.child.on('exit', (code) => {
      this.absent ??= `nvidia-smi ended with ${code}`;
    });
    if (this.child.stdout)
      createInterface({ input: this.child.stdout }).on('line', (line) => {
        const numbers = line.split(',').map(Number);
        this.samples.push({ at: performance.now(), numbers });
      });
  }

  /** Means over the samples since `start`, by performance.now(); forgets them. Empty if there are none. */
  since(start: number): Record<string, number> {
    const seen = this.samples.filter(({ at }) => at >= start);
    this.samples = [];
    const means = NAMES.map((name, i) => {
      const known = seen.map(({ numbers }) => numbers[i]).filter(Number.isFinite);
      return [name, known.reduce((sum, value) => sum + value, 0) / known.length] as const;
    });
    return Object.fromEntries(means.filter(([, mean]) => Number.isFinite(mean)));
  }

  close(): void {
    // Node sends signals for a child that did not start to a process id that was never set, often 0: this process and its group.
    if (this.child.pid !== undefined) this.child.kill('SIGKILL');
  }
}
