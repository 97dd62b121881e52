// Every export of rectiflow/run, and every function that the commands use, reports wrong arguments with a RectiflowError that
// names function, expectation and value, before it touches any file. Functions that would take long are only called with an
// option that they refuse.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { digitsDataset } from '../../src/data/index.ts';
import { openDevice } from '../../src/device/open.ts';
import { ArgumentError, ConfigError, FileError, type RectiflowError } from '../../src/errors.ts';
import { makeFolder } from '../../src/io/file.ts';
import { Adam } from '../../src/nn/index.ts';
import { chainStages } from '../../src/run/chain/stages.ts';
import { unetOptions } from '../../src/run/checkpoints/model.ts';
import { isOurs, openCheckpoint } from '../../src/run/checkpoints/open.ts';
import { describeInertKeys } from '../../src/run/config/inert.ts';
import { describeInert } from '../../src/run/config/official_flags.ts';
import { applyOverrides } from '../../src/run/config/overrides.ts';
import { missingKeys } from '../../src/run/config/requirements.ts';
import { pixels } from '../../src/run/data.ts';
import { buildStatistics, statisticsPath } from '../../src/run/eval/reference_statistics.ts';
import { requireLabels } from '../../src/run/eval/train_classifier.ts';
import * as run from '../../src/run/index.ts';
import { describeDuration, megabytes } from '../../src/run/machine/resources.ts';
import { tune } from '../../src/run/machine/tune.ts';
import { readTuning, tuningIdentity, useNamedTuning, writeTuning } from '../../src/run/machine/tuning.ts';
import { trainingLoop } from '../../src/run/training/loop.ts';
import { describePlan } from '../../src/run/training/plan.ts';
import { configWith } from '../support/config.ts';
import { faultsOf } from '../support/garbage.ts';

afterEach(() => vi.unstubAllGlobals());

const device = await openDevice('cpu');
const config = await configWith('digits', {
  'model.nf': 8,
  'model.ch_mult': [1],
  'model.num_res_blocks': 1,
  'eval.features': 'pixels',
});
const model = run.buildModel(config, device);
const optimizer = new Adam(model, { learningRate: 1e-3 });
const dataset = await digitsDataset('train');
const network = await run.openFeatures(config, { device });

/** Functions that the commands use and the package does not export. */
const internal = {
  applyOverrides,
  buildStatistics,
  chainStages,
  describeDuration,
  describePlan,
  describeInertKeys,
  describeInert,
  isOurs,
  makeFolder,
  megabytes,
  missingKeys,
  openCheckpoint,
  pixels,
  readTuning,
  requireLabels,
  statisticsPath,
  trainingLoop,
  tune,
  tuningIdentity,
  unetOptions,
  useNamedTuning,
  writeTuning,
};

/** An option that is refused only after everything before it was read. */
const refused = { device: 5 };
const rows = { values: new Float32Array(8), rows: 4, columns: 2 };
const statistics = {
  path: 'a.npz',
  gaussian: { mean: new Float64Array(2), covariance: Float64Array.of(1, 0, 0, 1), count: 4 },
  activations: rows,
};
const training = { workdir: 'w', otherStage: 'refuse', ...refused };
const evaluation = { workdir: 'w', partial: true, ...refused };
const flow = { name: 'flow', folder: 'f', config, source: 'data', checkpoint: 'no such', distilledTo: 1 };
const objective = { shapes: [[1]], fetch: async () => [new Float32Array(1)], loss: () => undefined };
const origin = { cpu: 'x', device: 'cpu', created: 'today' };
const plan = {
  workdir: 'w',
  parameters: 1,
  from: 0,
  total: 1,
  disk: 1,
  freeDisk: 1,
  memory: 1,
  totalMemory: 1,
  seconds: 1,
  low: 1,
  high: 1,
};

