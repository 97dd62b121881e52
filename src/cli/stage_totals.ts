// The progress of a whole chain: which share of its estimated time is done, and how much time is left. The estimates
// are corrected by the time that the stages so far have taken.
import { describeDuration } from '../run/machine/resources.ts';
import { describeRange, type TimeEstimate, times, total } from '../run/machine/timing.ts';

/** Seconds of estimated work after which measured time corrects the estimates. */
const TRUSTED_SECONDS = 10;

export class StageTotals {
  private stages: readonly TimeEstimate[] = [];
  private readonly begun = performance.now();
  private index = 0;
  private share = 0;
  /** When the estimates were made, and the estimated seconds of what earlier sessions had done. */
  private since = this.begun;
  private earlier = 0;

  /** @param stages the estimate of each stage, in order */
  estimated(stages: readonly TimeEstimate[]): void {
    this.stages = stages;
    this.since = performance.now();
  }

  /** A stage begins: what the ones before it had to do is done. */
  begin(index: number): void {
    this.index = index;
    this.share = 0;
  }

  /** The present stage resumes. @param share how much of it an earlier session has done, 0 to 1 */
  resume(share: number): void {
    this.earlier += share * (this.stages[this.index]?.seconds ?? 0);
  }

  /** @param share how much of the present stage is done, 0 to 1 */
  progress(share: number): void {
    this.share = Math.min(1, share);
  }

  /** Seconds since the chain began. */
  get elapsed(): number {
    return (performance.now() - this.begun) / 1000;
  }

  /** The share of the estimated time that is done, 0 to 1; undefined without estimates. */
  get done(): number | undefined {
    const { seconds } = total(this.stages);
    return seconds > 0 ? this.spent() / seconds : undefined;
  }

  /** The time that the rest is expected to take; undefined without estimates. */
  get left(): TimeEstimate | undefined {
    if (this.stages.length === 0) return undefined;
    const present = this.stages[this.index];
    const rest = total([times(present, 1 - this.share), ...this.stages.slice(this.index + 1)]);
    const spent = this.spent() - this.earlier;
    const seconds = (performance.now() - this.since) / 1000;
    return spent < TRUSTED_SECONDS ? rest : times(rest, seconds / spent);
  }

  /** "total 42 %"; empty without estimates. */
  describe(): string {
    return this.done === undefined ? '' : `total ${Math.floor(100 * this.done)} %`;
  }

  /** "40 s so far, 2 to 3 min left"; empty without estimates. */
  describeLeft(): string {
    const { left } = this;
    return left ? `${describeDuration(this.elapsed)} so far, ${describeRange(left)} left` : '';
  }

  /** Estimated seconds of the work that is done. */
  private spent(): number {
    const before = total(this.stages.slice(0, this.index)).seconds;
    return before + this.share * (this.stages[this.index]?.seconds ?? 0);
  }
}
