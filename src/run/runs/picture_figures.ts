// Figures of images: samples of each flow with each sampler from the same noise, and paths. A report stores both.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { FileError } from '../../errors.ts';
import { asFileError, readWhole } from '../../io/file.ts';
import { encodePng, imageGrid, readNpz } from '../../io/index.ts';
import { parseJsonFile } from '../../io/json.ts';
import { evaluationName } from '../checkpoints/find.ts';
import { type Drawing, pathPlot, reachOf, type Shape, textWidth } from '../plot/index.ts';
import { PATHS_FILE, samplerName } from '../report/measure.ts';
import { PLANE_PATHS_FILE } from '../report/plane.ts';
import type { FigureStyle } from './figure.ts';
import { type RunFacts, readReport, readRun, reportLine } from './read.ts';

/** A row of images with a name at its left. */
interface Row {
  label: string;
  /** u8 [n, H, W, C] */
  data: Uint8Array;
  shape: readonly number[];
}

interface Block {
  title: string;
  /** Names above the columns. */
  columns?: readonly string[];
  rows: readonly Row[];
}

export async function gridFigure(folder: string, style: FigureStyle): Promise<Drawing> {
  const blocks: Block[] = [];
  for (const run of await readRun(folder)) {
    const { place, seed } = await storedBy(run, folder);
    const rows: Row[] = [];
    for (const { name, label } of runsIn(place, seed, run)) {
      const samples = await imagesOf(join(place, name, 'samples_0.npz'), 'samples', 4);
      const [count, ...image] = samples.shape;
      const shown = Math.min(count, style.columns);
      const size = image.reduce((a, b) => a * b, 1);
      rows.push({ label, data: samples.data.subarray(0, shown * size), shape: [shown, ...image] });
    }
    if (rows.length > 0) blocks.push({ title: titleOf(run), rows });
  }
  if (blocks.length === 0) throw missing(folder);
  return pictureFigure(blocks, style, 'Samples from the same noise');
}

/** The folder of what a report stored of a run, and the seed of its samples. */
async function storedBy(run: RunFacts, folder: string): Promise<{ place: string; seed: number }> {
  const report = run.report ?? (await readReport(folder));
  if (report === undefined || run.figures === undefined) throw missing(folder);
  const name = evaluationName(run.figures.checkpoint);
  return { place: join(run.folder, run.config.eval.folder, name), seed: report.seed };
}

function missing(folder: string): FileError {
  return new FileError(folder, `has no samples of a report; write it first: ${reportLine(folder)}`);
}

function titleOf({ name, figures }: RunFacts): string {
  return figures?.name ?? name;
}

/** The samplers whose samples a report stored, fewest steps first. A generator distilled to k steps is meant for k only. */
function runsIn(place: string, seed: number, { figures }: RunFacts): { name: string; label: string }[] {
  if (!existsSync(place)) return [];
  let names: string[];
  try {
    names = readdirSync(place);
  } catch (error) {
    throw asFileError(place, error);
  }
  const found = names.flatMap((name) => {
    const [, solver, amount, own] = /^(euler|rk45)-([\d.e-]+)-(\d+)$/.exec(name) ?? [];
    if (Number(own) !== seed || (solver === 'euler' && figures?.fd[amount] === undefined && hasScores(figures)))
      return [];
    const order = solver === 'rk45' ? Number.POSITIVE_INFINITY : Number(amount);
    return [{ name, order, label: samplerName(solver === 'rk45' ? solver : amount) }];
  });
  const steps = figures?.straightness_steps;
  const meant = found.filter(({ order }) => steps === undefined || steps === 100 || order === steps);
  return meant.sort((a, b) => a.order - b.order);
}

function hasScores(figures: RunFacts['figures']): boolean {
  return Object.keys(figures?.fd ?? {}).length > 0;
}

export async function pathsFigure(folder: string, style: FigureStyle): Promise<Drawing> {
  if (existsSync(join(folder, PLANE_PATHS_FILE))) return planeFigure(join(folder, PLANE_PATHS_FILE), style);
  const blocks: Block[] = [];
  for (const run of await readRun(folder)) {
    if (run.figures === undefined) continue;
    const { place } = await storedBy(run, folder);
    const path = join(place, PATHS_FILE);
    if (!existsSync(path)) throw missing(folder);
    const [points, ends] = [await imagesOf(path, 'points', 5), await imagesOf(path, 'ends', 5)];
    const [times, count, ...image] = points.shape;
    if (String(ends.shape) !== String(points.shape))
      throw new FileError(path, 'holds points and ends of different shapes');
    const size = image.reduce((a, b) => a * b, 1);
    const rowOf = (label: string, { data }: { data: Uint8Array }, sample: number): Row => {
      const row = new Uint8Array(times * size);
      for (let t = 0; t < times; t++) {
        const from = (t * count + sample) * size;
        row.set(data.subarray(from, from + size), t * size);
      }
      return { label, data: row, shape: [times, ...image] };
    };
    const rows = Array.from({ length: Math.min(count, PATHS) }, (_, sample) => [
      rowOf('point', points, sample),
      rowOf('line', ends, sample),
    ]);
    const columns = Array.from({ length: times }, (_, t) => String(Number((t / (times - 1)).toFixed(2))));
    blocks.push({ title: titleOf(run), columns, rows: rows.flat() });
  }
  if (blocks.length === 0) throw missing(folder);
  return pictureFigure(
    blocks,
    style,
    'Paths from noise to an image, and where a straight line from each point would end',
  );
}