const valid = {
  estimateChain: [[config]],
  runChain: [[config, training]],
  chainStages: [[config, 'w']],
  examinePairs: [['no such', { config, data: true, limit: 1 }]],
  loadCheckpoint: [['no such']],
  readCheckpointHeader: [['no such']],
  saveCheckpoint: [['a.safetensors', { model, optimizer, config, stage: 5, step: 1 }]],
  requireLabels: [[config]],
  trainClassifier: [[config, { out: 'c', steps: 1, ...refused }]],
  applyOverrides: [[config, [{ path: ['model', 'nf'], text: '8' }]]],
  describeInertKeys: [[config, ['sampling.sample_N']]],
  describeInert: [[['sampling.snr']]],
  loadConfig: [['digits', { model: { nf: 8 } }, () => {}]],
  missingKeys: [[config, 'train']],
  resolveConfig: [
    [{}, 'here'],
    [{ model: { nf: 10n } }, 'here'],
  ],
  convert: [['a.pth', 'b.safetensors', { config, partial: true, ...refused }]],
  loadDataset: [[config, 'train', () => {}]],
  pixels: [[new Float32Array(3), config, 'floor']],
  FeatureCollector: [[]],
  'FeatureCollector.add': [[{ features: rows, logits: rows }], [{ features: { ...rows, columns: 3 } }]],
  openFeatures: [[config, { device, onNotice() {} }]],
  'network.extract': [[Uint8Array.of(1, 2), [1, 1, 2, 1], new AbortController().signal]],
  evaluateSnapshots: [[config, { ...evaluation, checkpoint: 'no such' }]],
  evaluationLoss: [[model, dataset, config, { batchSize: 2, images: 2, ...refused }]],
  scoreFeatures: [['pixels', { features: rows }, statistics]],
  buildStatistics: [[config, network, 'a.npz', refused]],
  dataStatistics: [[config, network, refused]],
  statisticsPath: [[config, network]],
  evaluateStraightness: [[model, config, { steps: 1, ...refused }]],
  watchSnapshots: [[config, { ...evaluation, timeoutMinutes: 0, pollSeconds: 1 }]],
  findCheckpoint: [['no such']],
  inspectFile: [['no such']],
  inspectModel: [[config]],
  trainingLoop: [[{ model, optimizer, objective, batchSize: 1, from: 0, total: 1, ...refused }]],
  buildModel: [[config, device]],
  unetOptions: [[config]],
  isOurs: [['no such']],
  loadModel: [['no such', config, { device, weights: 'raw', partial: true }]],
  openCheckpoint: [['no such', model, config, { partial: true }]],
  readLatents: [['no such', config]],
  sampleWriter: [['a.png']],
  'checked.writer': [['a.npy', new Float32Array(4), [1, 2, 2, 1], config]],
  generatePairs: [[config, { complete: 'keep', partial: true, ...refused }]],
  describeDuration: [[1]],
  describePlan: [[plan]],
  megabytes: [[1]],
  trainReflow: [[config, { ...training, partial: true }]],
  reportedFlows: [['no such']],
  reportFlows: [[[flow], config, { workdir: 'w', ...refused }]],
  reportPlane: [
    [[{ name: 'a', velocity() {}, steps: 1 }], { out: 'o', title: 't', data: new Float32Array(2), ...refused }],
  ],
  sampleFromCheckpoint: [['no such', config, { num: 1, ...refused }]],
  'Pipeline.load': [['no such', { config, weights: 'raw', partial: true, ...refused }]],
  sampleModel: [[model, config, { num: 1, ...refused }]],
  serveSamples: [['no such', config, { host: 'localhost', port: 0, queue: 1, partial: true, ...refused }]],
  train: [[config, training]],
  tune: [[device, { turns: -1 }]],
  readTuning: [['no such']],
  useTuningFile: [['no such']],
  tuningIdentity: [[device]],
  writeTuning: [['a.json', {}, origin]],
  makeFolder: [['a']],
};

it('refuses invalid values by name, leaves no file, and returns', async () => {
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('there is no network here')));
  const instances = {
    network,
    FeatureCollector: new run.FeatureCollector(),
    checked: { writer: run.sampleWriter('a.npy') },
  };
  const excluded = {
    examine: 'takes no arguments and compiles every kernel',
    tune: 'measures for minutes where the device and no more is given; see below',
  };
  expect(await faultsOf({ ...run, ...internal }, { valid, instances, excluded })).toEqual([]);
});

it('tune refuses everything but a device and its options', async () => {
  for (const values of [[], [5], [null], [device, 5], [device, { turns: 0 }], [device, { turn: 1 }]])
    await expect((tune as (...v: unknown[]) => unknown)(...values)).rejects.toThrow(ArgumentError);
});

/** Every option of every function: a value of the wrong type names the option. */
it('names each option of the wrong type', async () => {
  const options = { workdir: 'w', device, otherStage: 'refuse', signal: AbortSignal.abort() };
  const keys = ['workdir', 'device', 'otherStage', 'signal', 'onStep', 'onCompile', 'onPlan', 'onNotice'];
  for (const key of keys)
    await expect(run.train(config, { ...options, [key]: 5 } as never)).rejects.toThrow(
      new RegExp(`^\\[train\\] expected ${key} to be .*, got 5$`),
    );
});

it('refuses a batch of the wrong size from an objective', async () => {
  const wrong = { ...objective, fetch: async () => [new Float32Array(2)] };
  const looped = trainingLoop({
    model,
    optimizer,
    objective: wrong as never,
    device,
    batchSize: 1,
    from: 0,
    total: 1,
  });
  await expect(looped).rejects.toThrow(/\[write\] expected a Float32Array of 1 .*, got a Float32Array of 2/);
});

