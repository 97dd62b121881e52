// The section of a report on a domain transfer: pictures and figures of both directions.
import { sizeOf } from '../../tensor/shape.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { figuresText, mean, percent, plural } from './figures.ts';
import { type Cell, figure, htmlTable, panel, panels, paragraph, type Section, section } from './html.ts';
import { samplerName } from './measure.ts';
import { pathsPicture, strip } from './pictures.ts';
import type { Direction, MeasuredTransfer, TransferDirection, TransferFigures, TransferRow } from './transfer.ts';

const words: Record<Direction, string> = { forward: 'source to target', reverse: 'target to source' };

/** The section, or one without content for other reports. */
export async function transferSection(transfers: readonly MeasuredTransfer[], config: Config): Promise<Section> {
  if (transfers.length === 0) return section('Transfer');
  const blocks: string[] = [];
  for (const { figures, pictures } of transfers)
    for (const direction of ['forward', 'reverse'] as const)
      blocks.push(await sheet(figures, pictures[direction], direction, config));
  const tables = (['forward', 'reverse'] as const).flatMap((direction) => tableOf(transfers, direction));
  return section(
    'Transfer',
    paragraph(
      'Held-out images go along the paths of the flow to the other domain, forwards from the source to the target or backwards. ' +
        'Images in the same place begin with the same image. The last strip has the training image that is nearest to what RK45 gives: a ' +
        'flow that only remembers would show it. Paths back begin with an image of the target; the lower row of each has the ends of straight ' +
        'lines from there.',
    ),
    panels(...blocks),
    ...tables,
    paragraph(explain(transfers.map(({ figures }) => figures))),
  );
}

async function sheet(
  { name, ...directions }: TransferFigures,
  { starts, ends, nearest, paths }: MeasuredTransfer['pictures'][Direction],
  direction: Direction,
  config: Config,
): Promise<string> {
  const from = `held-out images, ${words[direction]}`;
  const rows: string[] = [figure(await strip(starts, config, from), 'Held-out images')];
  for (const [sampler, images] of Object.entries(ends)) {
    const { fd } = directions[direction].rows[sampler];
    const detail = fd === undefined ? '' : `distance ${figuresText(fd)}`;
    const what = `images of the ${name}, ${words[direction]}, ${samplerName(sampler)}`;
    rows.push(figure(await strip(images, config, what), samplerName(sampler), detail));
  }
  rows.push(figure(await strip(nearest, config, 'nearest training images'), 'Nearest training images'));
  if (paths) {
    const picture = await pathsPicture(paths, config, {
      paths: paths.points[0].length / sizeOf(imageShape(config)),
      name,
      back: true,
    });
    rows.push(figure(picture, 'Paths back', 't = 1, 0.8, ..., 0'));
  }
  return panel(`${name}, ${words[direction]}`, ...rows);
}

const number = (value: number | undefined, text = figuresText): Cell => ({
  number: value === undefined ? '–' : text(value),
});

/** What a row of a table takes from a number of steps. */
const measures: readonly [string, (row: TransferRow) => number | undefined, typeof figuresText][] = [
  ['Distance to the training images', ({ fd }) => fd, figuresText],
  ['Class kept', ({ class_kept }) => class_kept, percent],
  ['Read as the other domain', ({ read_as_domain }) => read_as_domain, percent],
  ['Transport cost', ({ cost }) => cost, figuresText],
  ['PSNR against the start, dB', ({ psnr }) => psnr, figuresText],
  ['Squared distance to RK45', ({ to_rk45 }) => to_rk45, figuresText],
  ['Squared distance to the true image', ({ to_answer }) => to_answer, figuresText],
];

function tableOf(transfers: readonly MeasuredTransfer[], direction: Direction): string[] {
  const columns = transfers.flatMap(({ figures }) =>
    Object.entries(figures[direction].rows).map(([sampler, row]) => ({ name: figures.name, sampler, row })),
  );
  const rows = measures.flatMap(([what, value, text]): Cell[][] => {
    const values = columns.map(({ row }) => value(row));
    return values.every((one) => one === undefined) ? [] : [[what, ...values.map((one) => number(one, text))]];
  });
  const evaluations: Cell[] = ['Evaluations', ...columns.map(({ row }) => number(row.nfe, mean))];
  const first = transfers[0].figures[direction];
  return [
    htmlTable(
      `From ${words[direction]}, ${plural(first.images, 'held-out image')}`,
      ['measure', ...columns.map(({ name, sampler }) => `${name}, ${samplerName(sampler)}`)],
      [evaluations, ...rows],
    ),
    htmlTable(
      `From ${words[direction]}: what to compare with`,
      ['measure', ...transfers.map(({ figures }) => figures.name)],
      anchorsOf(transfers.map(({ figures }) => figures[direction])),
    ),
  ];
}

function anchorsOf(directions: readonly TransferDirection[]): Cell[][] {
  const row = (what: string, value: (one: TransferDirection) => number | undefined, text = figuresText): Cell[][] => {
    const values = directions.map(value);
    return values.every((one) => one === undefined) ? [] : [[what, ...values.map((one) => number(one, text))]];
  };
  return [
    ...row('Distance of real held-out images of the domain', ({ anchors }) => anchors?.own),
    ...row('Distance of the images that are transferred', ({ anchors }) => anchors?.other),
    ...row('Transport cost of random pairs', ({ random_cost }) => random_cost),
    ...row('Class of real held-out images read right', ({ own_class_read }) => own_class_read, percent),
    ...row('Class of the true images read right', ({ answers_read }) => answers_read, percent),
    ...row('Squared distance of the starts to the true images', ({ starts_to_answer }) => starts_to_answer),
    ...row('Squared distance after the way there and back', ({ cycle }) => cycle),
  ];
}

function explain(figures: readonly TransferFigures[]): string {
  const { forward } = figures[0];
  const [row] = Object.values(forward.rows);
  return [
    row.fd === undefined
      ? ''
      : 'Distances are Frechet distances to the training images of the domain that images come to, in features of a classifier that took no ' +
        'part in the transfer. Real held-out images give about the lowest that can be expected; images that are not moved at all, the highest.',
    'The transport cost is the mean squared change of a pixel: a rectified flow costs less than random pairs, and reflow never raises it ' +
      '(paper, theorem 3.5).',
    row.class_kept === undefined
      ? ''
      : 'Class kept: the share of images in which that classifier reads the class that they began with.',
    row.read_as_domain === undefined
      ? ''
      : 'Read as the other domain: by a classifier of the two domains that the flow never saw.',
    forward.starts_to_answer === undefined
      ? ''
      : 'The true image of each start is known here, because the target is the source changed by a rule. Training used none of these pairs.',
  ]
    .filter((text) => text !== '')
    .join(' ');
}
