// An option that has no effect because of another one is refused by name.
import { expect, it } from 'vitest';
import {
  Draw,
  likelihood,
  pseudoHuber,
  rectifiedFlowLoss,
  sample,
  scheduledTimes,
  solveStochastic,
} from '../../src/flow/index.ts';
import { mul, openDevice, randn, type Tensor, zeros } from '../../src/index.ts';

const device = await openDevice('cpu');
const velocity = (x: Tensor) => mul(x, 0.5);
const draw = new Draw({ seed: 0, device });
const x1 = () => randn([2, 3], { seed: 1, device });
const start = { shape: [1], count: 2, seed: 0, solver: 'euler', steps: 2, device } as const;
const latents = Float32Array.of(0, 1);
const density = { shape: [1], device } as const;

const cases: [call: () => unknown, message: string][] = [
  [() => draw.times(2, { mean: 1 }), '[Draw.times] expected no mean with the law "uniform", got 1'],
  [() => draw.times(2, { law: 'cosmap', steepness: 2 }), 'expected no steepness with the law "cosmap", got 2'],
  [() => draw.times(2, { law: 'u_shaped', deviation: 2 }), 'expected no deviation with the law "u_shaped", got 2'],
  [() => draw.times(2, { law: 'logit_normal', steepness: 2 }), 'no steepness with the law "logit_normal", got 2'],
  [
    () => scheduledTimes('t0', 2, draw, { law: 'cosmap' }),
    '[scheduledTimes] expected no law with a schedule other than "uniform", got an object with "law"',
  ],
  [
    () => rectifiedFlowLoss(velocity, x1(), { draw, first: 4 } as never),
    '[rectifiedFlowLoss] expected no first with a draw, which has its own, got 4',
  ],
  [
    () => solveStochastic(velocity, x1(), { draw, seed: 1, steps: 1, sigmaVariance: 1 } as never),
    '[solveStochastic] expected no seed with a draw, which has its own, got 1',
  ],
  [
    () => rectifiedFlowLoss(velocity, x1(), {} as never),
    '[rectifiedFlowLoss] expected seed to be a whole number >= 0, got undefined',
  ],
  [
    () => rectifiedFlowLoss(velocity, x1(), { seed: 0, x0: zeros([2, 3], { device }), noiseScale: 2 }),
    '[rectifiedFlowLoss] expected no noiseScale with x0, which is taken as it is, got 2',
  ],
  [
    () => rectifiedFlowLoss(velocity, x1(), { seed: 0, distance: pseudoHuber, reduceMean: false }),
    '[rectifiedFlowLoss] expected no reduceMean with a distance, which is the loss, got false',
  ],
  [
    () => sample(velocity, { ...start, sdeDrift: 'exact' }),
    '[sample] expected no sdeDrift without a sigmaVariance above 0, got "exact"',
  ],
  [
    () => sample(velocity, { ...start, latents, noiseScale: 2 }),
    '[sample] expected no noiseScale with latents, which replace the noise, got 2',
  ],
  [() => sample(velocity, { ...start, latents, first: 4 }), '[sample] expected no first with latents'],
  [
    () => sample(velocity, { ...start, latents, stream: 1, sigmaVariance: 1 }),
    '[sample] expected no stream with latents, which replace the noise of the starts, got 1',
  ],
  [
    () => likelihood(velocity, latents, { ...density, trace: 'exact', seed: 1 }),
    '[likelihood] expected no seed with the exact trace, got 1',
  ],
  [
    () => likelihood(velocity, latents, { ...density, trace: 'exact', probe: latents }),
    '[likelihood] expected no probe with the exact trace, got a Float32Array of 2',
  ],
  [
    () => likelihood(velocity, latents, { ...density, probe: latents, first: 1 }),
    '[likelihood] expected no first with a given probe, got 1',
  ],
];

it.each(cases)('%s', async (call, message) => {
  await expect((async () => call())()).rejects.toThrow(message);
});

it('accepts latents together with the noise options of a stochastic sampler', async () => {
  const options = { ...start, latents, sigmaVariance: 1, noiseScale: 2, first: 3, sdeDrift: 'legacy' } as const;
  expect((await sample(velocity, options)).samples).toHaveLength(2);
});