it('refuses a return value of the wrong type from an objective', async () => {
  const loop = (wrong: object) =>
    trainingLoop({ model, optimizer, objective: wrong as never, device, batchSize: 1, from: 0, total: 1 });
  await expect(loop({ ...objective, fetch: async () => undefined })).rejects.toThrow(
    '[trainingLoop] expected what fetch returns to be a list of arrays, got undefined',
  );
  await expect(loop(objective)).rejects.toThrow('[trainingLoop] expected a tensor from objective.loss, got undefined');
});

it('describes a bigint in a configuration', async () => {
  await expect(run.resolveConfig({ model: { nf: 10n } }, 'here')).rejects.toThrow(/model\.nf: .*got 10n/);
});

it('refuses features of another width, and to join no batches', () => {
  const collector = new run.FeatureCollector();
  expect(() => collector.all()).toThrow('[FeatureCollector.all] expected at least one batch, got none');
  collector.add({ features: rows });
  expect(() => collector.add({ features: { ...rows, rows: 2, columns: 4 } })).toThrow(
    '[FeatureCollector.add] expected features of 2 columns, no classes, got features of 4 columns, no classes',
  );
});

it.each<[call: () => unknown, type: new (...values: never[]) => RectiflowError, message: RegExp]>([
  [() => run.generatePairs(config, { device }), ConfigError, /^add --config\.reflow\.last_flow_ckpt FILE: /],
  [
    () => run.trainReflow(config, { device, workdir: 'w' }),
    ConfigError,
    /^add --config\.reflow\.last_flow_ckpt FILE: /,
  ],
  [
    () => chainStages({ ...config, chain: { ...config.chain, flows: 1e9 } }, 'w'),
    ConfigError,
    /chain\.flows: .*got 1000000000/,
  ],
  [
    () => run.train({} as never, { workdir: 'w', device }),
    ConfigError,
    /^invalid configuration passed to train:\n {2}seed: .*is missing/,
  ],
  [
    () => run.train(5 as never, { workdir: 'w', device }),
    ArgumentError,
    /^\[train\] expected config to be a configuration, as loadConfig\(\) returns it, got 5$/,
  ],
  [
    () => run.train(config, { device } as never),
    ArgumentError,
    /^\[train\] expected workdir to be a path, got none in the options$/,
  ],
  [
    () => run.train(config, { workDir: 'w', device } as never),
    ArgumentError,
    /^\[train\] expected options among .*, got "workDir" \(did you mean "workdir"\?\)$/,
  ],
  [
    () => run.buildModel({ ...config, model: { ...config.model, nf: 'many' } } as never, device),
    ConfigError,
    /model\.nf: .*got "many"/,
  ],
  [() => run.loadConfig(5 as never), ArgumentError, /^\[loadConfig\] expected reference to be a path, got 5$/],
  [() => run.resolveConfig(5, 'here'), ConfigError, /^the configuration in here is not a table of keys$/],
  [
    () => run.sampleModel(model, config, { num: 1, device, sampler: 'euler' } as never),
    ArgumentError,
    /^\[sampleModel\] expected options among/,
  ],
  [
    () => run.serveSamples('x', config, { device, port: 70000 }),
    ArgumentError,
    /^\[serveSamples\] expected port to be a port from 0 to 65535, got 70000$/,
  ],
  [
    () => run.serveSamples('x', config, { device, host: 'a/b' }),
    ArgumentError,
    /^\[serveSamples\] expected host to be a name or an address, got "a\/b"$/,
  ],
  [() => run.serveSamples('no such', config, { device, port: 0 }), FileError, /^no such: no such file/],
  [
    () => run.loadModel('x', config, { device, weights: 'average' } as never),
    ArgumentError,
    /weights to be one of "ema", "raw", got "average"/,
  ],
])('%s: %s', async (call, type, message) => {
  const error = await Promise.resolve()
    .then(call)
    .catch((caught: Error) => caught);
  expect(error).toBeInstanceOf(type);
  expect((error as Error).message).toMatch(message);
});

it('touches no file before all arguments are checked', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-run-arguments-'));
  const workdir = join(folder, 'run');
  await expect(run.train({ ...config, seed: -1 }, { workdir, device })).rejects.toThrow(ConfigError);
  await expect(run.runChain(config, { workdir, device, onStages() {} } as never)).rejects.toThrow(ArgumentError);
  await expect(isOurs(workdir)).resolves.toBe(false);
  expect(() => run.findCheckpoint(workdir)).toThrow(/no such file/);
});
