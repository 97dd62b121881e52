// Makes the pictures of the README in docs/images, from the chain that `npm start` leaves and from flows in the plane that it
// trains itself. Nothing is chosen by hand: seeds and noise are those written here.
//   npm start && node scripts/pictures.js [--chain runs/quickstart] [--out docs/images] [--steps 8000]
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { concat, openDevice, reshape, tensor } from 'rectiflow';
import { samplePoints, toPixels } from 'rectiflow/data';
import { initialNoise, rectifiedFlowLoss, sample, trajectory } from 'rectiflow/flow';
import { imageGrid, writePng } from 'rectiflow/io';
import { Adam, MLP } from 'rectiflow/nn';
import { Pipeline } from 'rectiflow/run';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    chain: { type: 'string', default: join(root, 'runs/quickstart') },
    out: { type: 'string', default: join(root, 'docs/images') },
    steps: { type: 'string', default: '8000' },
  },
});
const { chain, out } = values;
const STEPS = Number(values.steps);
const SEED = 1;
const BATCH = 256;
const BLUE = '#2563eb';
const RED = '#dc2626';
const GREY = '#d1d5db';

mkdirSync(out, { recursive: true });
const device = await openDevice('cpu', { threads: 1 });

// Digits. All grids start from the same noise: the first one.
const COUNT = 36;
const grid = (pixels, shape) => imageGrid(pixels, shape, { columns: 6, padding: 1, scale: 4 });
async function digits(flow, steps, name) {
  const pipeline = await Pipeline.load(join(chain, flow), { device });
  const { pixels, shape } = await pipeline.sample({ count: COUNT, seed: SEED, sampler: 'euler', steps });
  pipeline.dispose();
  await writePng(join(out, `${name}.png`), grid(pixels, shape));
  return shape;
}
await digits('1_rectified_flow', 10, 'digits_10_steps');
await digits('1_rectified_flow', 1, 'one_step_1_rectified');
await digits('2_rectified_flow', 1, 'one_step_2_rectified');
const shape = await digits('2_rectified_flow_k=1_distill', 1, 'one_step_distilled');
const noise = await initialNoise(shape, { seed: SEED, device }).data();
await writePng(join(out, 'noise.png'), grid(toPixels(noise, { centered: true }), shape));

// Two moons: a flow, and its reflow on pairs of its own.
const SIZES = [3, 128, 128, 2];
const velocityOf = (network) => (x, t) => network.forward(concat([x, reshape(t, [-1, 1])], 1));
const points = (values) => tensor(values, { shape: [values.length / 2, 2], device });

async function train(network, steps, batch) {
  const learningRate = (step) => 1.5e-3 * (1 + Math.cos((Math.PI * step) / steps));
  const optimizer = new Adam(network, { learningRate, emaRate: 0.995 });
  for (let step = 0; step < steps; step++)
    optimizer.minimize(() => {
      const { x1, ...given } = batch(step);
      return rectifiedFlowLoss(velocityOf(network), x1, { seed: 0, first: BATCH * step, ...given });
    });
  const averaged = new MLP(SIZES);
  averaged.loadStateDict(new Map(optimizer.state('ema')));
  return averaged;
}

const first = await train(new MLP(SIZES), STEPS, (step) => ({
  x1: points(samplePoints('two_moons', BATCH, step)),
}));
const PAIRS = 80;
const starts = samplePoints('gaussian', PAIRS * BATCH, 7);
const { samples: ends } = await sample(velocityOf(first), {
  ...{ shape: [2], count: PAIRS * BATCH, seed: 0, latents: starts, solver: 'rk45', device },
});
const student = new MLP(SIZES);
student.loadStateDict(first.stateDict());
const second = await train(student, STEPS, (step) => {
  const at = 2 * BATCH * (step % PAIRS);
  const [x0, x1] = [starts, ends].map((all) => points(all.slice(at, at + 2 * BATCH)));
  return { x0, x1 };
});

const PATHS = 150;
const STOPS = 10;
const data = samplePoints('two_moons', 1000, 1e6);
const pathsOf = async (network, count, stops) =>
  (
    await trajectory(velocityOf(network), {
      ...{ shape: [2], count, seed: SEED, epsilon: 0, steps: 100, stops, device },
    })
  ).points;

// Drawings. Both axes show -REACH to REACH.
const REACH = 2.7;
const SIZE = 300;
const across = (x) => (((x / REACH + 1) * SIZE) / 2).toFixed(1);
const up = (y) => (((1 - y / REACH) * SIZE) / 2).toFixed(1);
/** Points as one path: each is a line without length and with round ends. */
const dots = (values) =>
  Array.from({ length: values.length / 2 }, (_, i) => `M${across(values[2 * i])} ${up(values[2 * i + 1])}h0`).join('');
const spots = (values, color, size = 3) =>
  `<path d="${dots(values)}" stroke="${color}" stroke-width="${size}" stroke-linecap="round" fill="none"/>`;
const svg = (width, height, ...parts) =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
  `font-family="sans-serif" font-size="14"><rect width="100%" height="100%" fill="#fff"/>${parts.join('\n')}</svg>\n`;

function pathsDrawing(stops, title, left) {
  const lines = Array.from({ length: PATHS }, (_, i) => {
    return `M${stops.map((stop) => `${across(stop[2 * i])} ${up(stop[2 * i + 1])}`).join('L')}`;
  });
  return (
    `<g transform="translate(${left} 24)"><text x="${SIZE / 2}" y="-6" text-anchor="middle">${title}</text>` +
    spots(data, GREY) +
    `<path d="${lines.join('')}" fill="none" stroke="${BLUE}" stroke-opacity="0.5" stroke-width="0.8"/>` +
    `${spots(stops[0], BLUE)}${spots(stops.at(-1), RED)}</g>`
  );
}

const paths = [
  pathsDrawing(await pathsOf(first, PATHS, STOPS), '1-rectified flow', 0),
  pathsDrawing(await pathsOf(second, PATHS, STOPS), '2-rectified flow', SIZE + 20),
];
writeFileSync(join(out, 'paths.svg'), svg(2 * SIZE + 20, SIZE + 24, ...paths));

// The points of a sample on their way: a picture that moves in browsers, and shows the end elsewhere.
const MOVING = 300;
const FRAMES = 10;
const stops = await pathsOf(first, MOVING, FRAMES);
const frames = [...stops, stops.at(-1)].map(dots);
const times = [...stops.map((_, i) => ((0.7 * i) / FRAMES).toFixed(2)), '1'].join(';');
const moves = `<animate attributeName="d" dur="6s" repeatCount="indefinite" keyTimes="${times}" values="${frames.join(';')}"/>`;
writeFileSync(
  join(out, 'two_moons.svg'),
  svg(SIZE, SIZE, spots(stops.at(-1), BLUE, 4).replace('/>', `>${moves}</path>`)),
);
console.log(`pictures in ${out}`);
