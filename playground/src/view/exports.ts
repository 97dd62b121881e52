// Files that the page makes of what it shows.
import { applyPalette, GIFEncoder, quantize } from 'gifenc';
import { weightsOf } from '../engine/client.ts';
import type { Problem, Source } from '../model/settings.ts';
import * as store from '../model/store.ts';
import { inksOf, paint } from './paint.ts';
import { currentScene } from './scene.ts';
import { svgOf } from './svg.ts';

export interface Exporter {
  name: string;
  run: () => Promise<void>;
}

function save(name: string, parts: BlobPart[], type: string): void {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  const link = Object.assign(document.createElement('a'), { href: url, download: name });
  link.click();
  // The browser reads the file after this task.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function canvasOf(size: number): { canvas: HTMLCanvasElement; context: CanvasRenderingContext2D } {
  const canvas = Object.assign(document.createElement('canvas'), { width: size, height: size });
  return { canvas, context: canvas.getContext('2d', { willReadFrequently: true }) as CanvasRenderingContext2D };
}

async function png(): Promise<void> {
  const { canvas, context } = canvasOf(1200);
  context.scale(2, 2);
  paint(context, 600, currentScene(), inksOf(document.body));
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/png'));
  if (!blob) throw new Error('The browser could not make the picture.');
  save('rectiflow.png', [blob], 'image/png');
}

async function svg(): Promise<void> {
  save('rectiflow.svg', [svgOf(currentScene(), inksOf(document.body))], 'image/svg+xml');
}

/** Frames of the motion from source to target; the last one is held. */
const FRAMES = 40;
const HELD = 8;
const GIF_SIZE = 420;

/** The motion, for pictures that move. @throws Error without a flow */
function requirePaths(): void {
  if (!store.shownPaths.peek()) throw new Error('There is no flow to show yet: train one, or choose the kernel.');
}

async function gif(): Promise<void> {
  requirePaths();
  const { context } = canvasOf(GIF_SIZE);
  const inks = inksOf(document.body);
  const encoder = GIFEncoder();
  for (let frame = 0; frame <= FRAMES; frame++) {
    paint(context, GIF_SIZE, currentScene(frame / FRAMES), inks);
    const { data } = context.getImageData(0, 0, GIF_SIZE, GIF_SIZE);
    const palette = quantize(data, 128);
    const delay = frame === FRAMES ? 60 * HELD * 2 : 60;
    encoder.writeFrame(applyPalette(data, palette), GIF_SIZE, GIF_SIZE, { palette, delay });
    // The page stays alive between two frames.
    await new Promise((resolve) => setTimeout(resolve));
  }
  encoder.finish();
  save('rectiflow.gif', [encoder.bytes()], 'image/gif');
}

async function webm(): Promise<void> {
  requirePaths();
  if (typeof MediaRecorder === 'undefined')
    throw new Error('This browser cannot record video; export a GIF in its place.');
  const { canvas, context } = canvasOf(720);
  const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: 'video/webm', videoBitsPerSecond: 4e6 });
  const parts: Blob[] = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const stopped = new Promise((resolve) => {
    recorder.onstop = resolve;
  });
  const inks = inksOf(document.body);
  recorder.start();
  for (let frame = 0; frame <= FRAMES + HELD; frame++) {
    paint(context, 720, currentScene(Math.min(1, frame / FRAMES)), inks);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  recorder.stop();
  await stopped;
  save('rectiflow.webm', parts, 'video/webm');
}

async function json(): Promise<void> {
  const shown = store.shownPaths.peek();
  const clouds = store.clouds.peek();
  const list = (values: ArrayLike<number>, count = values.length / 2) =>
    Array.from({ length: count }, (_, i) => [values[2 * i], values[2 * i + 1]]);
  const paths = shown && {
    flow: shown.flow,
    velocity: shown.how.velocity,
    solver: shown.how.solver,
    times: [...shown.times],
    points: Array.from(shown.times, (_, k) =>
      list(shown.points.subarray(2 * k * shown.count, 2 * (k + 1) * shown.count)),
    ),
    oneStep: list(shown.first.map((v, i) => shown.points[i] + v)),
  };
  const data = {
    about: 'rectiflow playground: x, y in a plane from -15 to 15',
    source: clouds && list(clouds.from),
    target: clouds && list(clouds.to),
    paths,
    numbers: store.shownMeasures.peek(),
  };
  save('rectiflow.json', [`${JSON.stringify(data)}\n`], 'application/json');
}

async function weights(): Promise<void> {
  const flow = store.flow.peek();
  if (!flow || store.view.peek().velocity === 'kernel' || !store.states.peek()[flow])
    throw new Error('Choose a flow whose network has been trained; then its weights can be saved.');
  const { bytes } = await weightsOf(flow);
  save(`rectiflow_${flow}.safetensors`, [bytes as BlobPart], 'application/octet-stream');
}

/** A program for Node that does what the page did. */
export function programOf({ from, to, noise, coupling, seed, width, depth, rate, batch, l2, steps }: Problem): string {
  const flows = Object.keys(store.states.peek());
  const reflow = Math.max(0, flows.filter((flow) => flow !== 'distilled').length - 1);
  const source = (one: Source) =>
    'preset' in one
      ? `'${one.preset}'`
      : `{ points: ${JSON.stringify([...one.points].map((value) => Number(value.toFixed(3))))}, noise: ${noise} }`;
  const ends =
    coupling === 'listed' && 'points' in from && 'points' in to
      ? `given: { x0: ${source(from)}.points, x1: ${source(to)}.points }`
      : `from: ${source(from)}, to: ${source(to)}, coupling: '${coupling}'`;
  return `// What the playground did, on Node: npm install rectiflow, then node flow.mjs
import { openDevice } from 'rectiflow';
import { PlaneSession } from 'rectiflow/plane';

const device = await openDevice('wasm');
const session = new PlaneSession(
  {
    ${ends},
    seed: ${seed}, width: ${width}, depth: ${depth}, rate: ${rate}, batch: ${batch}, l2: ${l2}, steps: ${steps},
    reflow: ${reflow}, distil: ${flows.includes('distilled')},
  },
  { device },
);
await session.run();
for (const { name, figures } of session.flows)
  console.log(name, 'straightness', figures.straightness, 'cost', figures.cost, 'error by steps', figures.energy);
const { points } = session.paths(0, session.starts(300), { steps: 100 });
console.log('the first path ends at', points.at(-1).slice(0, 2));
session.dispose();
`;
}

async function program(): Promise<void> {
  save('flow.mjs', [programOf(store.problem.peek())], 'text/javascript');
}

export const exporters: Exporter[] = [
  { name: 'Picture, PNG', run: png },
  { name: 'Picture, SVG', run: svg },
  { name: 'Motion, GIF', run: gif },
  { name: 'Motion, WebM', run: webm },
  { name: 'Points and numbers, JSON', run: json },
  { name: 'Weights, safetensors', run: weights },
  { name: 'Program, JavaScript', run: program },
];
