// What a report shows first: samples in the fewest steps, a row for each flow, and its progress.
import { type Image, imageGrid } from '../../io/index.ts';
import type { Config } from '../config/types.ts';
import type { ReportProgress } from './index.ts';
import { evaluationsBySampler, type MeasuredFlow, type ReportedFlow } from './measure.ts';

export interface FlowSamples {
  /** Name of the flow. */
  name: string;
  /** Number of Euler steps. */
  steps: number;
  /** u8 of `shape` [N, H, W, C]. */
  images: Uint8Array;
  shape: readonly number[];
}

/** Most samples in a row of the picture, and its least width in pixels. */
const COLUMNS = 12;
const LEAST_WIDTH = 640;

/** The samples of a flow in one step or, if it was distilled to more, in those. */
export function fewestSteps({ flow, rows }: MeasuredFlow): FlowSamples {
  const wanted = String(flow.distilledTo ?? 1);
  const { sampler, first } = rows.find((row) => row.sampler === wanted) ?? rows[0];
  return { name: flow.name, steps: Number(sampler), ...first };
}

/** A row of samples for each flow, below each other. */
export function samplesPicture(samples: readonly FlowSamples[]): Image {
  const [{ shape }] = samples;
  const [count, ...image] = shape;
  const columns = Math.min(COLUMNS, count);
  const size = image.reduce((product, length) => product * length, 1);
  const whole = new Uint8Array(samples.length * columns * size);
  samples.forEach(({ images }, row) => {
    whole.set(images.subarray(0, columns * size), row * columns * size);
  });
  const scale = Math.max(1, Math.ceil(LEAST_WIDTH / (columns * image[1])));
  return imageGrid(whole, [samples.length * columns, ...image], { columns, padding: 1, scale });
}

/** Counts the samples of all flows and samplers as one piece of work. */
export class SamplesProgress {
  private readonly work: { flow: ReportedFlow; sampler: string; evaluations: number }[];
  private readonly tell: ((progress: ReportProgress) => void) | undefined;

  constructor(flows: readonly ReportedFlow[], config: Config, tell?: (progress: ReportProgress) => void) {
    this.work = flows.flatMap((flow) =>
      Object.entries(evaluationsBySampler(config, flow.distilledTo)).map(([sampler, evaluations]) => ({
        flow,
        sampler,
        evaluations,
      })),
    );
    this.tell = tell;
  }

  /** The callback for the samples of one flow. */
  of(flow: ReportedFlow): (done: number, total: number, sampler: string) => void {
    const sum = (parts: typeof this.work) => parts.reduce((all, { evaluations }) => all + evaluations, 0);
    return (done, total, sampler) => {
      const index = this.work.findIndex((part) => part.flow === flow && part.sampler === sampler);
      const before = sum(this.work.slice(0, index));
      const share = (before + (done / total) * this.work[index].evaluations) / sum(this.work);
      const of = { flow: flow.name, sampler, index, count: this.work.length, share };
      this.tell?.({ what: 'samples', done, total, of });
    };
  }
}
