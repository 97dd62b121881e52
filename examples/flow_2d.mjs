// A rectified flow from Gaussian noise to two moons: the README's program.
//   node examples/flow_2d.mjs
import { concat, openDevice, reshape, tensor } from 'rectiflow';
import { samplePoints } from 'rectiflow/data';
import { energyDistance, rectifiedFlowLoss, sample } from 'rectiflow/flow';
import { Adam, MLP } from 'rectiflow/nn';

await openDevice('cpu');
const network = new MLP([3, 64, 64, 2]);
const velocity = (x, t) => network.forward(concat([x, reshape(t, [-1, 1])], 1));
const optimizer = new Adam(network, { learningRate: 3e-3, emaRate: 0.995 });
for (let step = 0; step < 3000; step++) {
  const x1 = samplePoints('two_moons', 256, step);
  const loss = optimizer.minimize(() =>
    rectifiedFlowLoss(velocity, tensor(x1, { shape: [256, 2] }), { seed: 0, first: 256 * step }),
  );
  if (step % 500 === 0) console.log(`step ${step}  loss ${loss.item().toFixed(3)}`);
}
const { samples } = await optimizer.withEma(() =>
  sample(velocity, { shape: [2], count: 2000, seed: 1, solver: 'rk45' }),
);
console.log('energy distance', energyDistance(samples, samplePoints('two_moons', 2000, 1e6), 2));
