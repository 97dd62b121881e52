// Muon for matrices and AdamW for the other parameters. Source: the reference implementation (Keller Jordan et al.,
// 2024, github.com/KellerJordan/Muon, muon.py: SingleDeviceMuonWithAuxAdam). For a matrix [rows, columns]:
//   m = momentum m + (1 - momentum) g; d = m, or with Nesterov's momentum momentum m + (1 - momentum) g
//   p -= lr weightDecay p; p -= lr sqrt(max(1, rows / columns)) orthogonal(d)
// orthogonal(d) replaces all singular values of d by numbers near 1: X = d / |d|, then 5 Newton-Schulz steps of a quintic,
//   X = a X + (b A + c A^2) X, A = X X^T
// The weight of a convolution [Cout, kh, kw, Cin] counts as the matrix [Cout, kh kw Cin], as in the reference. Two things
// differ: the reference takes kh / kw in place of rows / columns for such a weight, and it computes the steps in bf16.
import { kinds, type OptionKinds } from '../arguments.ts';
import { ShapeError } from '../errors.ts';
import { add, div } from '../kernels/elementwise.ts';
import { decayScheduleOf, globalNorm, muonDirection, muonStep } from '../kernels/inner/optimizer.ts';
import { product } from '../kernels/matmul.ts';
import { linearCombination } from '../kernels/ode.ts';
import { allocate } from '../tensor/allocate.ts';
import { scope } from '../tensor/scope.ts';
import { type Shape, sizeOf } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { adamwRule } from './adamw.ts';
import type { Module } from './module.ts';
import {
  Optimizer,
  type OptimizerDefinition,
  type OptimizerOptions,
  optimizerDefaults,
  optimizerKinds,
  rateKind,
  share,
  type UpdateRule,
} from './optimizer.ts';
import type { ParameterGroup } from './parameter_groups.ts';

export interface MuonOptions extends OptimizerOptions {
  /**
   * Whether Muon updates the parameters; false: AdamW does. By default Muon updates those with at least two axes. The
   * reference recommends AdamW for embeddings and for the last layer: name them in a group with `useMuon: false`.
   */
  useMuon: boolean | undefined;
  /** Share of the moment that an update of Muon keeps. */
  momentum: number;
  nesterov: boolean;
  /** Number of Newton-Schulz steps. */
  orthogonalSteps: number;
  /** Share of a parameter, times its rate, that each update subtracts, of Muon and of AdamW. */
  weightDecay: number;
  /** Rate of the parameters that AdamW updates. */
  adamLearningRate: OptimizerOptions['learningRate'];
  /** Constants of AdamW. */
  beta1: number;
  beta2: number;
  epsilon: number;
}

const muonKinds: OptionKinds<MuonOptions> = {
  ...optimizerKinds,
  useMuon: kinds.boolean,
  momentum: share,
  nesterov: kinds.boolean,
  orthogonalSteps: kinds.count,
  weightDecay: kinds.notNegative,
  adamLearningRate: rateKind,
  beta1: share,
  beta2: share,
  epsilon: kinds.notNegative,
};

/** Coefficients of the quintic, chosen for a large slope at 0. */
const [A, B, C] = [3.4445, -4.775, 2.0315];
const EPSILON = 1e-7;

const muonRule: UpdateRule<MuonOptions> = {
  moments: ['momentum_buffer'],
  rate: ({ learningRate }) => learningRate,
  schedule: (_, rate, { weightDecay }) => decayScheduleOf({ ...rate, weightDecay }),
  update({ moments: [moment], entries, zeroGradients, ...tensors }, { momentum, nesterov, orthogonalSteps }) {
    scope(() => {
      const { device, shape } = tensors.gradients;
      const direction = allocate(shape, { device });
      muonDirection({ ...tensors, moment, direction }, { momentum, nesterov });
      for (const { shape: own, offset } of entries)
        scope(() => {
          const matrix = view(direction, matrixShape(own), offset);
          const { address, size } = matrix;
          if (size > 0) device.copy(address, orthogonal(matrix, orthogonalSteps).address, 4 * size);
        });
      muonStep({ ...tensors, moment, direction }, { momentum, zeroGradients });
    });
  },
};

function matrixShape(shape: Shape): [rows: number, columns: number] {
  return [shape[0], sizeOf(shape.slice(1))];
}

/** sqrt(max(1, rows / columns)) times a matrix with the singular vectors of x and singular values near 1. */
function orthogonal(x: Tensor, steps: number): Tensor {
  const [rows, columns] = x.shape;
  const norm = view(globalNorm(x, -1), []);
  let y = div(x, add(norm, EPSILON));
  for (let step = 1; step <= steps; step++) {
    const factor = step === steps ? Math.sqrt(Math.max(1, rows / columns)) : 1;
    // The smaller of X X^T and X^T X.
    const wide = rows <= columns;
    const [matrix, transposed] = [{ tensor: y }, { tensor: y, transposed: true }];
    const gram = wide ? product(matrix, transposed) : product(transposed, matrix);
    const square = product({ tensor: gram }, { tensor: gram });
    const both = { tensor: linearCombination(null, [gram, square], [B, C]) };
    const third = wide ? product(both, matrix) : product(matrix, both);
    y = linearCombination(null, [y, third], [A * factor, factor]);
  }
  return y;
}

const definition: OptimizerDefinition<MuonOptions> = {
  name: 'Muon',
  defaults: {
    ...optimizerDefaults,
    learningRate: 0.02,
    useMuon: undefined,
    momentum: 0.95,
    nesterov: true,
    orthogonalSteps: 5,
    weightDecay: 0,
    adamLearningRate: 3e-4,
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-10,
  },
  kinds: muonKinds,
  rules: [muonRule, adamwRule(({ adamLearningRate: learningRate, ...options }) => ({ ...options, learningRate }))],
  ruleOf(parameter, { useMuon = parameter.rank >= 2 }) {
    if (useMuon && parameter.rank < 2)
      throw new ShapeError('Muon', 'parameters of at least two axes with useMuon', parameter.describe());
    return useMuon ? 0 : 1;
  },
};

/**
 * Muon and AdamW for a module's parameters, which it moves into an arena of its own; `dispose` frees the arena.
 * `learningRate` is Muon's rate; the other parameters have `adamLearningRate`. Source: Jordan et al. (2024), KellerJordan/Muon.
 * @example
 * const network = new MLP([1, 16, 16, 1]);
 * // AdamW updates the biases and, as the authors advise, the last layer.
 * const groups = [{ parameters: network.layers[2], useMuon: false }];
 * const optimizer = new Muon(network, { learningRate: 0.02, adamLearningRate: 1e-2, groups });
 * const x = tensor([[-1], [0], [1]]);
 * for (let step = 0; step < 50; step++) optimizer.minimize(() => mse(network.forward(x), square(x)));
 * mse(network.forward(x), square(x)).item() < 0.05; // true
 * optimizer.dispose();
 */
export class Muon extends Optimizer<MuonOptions> {
  /** Moves the module's parameters into an arena. @throws ValueError naming the option that is out of range */
  constructor(
    module: Module,
    options: Partial<MuonOptions> & { groups?: readonly ParameterGroup<MuonOptions>[] } = {},
  ) {
    super(definition, module, options);
  }
}
