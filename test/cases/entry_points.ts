// A statement about the gradient of every public function, by entry point and name. Ops are covered by the op table and its cases;
// all others are here, and test/tensor/entry_points.test.ts fails with the name of a function that is in neither.

import type { Device } from '../../src/device/device.ts';
import { Classifier } from '../../src/eval/index.ts';
import * as flow from '../../src/flow/index.ts';
import * as engine from '../../src/index.ts';
import * as nn from '../../src/nn/index.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { textNetworks, textVelocities } from './text_entry_points.ts';

/** A computation whose gradient is checked. */
export interface Subject {
  /** Shapes of the leaves, which are drawn from N(0, 1), or from its exponential with `positive`. */
  leaves: readonly Shape[];
  positive?: boolean;
  run(leaves: Tensor[]): Tensor | Tensor[];
  /** Its parameters are also leaves, with random values. */
  module?: nn.Module;
}

export type Claim =
  /** Finite differences agree with backward() for each leaf. */
  | { differentiable: (device: Device) => Subject }
  /** backward() of its result for a leaf [2, 3] throws this. */
  | { refused: string; run: (x: Tensor) => Tensor }
  /** Its result carries no gradient, as its docstring says; this returns a tensor made while gradients are recorded. */
  | { unrecorded: (x: Tensor) => Tensor }
  /** A test file below test/ that checks its gradient. */
  | { checkedIn: string }
  /** Why it has no gradient: it takes no tensor, or returns none. */
  | { none: string };

const of = (leaves: readonly Shape[], run: Subject['run'], more: Partial<Subject> = {}): Claim => ({
  differentiable: () => ({ leaves, run, ...more }),
});

/** Several functions without a gradient for the same reason. */
const none = (reason: string, ...names: string[]): Record<string, Claim> =>
  Object.fromEntries(names.map((name) => [name, { none: reason }]));

const comparison = (name: 'equal' | 'greater' | 'greaterEqual' | 'less' | 'lessEqual' | 'notEqual'): Claim => ({
  refused: 'has no gradient: a comparison',
  run: (x) => engine.cast(engine[name](x, 0), 'f32'),
});

/** Connectives of bool tensors, which come from comparisons. */
const connective = (name: 'logicalAnd' | 'logicalOr' | 'logicalXor'): Claim => ({
  refused: 'has no gradient: a comparison',
  run: (x) => engine.cast(engine[name](engine.greater(x, 0), engine.less(x, 1)), 'f32'),
});

/** Functions of i32 tensors, which come from casts. */
const bits = (run: (x: Tensor) => Tensor): Claim => ({
  refused: '[cast] has no gradient: whole numbers have no gradient',
  run: (x) => engine.cast(run(engine.cast(x, 'i32')), 'f32'),
});

const numberTest = (name: 'isFinite' | 'isInf' | 'isNaN'): Claim => ({
  refused: `[${name}] has no gradient`,
  run: (x) => engine.cast(engine[name](x), 'f32'),
});

/** A function of which the op `by` refuses backward(), since its result is whole numbers, booleans, or piecewise constant. */
const refused = (by: string, run: (x: Tensor) => Tensor): Claim => ({
  refused: `[${by}] has no gradient`,
  run: (x) => engine.sum(engine.cast(run(x), 'f32')),
});

const [n, side, channels] = [2, 4, 8];
const image = [n, side, side, channels];

/** A module with random values on images or rows. */
const moduleOf = <M extends nn.Module>(
  make: (init: nn.Initializer) => M,
  leaves: readonly Shape[],
  run: (module: M, leaves: Tensor[]) => Tensor | Tensor[],
): Claim => ({
  differentiable: (device) => {
    const module = make(new nn.Initializer({ device }));
    return { leaves, module, run: (given) => run(module, given) };
  },
});

type Context = ConstructorParameters<typeof nn.AttentionBlock>[1];

