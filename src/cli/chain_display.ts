// What a chain shows while it runs: the name of each stage, its progress, and the progress of the whole.

import type { StageEstimate } from '../run/chain/estimate.ts';
import type { ChainProgress } from '../run/chain/index.ts';
import type { TrainingStep } from '../run/checkpoints/training_step.ts';
import { describeEstimate, total } from '../run/machine/timing.ts';
import { type Progress, startProgress } from './progress.ts';
import { sayLine } from './screen.ts';
import { TrainingDisplay } from './shared.ts';
import { StageTotals } from './stage_totals.ts';

/** Shows one stage at a time. */
export class ChainDisplay {
  readonly totals = new StageTotals();
  readonly training = new TrainingDisplay(() => this.totals.describe());
  private bar: Progress | undefined;
  private title = '';

  /** Shows the estimate of the whole chain. */
  estimated(stages: readonly StageEstimate[]): void {
    this.totals.estimated(stages);
    sayLine([`all ${stages.length} stages: about ${describeEstimate(total(stages))}`]);
  }

  stage({ name, index, total: count }: { name: string; index: number; total: number }): void {
    this.stop();
    this.totals.begin(index);
    const left = this.totals.describeLeft();
    sayLine([
      ['bold', `stage ${index + 1} of ${count}: ${name}`],
      ['dim', left && `  ${left}`],
    ]);
  }

  step(step: TrainingStep): void {
    if (!this.training.active) this.totals.resume(step.step / step.total);
    this.totals.progress((step.step + 1) / step.total);
    this.training.onStep(step);
  }

  progress(progress: ChainProgress): void {
    const { done, total: count, of } = progress;
    if (of || progress.what !== 'statistics of the data set') this.totals.progress(of?.share ?? done / count);
    const title = titleOf(progress);
    if (title !== this.title) this.endBar();
    this.title = title;
    this.bar ??= startProgress(title, count, () => this.totals.describe());
    this.bar.update(done, '');
    if (done === count) this.endBar();
  }

  stop(): void {
    this.training.stop();
    this.endBar();
  }

  private endBar(): void {
    this.bar?.stop();
    this.bar = undefined;
  }
}

/** "pairs", or "samples: 1-rectified flow, N = 4 (3 of 18)". */
function titleOf({ what, of }: ChainProgress): string {
  if (!of) return what;
  const sampler = of.sampler === 'rk45' ? 'RK45' : `N = ${of.sampler}`;
  return `${what}: ${of.flow}, ${sampler} (${of.index + 1} of ${of.count})`;
}
