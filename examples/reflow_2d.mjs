// From noise to two moons three times: a rectified flow, its reflow, and one Euler step distilled from that; with a report that
// shows their paths.
//   node examples/reflow_2d.mjs [folder]      default runs/reflow_2d
import { concat, full, openDevice, reshape, tensor } from 'rectiflow';
import { samplePoints } from 'rectiflow/data';
import { rectifiedFlowLoss, sample } from 'rectiflow/flow';
import { Adam, MLP } from 'rectiflow/nn';
import { reportPlane } from 'rectiflow/run';

const out = process.argv[2] ?? 'runs/reflow_2d';
const BATCH = 256;
const PAIRS = 80 * BATCH;
// Batches this small are done sooner by one thread.
const device = await openDevice('cpu', { threads: 1 });

const velocityOf = (network) => (x, t) => network.forward(concat([x, reshape(t, [-1, 1])], 1));

/** Trains from the weights of `teacher`, where there is one, and returns a network with the averaged weights. */
async function train({ steps, teacher, batch }) {
  const network = new MLP([3, 64, 64, 2]);
  if (teacher) network.loadStateDict(await valuesOf(teacher.namedTensors()));
  const optimizer = new Adam(network, { learningRate: 3e-3, emaRate: 0.995 });
  for (let step = 0; step < steps; step++)
    optimizer.minimize(() => {
      const { x1, ...given } = batch(step);
      return rectifiedFlowLoss(velocityOf(network), x1, { seed: 0, first: BATCH * step, ...given });
    });
  const averaged = new MLP([3, 64, 64, 2]);
  averaged.loadStateDict(await valuesOf(optimizer.state('ema')));
  optimizer.dispose();
  return averaged;
}

async function valuesOf(tensors) {
  const values = new Map();
  for (const [name, value] of tensors) values.set(name, { shape: value.shape, data: await value.data() });
  return values;
}

/** Batches of (z0, z1): drawn starts and where a flow takes them. */
async function pairsOf(network) {
  const starts = samplePoints('gaussian', PAIRS, 7);
  const { samples: ends } = await sample(velocityOf(network), {
    shape: [2],
    count: PAIRS,
    seed: 0,
    latents: starts,
    solver: 'rk45',
  });
  return (step) => {
    const first = 2 * BATCH * (step % (PAIRS / BATCH));
    const [x0, x1] = [starts, ends].map((points) =>
      tensor(points.slice(first, first + 2 * BATCH), { shape: [BATCH, 2] }),
    );
    return { x0, x1 };
  };
}

const first = await train({
  steps: 2000,
  batch: (step) => ({ x1: tensor(samplePoints('two_moons', BATCH, step), { shape: [BATCH, 2] }) }),
});
const second = await train({ steps: 1200, teacher: first, batch: await pairsOf(first) });
const batch = await pairsOf(second);
const atStart = (step) => ({ ...batch(step), t: full([BATCH], 0) });
const oneStep = await train({ steps: 600, teacher: second, batch: atStart });

const { stages } = await reportPlane(
  [
    { name: '1-rectified flow', velocity: velocityOf(first), steps: 2000 },
    { name: '2-rectified flow', velocity: velocityOf(second), steps: 1200 },
    { name: 'distilled to 1 step', velocity: velocityOf(oneStep), steps: 600 },
  ],
  { out, title: 'Two moons', data: samplePoints('two_moons', 2000, 1e6), device },
);
for (const { name, straightness, fd } of stages)
  console.log(
    `${name.padEnd(20)} straightness ${straightness.toFixed(5)}  energy distance at N = 1: ${fd[1].toFixed(4)}`,
  );