const contextOf = (init: nn.Initializer): Context => ({
  resblock: 'biggan',
  nonlinearity: 'swish',
  fir: [1, 3, 3, 1],
  embeddingChannels: 5,
  dropout: 0.3,
  dropoutState: { seed: 1, first: 0 },
  initScale: 1,
  skipRescale: true,
  init,
  streams: { next: 1 },
});

/** dx/dt = sin(w x + t), with the start and w as leaves. */
const velocityOf =
  (w: Tensor): flow.Velocity =>
  (x, t) =>
    engine.sin(engine.add(engine.mul(x, w), engine.reshape(t, [-1, 1])));
const state = [n, 3];

const solved = (solve: (velocity: flow.Velocity, start: Tensor) => flow.Solution): Claim =>
  of([state, [3]], ([start, w]) => solve(velocityOf(w), start).x);

const host = 'arrays and files of the host';

export const claims: Record<string, Record<string, Claim>> = {
  index: {
    ...none('an error', 'ArgumentError', 'CompileError', 'ConfigError', 'DeviceError', 'DtypeError', 'FileError'),
    ...none(
      'an error',
      'NonFiniteError',
      'NotDifferentiableError',
      'OutOfMemoryError',
      'RecordingError',
      'LockLostError',
    ),
    ...none('an error', 'RectiflowError', 'ShapeError', 'UsageError', 'UseAfterFreeError', 'ValueError'),
    ...none('makes leaves', 'arange', 'empty', 'full', 'ones', 'randn', 'tensor', 'uniform', 'zeros'),
    ...none('makes leaves', 'exponential', 'eye', 'linspace', 'logspace', 'truncatedNormal'),
    ...none('makes leaves in the shape of a tensor', 'fullLike', 'onesLike', 'randnLike', 'uniformLike', 'zerosLike'),
    ...none('makes whole numbers', 'permutation', 'randint'),
    ...none('takes and gives no tensors of its own', 'openDevice', 'openScope'),
    ...none('refuses second derivatives by name: ops/gradients.test.ts', 'gradients'),
    Tensor: { none: 'its methods give numbers of the host, its gradient, or itself' },
    argmax: { refused: '[argmax] has no gradient', run: (x) => engine.cast(engine.argmax(x, { axis: 0 }), 'f32') },
    bitwiseAnd: bits((x) => engine.bitwiseAnd(x, 3)),
    bitwiseNot: bits((x) => engine.bitwiseNot(x)),
    bitwiseOr: bits((x) => engine.bitwiseOr(x, 3)),
    bitwiseXor: bits((x) => engine.bitwiseXor(x, 3)),
    checkFinite: of([[2, 3]], ([x]) => engine.checkFinite(() => engine.exp(x))),
    checkpoint: { checkedIn: 'tensor/checkpoint.test.ts' },
    compile: {
      refused: '[compile] has no gradient',
      run: (x) => engine.compile((t: Tensor) => engine.exp(t))(x),
    },
    customGradient: of([[2, 3]], ([x]) =>
      engine.customGradient(engine.square, (dy, { inputs: [t] }) => engine.mul(engine.mul(dy, t), 2))(x),
    ),
    defineOp: { checkedIn: 'ops/custom_op.test.ts' },
    all: refused('all', (x) => engine.all(x)),
    any: refused('any', (x) => engine.any(x)),
    argmin: refused('argmin', (x) => engine.argmin(x, { axis: 0 })),
    argsort: refused('argsort', (x) => engine.argsort(x)),
    binCount: refused('cast', (x) => engine.binCount(engine.cast(engine.mul(x, 0), 'i32'), { length: 1 })),
    countNonzero: refused('countNonzero', (x) => engine.countNonzero(x)),
    bernoulli: {
      refused: '[bernoulli] has no gradient',
      run: (x) => engine.cast(engine.bernoulli(engine.sigmoid(x), x.shape, { seed: 1 }), 'f32'),
    },
    categorical: {
      refused: '[categorical] has no gradient',
      run: (x) => engine.cast(engine.categorical(x, { seed: 1 }), 'f32'),
    },
    detach: { unrecorded: (x) => engine.exp(engine.detach(x)) },
    enableGrad: of([[2, 3]], ([x]) => engine.noGrad(() => engine.enableGrad(() => engine.exp(x)))),
    equal: comparison('equal'),
    firDownsample: of([image], ([x]) => engine.firDownsample(x, [1, 3, 3, 1])),
    firUpsample: of([image], ([x]) => engine.firUpsample(x, [1, 3, 3, 1])),
    greater: comparison('greater'),
    greaterEqual: comparison('greaterEqual'),
    isFinite: numberTest('isFinite'),
    isInf: numberTest('isInf'),
    isNaN: numberTest('isNaN'),
    jvp: of([[2, 3]], ([x]) => engine.jvp((t) => engine.sin(t), [x], [x])),
    keep: of([[2, 3]], ([x]) => engine.keep(engine.exp(x))),
    leftShift: bits((x) => engine.leftShift(x, 3)),
    less: comparison('less'),
    lessEqual: comparison('lessEqual'),
    linearize: of([[2, 3]], ([x]) =>
      engine.linearize((t) => engine.sin(t), [engine.zeros([2, 3], { device: x.device })])[1](x),
    ),
    min: of([[2, 3]], ([x]) => engine.min(x, { axes: 1 })),
    logicalAnd: connective('logicalAnd'),
    logicalNot: {
      refused: 'has no gradient: a comparison',
      run: (x) => engine.cast(engine.logicalNot(engine.greater(x, 0)), 'f32'),
    },
    logicalOr: connective('logicalOr'),
    logicalXor: connective('logicalXor'),
    nonzero: { refused: '[nonzero] has no gradient', run: (x) => engine.cast(engine.nonzero(x), 'f32') },
    noGrad: { unrecorded: (x) => engine.noGrad(() => engine.exp(x)) },
    notEqual: comparison('notEqual'),
    oneHot: {
      refused: '[cast] has no gradient: whole numbers have no gradient',
      run: (x) => engine.oneHot(engine.reshape(engine.cast(engine.mul(x, 0), 'i32'), [6]), 3),
    },
    rightShift: bits((x) => engine.rightShift(x, 3)),
    searchSorted: refused('searchSorted', (x) => engine.searchSorted(x, x)),
    scope: of([[2, 3]], ([x]) => engine.scope(() => engine.exp(x))),
    split: of([[4, 3]], ([x]) => engine.split(x, [1, 3], 0)),
    transpose: of([[4, 3]], ([x]) => engine.transpose(x)),
    unique: refused('unique', (x) => engine.unique(x).values),
    vjp: { checkedIn: 'ops/forward.test.ts' },
  },
  fluent: {},
  nn: {
    ...none('numbers, names and options', 'ddpmppCifar10', 'ncsnpp256', 'noiseScales'),
    ...none('arrays of the host', 'fromOfficial', 'officialEntries', 'toOfficial'),
    ...none('takes gradients and makes leaves', 'Adam', 'AdamW', 'Initializer', 'Lion', 'Muon', 'SGD'),
    ...none('functions of the step', 'constantSchedule', 'cosineSchedule', 'linearSchedule', 'stepSchedule'),
    ...none('gives a number of the host', 'accuracy'),
    Module: { none: 'abstract: its kinds are here' },
    registerForwardHook: { checkedIn: 'nn/hooks.test.ts' },
    registerForwardPreHook: { checkedIn: 'nn/hooks.test.ts' },
    TransformerBlock: moduleOf(
      (init) => new nn.TransformerBlock(channels, 2, init, { hidden: 6 }),
      [[n, 3, channels]],
      (block, [x]) => block.forward(x, { causal: true }),
    ),
    UNet: { checkedIn: 'nn/family.test.ts' },
    activate: of([[2, 3]], ([x]) => (['swish', 'relu', 'elu', 'lrelu'] as const).map((name) => nn.activate(x, name))),
    AttentionBlock: moduleOf(
      (init) => new nn.AttentionBlock(channels, contextOf(init)),
      [image],
      (block, [x]) => block.forward(x),
    ),
    BatchNorm: moduleOf(
      (init) => new nn.BatchNorm(channels, init),
      [image],
      (norm, [x]) => norm.forward(x),
    ),
    Combine: moduleOf(
      (init) => new nn.Combine(3, channels, 'cat', init),
      [[n, side, side, 3], image],
      (combine, [x, h]) => combine.forward(x, h),
    ),
    Conv2d: moduleOf(
      (init) => new nn.Conv2d(channels, 3, 3, init),
      [image, [n, 3], [n, side, side, 3]],
      (conv, [x, add, residual]) => conv.forward(x, { add, residual, scale: 0.5 }),
    ),
    Downsample: moduleOf(
      (init) => new nn.Downsample(channels, 3, true, contextOf(init)),
      [image],
      (module, [x]) => module.forward(x),
    ),
    Dropout: moduleOf(
      () => new nn.Dropout(0.4, 1, { seed: 1, first: 0 }),
      [[4, 5]],
      (dropout, [x]) => dropout.forward(x),
    ),
    Embedding: moduleOf(
      (init) => new nn.Embedding(4, 3, init),
      [[1]],
      (embedding, [x]) => {
        const indices = engine.tensor([2, 0, 2], { dtype: 'i32', device: x.device });
        return engine.mul(embedding.forward(indices), x);
      },
    ),
    ...textNetworks,
    FourierEmbedding: {
      differentiable: (device) => {
        const module = new nn.FourierEmbedding(3, 0.1, new nn.Initializer({ device }));
        return { leaves: [[4]], positive: true, module, run: ([labels]) => module.forward(labels) };
      },
    },
    GroupNorm: moduleOf(
      (init) => new nn.GroupNorm(channels, init),
      [
        [n, side, side, 3],
        [n, side, side, 5],
      ],
      (norm, parts) => norm.forward(parts, { activation: 'silu', resample: 'down', dropout: { p: 0.2, seed: 1 } }),
    ),
    LayerNorm: moduleOf(
      (init) => new nn.LayerNorm(channels, init),
      [image],
      (norm, [x]) => norm.forward(x),
    ),
    Linear: moduleOf(
      (init) => new nn.Linear(4, 3, init),
      [[2, 5, 4]],
      (linear, [x]) => linear.forward(x),
    ),
    MLP: moduleOf(
      (init) => new nn.MLP([4, 6, 3], init),
      [[5, 4]],
      (mlp, [x]) => mlp.forward(x),
    ),
    MultiHeadAttention: moduleOf(
      (init) => new nn.MultiHeadAttention(channels, 2, init),
      [
        [n, 3, channels],
        [n, 4, channels],
      ],
      (layer, [x, context]) => layer.forward(x, { context }),
    ),
    RMSNorm: moduleOf(
      (init) => new nn.RMSNorm(channels, init),
      [image],
      (norm, [x]) => norm.forward(x),
    ),
    ResidualBlock: moduleOf(
      (init) => new nn.ResidualBlock(2 * channels, channels, 'up', contextOf(init)),
      [image, image, [n, channels]],
      (block, [x, skip, add]) => block.forward([x, skip], add),
    ),
    Sequential: moduleOf(
      (init) => new nn.Sequential([new nn.Linear(4, 5, init), engine.tanh, new nn.Linear(5, 3, init)]),
      [[2, 4]],
      (network, [x]) => network.forward(x),
    ),
    Upsample: moduleOf(
      (init) => new nn.Upsample(channels, 3, true, contextOf(init)),
      [image],
      (module, [x]) => module.forward(x),
    ),
    sinusoidalEmbedding: of([[4]], ([labels]) => nn.sinusoidalEmbedding(labels, 8)),
  },
  plane: {
    ...none('numbers and names', 'ERROR_STEPS', 'couplings', 'planeEnds', 'planeSetNames', 'planeSettings'),
    ...none('numbers and names', 'planeSolvers', 'velocityKinds', 'interpolantNames', 'samplerNames'),
    ...none('points of the host', 'PlaneSession', 'drawPlane'),
  },
  flow: {
    ...none('numbers and names', 'LIKELIHOOD_EPSILON', 'TIME_EPSILON', 'TIME_SCALE', 'fixedSolvers', 'sdeDrifts'),
    ...none('numbers and names', 'solverNames', 'timeLaws', 'evaluationsAStep', 'energyDistance'),
    ...none('points of the host', 'countCrossings', 'kernelVelocity', 'optimalAssignment', 'transportCost'),
    ...none('draws', 'Draw', 'initialNoise', 'scheduledTimes'),
    ...none('gives numbers of the host: flow/gradients.test.ts', 'encode', 'likelihood', 'sample', 'straightness'),
    ...none('gives numbers of the host: flow/gradients.test.ts', 'trajectory'),
    ...textVelocities,
    featureErrors: of([state, state, state, [n]], ([v, x0, x1, t]) =>
      flow.featureErrors((x) => engine.tanh(x), v, x0, x1, t),
    ),
    featureDistance: of([state, state, state, [n]], ([v, x0, x1, t]) =>
      flow.featureDistance((x) => engine.tanh(x), 0.4)(v, x0, x1, t),
    ),
    interpolate: of([state, state, [n]], ([x0, x1, t]) => flow.interpolate(x0, x1, t)),
    withMicroBatches: {
      unrecorded: (x) => {
        using parts = flow.withMicroBatches((y) => engine.exp(y), 1);
        return parts(x, engine.zeros([2], { device: x.device }));
      },
    },
    networkVelocity: of([state, [n]], ([x, t]) =>
      flow.networkVelocity({ forward: (y, labels) => engine.mul(y, engine.sin(engine.reshape(labels, [-1, 1]))) })(
        x,
        engine.mul(t, 1e-3),
      ),
    ),
    pathStatistics: { unrecorded: (x) => flow.pathStatistics((y) => engine.exp(y), x, { steps: 2 }).end },
    pseudoHuber: of([state, state, state], ([v, x0, x1]) => flow.pseudoHuber(v, x0, x1)),
    pseudoHubers: of([state, state, state], ([v, x0, x1]) => flow.pseudoHubers(v, x0, x1, 0.3)),
    rectifiedFlowLoss: of([state, state, [n], [3]], ([x1, x0, t, w]) =>
      flow.rectifiedFlowLoss(velocityOf(w), x1, { seed: 1, first: 0, x0, t }),
    ),
    replayable: of([state, [3]], ([x, w]) =>
      flow.replayable(velocityOf(w))(x, engine.zeros([n], { device: x.device })),
    ),
    solve: solved((v, start) => flow.solve(v, start, { solver: 'heun', steps: 3, reverse: true })),
    solveFixed: solved((v, start) => flow.solveFixed(v, start, { solver: 'rk4', steps: 2 })),
    solveRk45: solved((v, start) => flow.solveRk45(v, start, { tolerance: 1e-5 })),
    solveStochastic: solved((v, start) => flow.solveStochastic(v, start, { steps: 3, sigmaVariance: 1, seed: 1 })),
  },
  eval: {
    ...none('scores of rows of features', 'GaussianAccumulator', 'frechetDistance', 'gaussianOf', 'inceptionScore'),
    ...none('scores of rows of features', 'kernelDistance', 'precisionRecall'),
    ...none('gives arrays of the host', 'extractFeatures'),
    ...none('linear algebra of the host', 'findEigenSolver', 'lapackEigenSolver', 'ownEigenSolver'),
    ...none(host, 'inceptionState', 'loadClassifier', 'readStateArrays', 'readStatistics', 'saveClassifier'),
    ...none(host, 'vgg16State', 'writeActivations', 'writeStatistics'),
    // Its forward() takes pixels, which have no gradient.
    Classifier: {
      differentiable: (device) => {
        const module = new Classifier({ imageSize: 8, channels: 1, centered: true }, 3, { device });
        return {
          leaves: [[n, 8, 8, 1]],
          module,
          run: ([x]) => {
            const { features, logits } = module.scores(x);
            return [features, logits];
          },
        };
      },
    },
    FidInception: { none: 'takes pixels, which have no gradient, and has no parameters to train' },
    Lpips: { checkedIn: 'eval/lpips.test.ts' },
  },
  data: none(
    host,
    ...['arrayDataset', 'batches', 'loadCsv'],
    ...['PairSet', 'PairWriter', 'batchIndices', 'channelsFirst', 'channelsLast', 'checkPairs', 'dequantizePixels'],
    ...['digitsDataset', 'downloadCifar10', 'flipHorizontal', 'loadCifar10', 'loadDigits', 'loadMnist'],
    ...['memoryDataset', 'pairCondition', 'changedDataset', 'labelledSubset', 'sourceColumn', 'sourceHash'],
    ...['openAfhq', 'openCelebA', 'openMetFaces'],
    ...['openImageFolder', 'openLmdb', 'openLsun', 'pointSetNames', 'quantisedRange', 'readManifest', 'samplePoints'],
    ...['scalePixels', 'sequentialBatch', 'shuffledIndex', 'toPixels', 'trainingBatch', 'writePairFile'],
  ),
  io: none(
    host,
    ...['EventFile', 'Float', 'NpyRows', 'OrderedDict', 'Tuple', 'decodeNpy', 'decodePng', 'decodeSafetensors'],
    ...['displayImage', 'downloadFile', 'encodeNpy', 'encodePng', 'encodeSafetensors', 'flattenTorch'],
    ...['imageGrid', 'readNpy', 'readNpz', 'readPng'],
    ...['decodeNpz', 'loadModule', 'saveModule'],
    ...['readPth', 'readSafetensors', 'readSafetensorsHeader', 'toFloat32', 'unflattenTorch'],
    ...['writeFileAtomic', 'writeNpy', 'writeNpyRows', 'writeNpz', 'writePng', 'writePth', 'writeSafetensors'],
  ),
  run: {
    ...none('makes a network', 'Pipeline', 'TextToImage', 'buildModel', 'loadModel', 'loadTextToImage', 'openFeatures'),
    ...none(
      'tokens of a text, and numbers of the host',
      ...['ClipTokenizer', 'estimateTextToImage', 'inspectTextToImage', 'loadTokenizer', 'saveTextToImage'],
      ...['serveTextToImage', 'torchRandn'],
    ),
    ...none('trains', 'train', 'trainClassifier', 'trainDomains', 'trainReflow', 'runChain'),
    ...none(
      'files, configurations, text and numbers',
      ...['FeatureCollector', 'compareRuns', 'convert', 'dataStatistics', 'estimateChain', 'evaluateSnapshots'],
      ...['evaluateStraightness', 'isTransfer', 'loadSource', 'sourceConfig', 'startImages', 'transferImages'],
      ...['transferInput'],
      ...['evaluationLoss', 'examine', 'examinePairs', 'findCheckpoint', 'generatePairs', 'inspectFile'],
      ...['inspectModel'],
      ...[
        'listRuns',
        'loadCheckpoint',
        'loadConfig',
        'loadDataset',
        'openRanks',
        'presetNames',
        'readCheckpointHeader',
      ],
      ...['readLatents'],
      ...['reportFlows', 'reportPlane', 'reportedFlows', 'resolveConfig', 'sampleFromCheckpoint', 'sampleModel'],
      ...['sampleWriter', 'saveCheckpoint', 'scoreFeatures', 'serveSamples', 'useTuningFile', 'watchSnapshots'],
    ),
  },
  testing: {
    ...none('random shapes and arrays of the host', 'arrays', 'broadcastableShapes', 'shapes', 'toTensor'),
    ...none('an error', 'GradcheckError'),
    ...none('takes a function, and gives nothing', 'gradcheck'),
  },
};
