// Which times are trained on. A law maps uniform numbers to times in [0, 1], which are then laid over [eps, 1):
//   uniform       t = u                                             (paper, equation 1)
//   logit_normal  t = sigmoid(m + s n), n normal                    (Esser et al. 2024, section 3.1)
//   u_shaped      density a (e^(a t) + e^(a (1 - t))) / (2 (e^a - 1))  (Lee, Lin, Fanti 2024, section 3.2; a = 4)
//   cosmap        t = 1 - 1 / (tan(pi u / 2) + 1)                   (Esser et al. 2024, section 3.1)
// and the schedules of reflow's stages: one time for all, or the grid of a few Euler steps.
import {
  checkArgument,
  checkOptions,
  describeValue,
  kinds,
  type OptionKinds,
  oneOf,
  refuseInert,
} from '../arguments.ts';
import { type Device, deviceKind } from '../device/device.ts';
import { ValueError } from '../errors.ts';
import { cast } from '../kernels/cast.ts';
import { add, cos, div, equal, less, log, minimum, mul, sigmoid, sin, sub, where } from '../kernels/elementwise.ts';
import { type DrawOptions, drawOptions, randn, uniform } from '../kernels/random.ts';
import { zeros } from '../tensor/create.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Smallest time that is trained on (official sde_lib.py, eps). */
export const TIME_EPSILON = 1e-3;

export const timeLaws = ['uniform', 'logit_normal', 'u_shaped', 'cosmap'] as const;

/** How times are drawn; each has its published parameters as defaults. */
export interface TimeLaw {
  law: (typeof timeLaws)[number];
  /** Mean and deviation of the logit, for logit_normal alone; default 0 and 1. */
  mean?: number;
  deviation?: number;
  /** How much more the ends count, for u_shaped alone; default 4. */
  steepness?: number;
}

const lawOptions: OptionKinds<TimeLaw> = {
  law: oneOf(timeLaws),
  mean: kinds.number,
  deviation: kinds.number,
  steepness: kinds.number,
};

/** What a law reads besides its name. */
const parameters = {
  logit_normal: ['mean', 'deviation'],
  u_shaped: ['steepness'],
} as const satisfies { readonly [Law in TimeLaw['law']]?: readonly (keyof TimeLaw)[] };

/** Which times a stage is trained on: see scheduledTimes. */
export type TimeSchedule = 'uniform' | 't0' | 't1' | number;

type TimeDraw = DrawOptions & { device?: Device };

const timeDraw: OptionKinds<TimeDraw> = { ...drawOptions, device: deviceKind };

/** [n] times, uniform in [eps, 1); sample i of a seed draws the same in any batch. */
export function uniformTimes(n: number, options: TimeDraw): Tensor {
  return drawTimes({ law: 'uniform' }, n, options);
}

/** [n] times of a law, in [eps, 1]. @throws ValueError for an unknown law or parameters out of range */
export function drawTimes(law: TimeLaw, n: number, options: TimeDraw): Tensor {
  const checked = checkOptions('drawTimes', law, lawOptions, ['law']);
  for (const [owner, names] of Object.entries(parameters))
    if (owner !== checked.law) refuseInert('drawTimes', checked, names, `with the law "${checked.law}"`);
  checkArgument('drawTimes', 'n', n, kinds.whole);
  const draw = checkOptions('drawTimes', options, timeDraw, ['seed']);
  return overInterval(laws[checked.law](checked, n, { stream: streams.times, ...draw }));
}

const laws: Record<TimeLaw['law'], (law: TimeLaw, n: number, options: TimeDraw) => Tensor> = {
  uniform: (_, n, options) => uniform([n], options),
  logit_normal({ mean = 0, deviation = 1 }, n, options) {
    if (!(deviation > 0 && Number.isFinite(mean)))
      throw new ValueError(`logit_normal needs a finite mean and a deviation > 0, got ${mean} and ${deviation}`);
    return sigmoid(add(mul(randn([n], options), deviation), mean));
  },
  u_shaped({ steepness: a = 4 }, n, options) {
    if (!(a > 0 && a < 80)) throw new ValueError(`u_shaped needs a steepness in (0, 80), got ${a}`);
    // One half of the numbers draws from e^(a t), the other from its mirror image.
    const u = uniform([n], options);
    const first = less(u, 0.5);
    const spread = where(first, mul(u, 2), sub(mul(u, 2), 1));
    // ln(1 + x) / a, x = spread (e^a - 1), as x / a times ln(w) / (w - 1), w = 1 + x rounded: exact for small x too (Kahan).
    const w = add(mul(spread, Math.expm1(a)), 1);
    const bend = where(equal(w, 1), 1, div(log(w), sub(w, 1)));
    const rising = minimum(mul(mul(spread, Math.expm1(a) / a), bend), 1);
    return where(first, rising, sub(1, rising));
  },
  cosmap(_, n, options) {
    const angle = mul(uniform([n], options), Math.PI / 2);
    // tan / (tan + 1), without the division by a cosine near 0.
    return div(sin(angle), add(sin(angle), cos(angle)));
  },
};

function overInterval(t: Tensor): Tensor {
  return add(mul(t, 1 - TIME_EPSILON), TIME_EPSILON);
}

/**
 * [n] times of a training stage (official losses.py): 'uniform' by the law, for reflow; 't0' all eps, distillation to one
 * step; a number k: i (1 - eps) / k + eps with i uniform in 0..k-1, the times at which Euler with k steps asks; 't1' all 1,
 * one step from data to noise.
 * @param law of 'uniform' alone; default 'uniform'
 * @throws ValueError for another schedule
 */
export function scheduledTimes(schedule: TimeSchedule, n: number, options: TimeDraw, law?: TimeLaw): Tensor {
  checkArgument('scheduledTimes', 'n', n, kinds.whole);
  const draw = checkOptions('scheduledTimes', options, timeDraw, ['seed']);
  const { device } = draw;
  if (schedule === 'uniform') return drawTimes(law ?? { law: 'uniform' }, n, draw);
  refuseInert('scheduledTimes', { law }, ['law'], 'with a schedule other than "uniform"');
  if (schedule === 't0') return add(zeros([n], { device }), TIME_EPSILON);
  if (schedule === 't1') return add(zeros([n], { device }), 1);
  if (!Number.isInteger(schedule) || schedule < 1)
    throw new ValueError(`a time schedule is uniform, t0, t1 or a whole number >= 1, got ${describeValue(schedule)}`);
  const index = cast(cast(mul(uniform([n], { stream: streams.times, ...draw }), schedule), 'i32'), 'f32');
  return overInterval(div(index, schedule));
}
