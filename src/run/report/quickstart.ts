// The quickstart's page: loss, samples per number of steps, straightness.
import { writeFileAtomic } from '../../io/index.ts';
import type { Config } from '../config/schema.ts';
import { provenance } from '../provenance.ts';
import { figure, page, paragraph, row, section, table } from './html.ts';
import { linePlot } from './svg.ts';

export interface SampleRow {
  label: string;
  /** Evaluations of the velocity per sample. */
  nfe: number;
  /** Share of samples that are as near to a training digit as real held-out digits are. */
  digits: number;
  /** To the held-out digits, over pixels in [-1, 1]. */
  energyDistance: number;
  imagesPerSecond: number;
  png: Uint8Array;
}

export interface Judgement {
  rows: SampleRow[];
  straightness: number;
  /** Distance to the nearest training digit that 95 % of the held-out digits keep. */
  threshold: number;
  /** How many digits were held out. */
  heldOut: number;
}

export interface QuickstartFacts extends Judgement {
  config: Config;
  seed: number;
  losses: readonly number[];
  parameters: number;
  trainSeconds: number;
  seconds: number;
}

export async function writeQuickstartReport(path: string, facts: QuickstartFacts): Promise<void> {
  const { config, losses, rows } = facts;
  const { version, revision, created } = provenance();
  const points = losses.map((loss, step) => [step, loss] as const);
  const html = page(
    'Rectified flow on handwritten digits',
    paragraph(
      `A 1-rectified flow: a network of ${facts.parameters.toLocaleString('en')} parameters learned the velocity that ` +
        `carries Gaussian noise (t = 0) to digits (t = 1) in ${losses.length} steps of batch ` +
        `${config.training.batch_size}. Its paths are not yet straight, so one Euler step is mush and ten steps are digits; ` +
        'reflow straightens them.',
    ),
    section(
      'Samples from the same noise',
      row(...rows.map(({ label, nfe, png }) => figure(png, `${label} (NFE ${nfe})`))),
      table(
        ['sampler', 'NFE', 'nearest training digit within reach', 'energy distance', 'images/s'],
        rows.map(({ label, nfe, digits, energyDistance, imagesPerSecond }) => [
          label,
          nfe,
          `${(100 * digits).toFixed(1)} %`,
          energyDistance.toFixed(4),
          Math.round(imagesPerSecond),
        ]),
      ),
      paragraph(
        `Within reach: the distance to the nearest training digit is at most ${facts.threshold.toFixed(3)}, which 95 % of ` +
          `${facts.heldOut} real held-out digits keep; a blurred digit passes too. Energy ` +
          'distance: between the samples and the held-out digits, 0 when their laws are equal; it sees blur and missing kinds. ' +
          'Straightness E||(Z1 - Z0) - v||^2 over 100 Euler steps, mean per dimension: ' +
          `${facts.straightness.toFixed(4)} (0 is straight).`,
      ),
    ),
    section(
      'Training loss',
      linePlot(
        [
          { label: 'batch', points },
          { label: 'mean of 25', points: smooth(losses, 25) },
        ],
        {
          title: 'mean squared error of the velocity',
          xLabel: 'step',
          yLabel: 'loss',
        },
      ),
    ),
    section(
      'How it was made',
      table(
        ['what', 'value'],
        [
          ['command', 'rectiflow quickstart'],
          ['seed', facts.seed],
          ['training', `${facts.trainSeconds.toFixed(1)} s`],
          ['everything', `${facts.seconds.toFixed(1)} s`],
          ['version', `${version} (${revision})`],
          ['date', created],
          ['data', 'UCI Optical Recognition of Handwritten Digits, E. Alpaydin, C. Kaynak, 1998, CC BY 4.0'],
        ],
      ),
      `<details><summary>configuration</summary><pre>${JSON.stringify(config, null, 1).replaceAll('<', '&lt;')}</pre></details>`,
    ),
  );
  await writeFileAtomic(path, [Buffer.from(html)]);
}

/** Means of `width` successive values, at the last one's step. */
function smooth(values: readonly number[], width: number): [number, number][] {
  const means: [number, number][] = [];
  let sum = 0;
  values.forEach((value, i) => {
    sum += value - (i >= width ? values[i - width] : 0);
    if (i >= width - 1) means.push([i, sum / width]);
  });
  return means;
}
