// What a report says of a run, in words that fit its kind: title, introduction and the numbers that sum it up.
import type { Config } from '../config/types.ts';
import { count, duration, figuresText, percent, plural, type ReportFigures } from './figures.ts';
import type { MeasuredFlow, ReportedFlow } from './measure.ts';
import { samplerName } from './measure.ts';
import { isMeant } from './plots.ts';

const subjects: Record<Config['data']['dataset'], string> = {
  DIGITS: 'handwritten digits',
  PROMPTS: 'pictures of texts',
  CIFAR10: 'CIFAR-10 images',
  MNIST: 'MNIST digits',
  'CelebA-HQ-Pytorch': 'CelebA-HQ faces',
  'AFHQ-CAT-Pytorch': 'AFHQ cats',
  LSUN: 'LSUN pictures',
  FOLDER: 'images of a folder',
};

export function titleOf({ data }: Config): string {
  return `Rectified flow: ${subjects[data.dataset]} from noise`;
}

export function introduction(flows: readonly ReportedFlow[], parameters: number | undefined, { data }: Config): string {
  const size = parameters === undefined ? '' : ` with ${count(parameters)} parameters`;
  const networks =
    flows.length === 1 ? `A neural network${size} learned` : `${flows.length} neural networks${size} each learned`;
  return (
    `${networks} to turn random noise into ${data.image_size}x${data.image_size} images like those of a data set. ` +
    'An image starts as noise and moves along a path, in steps. Each step costs one evaluation of the network, so a ' +
    'generator that needs fewer steps is faster.'
  );
}

/** What each flow is. */
export function describeFlow({ name, source, distilledTo }: ReportedFlow): readonly [term: string, text: string] {
  if (distilledTo !== undefined)
    return [name, `learned to reach the end of a flow's path in ${plural(distilledTo, 'step')} (distillation).`];
  if (source === 'pairs')
    return [
      name,
      'learned from pairs of noise and image that another flow connects (reflow), which straightens paths.',
    ];
  return [name, 'learned from the images of the data set, each paired with random noise.'];
}

/** Which captions the images of a strip have. */
export function captionWords(captions: readonly string[]): string {
  const quoted = captions.map((caption) => `"${caption}"`);
  return `The network was given a caption for each image. Row by row, they are in turn: ${quoted.join(', ')}.`;
}

/** How to read the shares of captions. @param accuracy of the reader on real images, 0 to 1 */
export function explainReading(accuracy: number): string {
  return (
    'Caption read right: the share of the samples in which a classifier reads the class of their caption. It was trained on ' +
    `other images than the flows, and it reads ${percent(accuracy)} of the images right that the flows were trained on.`
  );
}

/** A few numbers that sum up a report. */
export function highlights(
  flows: readonly MeasuredFlow[],
  { heldOut, features, reader }: ReportFigures,
): [string, string][] {
  if (!features || flows.length === 0) return [];
  const all = flows.flatMap(({ flow, rows }) =>
    rows
      .filter(({ sampler }) => isMeant(flow, sampler))
      .map((row) => ({ ...row, name: flow.name, distance: row.distance as number })),
  );
  const least = (rows: typeof all) => rows.reduce((a, b) => (b.distance < a.distance ? b : a));
  const oneStep = all.filter(({ sampler }) => sampler === '1');
  const best = least(all);
  const metric = distanceName(features);
  // The last one where several are equal: it is the generator that a chain makes.
  const read = oneStep.reduce<(typeof all)[number] | undefined>(
    (best, row) => (row.read !== undefined && row.read >= (best?.read ?? 0) ? row : best),
    undefined,
  );
  return [
    ...(reader && read
      ? [[percent(read.read as number), `of captions read right with 1 step, ${read.name}`] as [string, string]]
      : []),
    ...(oneStep.length > 0
      ? [[figuresText(least(oneStep).distance), `${metric} with 1 step, ${least(oneStep).name}`] as [string, string]]
      : []),
    ...(oneStep.includes(best)
      ? []
      : [
          [figuresText(best.distance), `best ${metric}: ${best.name}, ${samplerName(best.sampler)}`] as [
            string,
            string,
          ],
        ]),
    ...(heldOut
      ? [[figuresText(heldOut.fd), `${metric} of ${count(heldOut.images)} real images`] as [string, string]]
      : []),
  ];
}

/** The time of a run's stages, as far as it is known. */
export function timeTile(stages: readonly { seconds?: number }[]): [string, string][] {
  const known = stages.flatMap(({ seconds }) => (seconds === undefined ? [] : [seconds]));
  if (known.length === 0) return [];
  const label =
    stages.length === 1
      ? 'in training'
      : known.length === stages.length
        ? 'for all stages'
        : 'for the steps of training';
  return [[duration(known.reduce((sum, seconds) => sum + seconds, 0)), label]];
}

/** What the distance is called: FID in Inception's features only. */
export function distanceName(features: string): string {
  return features === 'inception' ? 'FID' : 'Frechet distance';
}

/** How to read the distances of a page. */
export function explainDistance({ features, samples, heldOut, reader }: ReportFigures): string {
  if (!features)
    return 'There are no distances, because their features or data were not available; the command said why.';
  const name = distanceName(features);
  return (
    `${name}: how far ${plural(samples, 'sample')} are, as a group, from the training images, in the features ` +
    `"${features}". Smaller is better.` +
    (heldOut
      ? ` ${plural(heldOut.images, 'real image')} that no ${reader ? 'flow' : 'network'} was trained on ${heldOut.images === 1 ? 'is' : 'are'} at ` +
        `${figuresText(heldOut.fd)}, about the lowest that a generator can be expected to reach.`
      : '') +
    (features === 'inception' ? '' : ' It is not an FID: compare it only with distances in the same features.')
  );
}