/** Paths of a flow that are drawn. */
const PATHS = 2;
/** Bytes of an array that is read: far more than a report stores. */
const MAX_ARRAY = 2 ** 28;

async function imagesOf(
  path: string,
  name: string,
  dims: number,
): Promise<{ data: Uint8Array; shape: readonly number[] }> {
  const array = (await readNpz(path, { names: [name] })).get(name);
  const { data, shape = [] } = array ?? {};
  const channels = shape.at(-1);
  if (!(data instanceof Uint8Array) || shape.length !== dims || shape.includes(0) || (channels !== 1 && channels !== 3))
    throw new FileError(path, `does not hold images u8 named ${name}`);
  if (data.length > MAX_ARRAY) throw new FileError(path, `holds ${data.length} bytes, more than a report stores`);
  return { data, shape };
}

/** Blocks of rows of images, below each other. */
async function pictureFigure(blocks: readonly Block[], style: FigureStyle, what: string): Promise<Drawing> {
  const { theme, width } = style;
  const em = theme.fontSize;
  const labels = Math.max(...blocks.flatMap(({ rows }) => rows.map(({ label }) => textWidth(label, em)))) + em;
  const columns = Math.max(...blocks.flatMap(({ rows }) => rows.map(({ shape }) => shape[0])));
  const pitch = (width - labels) / columns;
  const side = 0.95 * pitch;
  const shapes: Shape[] = [];
  const text = (words: string, x: number, y: number, anchor: 'start' | 'middle' | 'end', more = {}) =>
    shapes.push({ kind: 'text', text: words, at: [x, y], anchor, size: em, color: theme.text, ...more });
  let y = 0;
  for (const { title, columns: names, rows } of blocks) {
    text(title, 0, y + 1.1 * em, 'start', { bold: true });
    y += 1.7 * em;
    for (const [i, name] of (names ?? []).entries())
      text(i === 0 ? `t = ${name}` : name, labels + i * pitch + side / 2, y + 0.9 * em, 'middle', {
        color: theme.muted,
      });
    if (names) y += 1.4 * em;
    for (const { label, data, shape } of rows) {
      const [count, h, w, c] = shape;
      const high = (side * h) / w;
      text(label, 0, y + high / 2 + 0.35 * em, 'start');
      for (let i = 0; i < count; i++) {
        const one = imageGrid(data.subarray(i * h * w * c, (i + 1) * h * w * c), [1, h, w, c]);
        const png = await encodePng(one);
        shapes.push({
          kind: 'image',
          png,
          at: [labels + i * pitch, y],
          width: side,
          height: high,
          description: `${title}, ${label}`,
        });
      }
      y += high + 0.05 * pitch;
    }
    y += 0.6 * em;
  }
  return {
    width,
    height: y - 0.6 * em,
    description: `${what}: ${blocks.map(({ title }) => title).join(', ')}.`,
    font: theme.font,
    shapes,
  };
}

const MAX_JSON = 2 ** 25;

/** Paths in the plane, a plot for each flow, next to each other as far as they fit. */
async function planeFigure(path: string, { theme, width }: FigureStyle): Promise<Drawing> {
  const { flows, data } = parsePaths(parseJsonFile(await readWhole(path, MAX_JSON), path), path);
  const gap = theme.fontSize;
  const across = Math.max(1, Math.min(flows.length, Math.floor(width / (12 * theme.fontSize))));
  const size = (width - gap * (across - 1)) / across;
  const reach = reachOf(data, ...flows.flatMap(({ points }) => points));
  const plots = flows.map(({ name, points }) =>
    pathPlot(points, { theme, title: name, background: data, reach, size }),
  );
  const height = plots[0].height;
  const shapes = plots.flatMap((plot, i) =>
    plot.shapes.map((shape) => moved(shape, (i % across) * (size + gap), Math.floor(i / across) * (height + gap))),
  );
  const rows = Math.ceil(plots.length / across);
  const description = plots.map((plot) => plot.description).join(' ');
  return { width, height: rows * (height + gap) - gap, description, font: theme.font, shapes };
}

function moved(shape: Shape, right: number, down: number): Shape {
  if (shape.kind === 'line' || shape.kind === 'dots')
    return { ...shape, points: shape.points.map(([x, y]) => [x + right, y + down] as const) };
  return { ...shape, at: [shape.at[0] + right, shape.at[1] + down] };
}

interface PlanePaths {
  flows: { name: string; points: Float32Array[] }[];
  data: Float32Array;
}

/** Checks the contents of a file of paths. @throws FileError */
function parsePaths(value: unknown, path: string): PlanePaths {
  const fault = new FileError(path, 'does not hold the paths of a report; write it again');
  if (typeof value !== 'object' || value === null) throw fault;
  const { flows, data } = value as { flows?: unknown; data?: unknown };
  const points = (list: unknown): Float32Array => {
    if (!Array.isArray(list) || list.length % 2 !== 0 || !list.every((number) => typeof number === 'number'))
      throw fault;
    return Float32Array.from(list as number[]);
  };
  if (!Array.isArray(flows) || flows.length === 0) throw fault;
  return {
    data: points(data),
    flows: flows.map((flow: { name?: unknown; points?: unknown } | null) => {
      if (typeof flow?.name !== 'string' || !Array.isArray(flow.points) || flow.points.length < 2) throw fault;
      const stops = flow.points.map(points);
      if (stops[0].length === 0 || stops.some(({ length }) => length !== stops[0].length)) throw fault;
      return { name: flow.name, points: stops };
    }),
  };
}
