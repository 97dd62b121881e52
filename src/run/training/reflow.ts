// `reflow`: training on the pairs of a trained flow (paper, sections 2.2 and 3.2; official run_lib_reflow.py).
//   generate_data_from_z0   pairs (z0, z1) of noise and where the flow's EMA takes it (run/sampling/generate_pairs.ts)
//   generate_data_from_z1   pairs of images z1 and where the reverse ODE takes them
//   train_reflow            trains the next flow, or a distilled one, on stored pairs, optionally mixed with pairs of
//                           images
//   train_online_reflow     the same, on pairs that the flow's EMA generates in each step
// A student starts from the raw weights of the flow, with a new average and step count.
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { PairSet, type PairShape } from '../../data/index.ts';
import { refuseBroken } from '../../data/pairs/check.ts';
import type { Device } from '../../device/device.ts';
import { ConfigError, FileError } from '../../errors.ts';
import { tensor } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import { streams } from '../../tensor/streams.ts';
import { turn } from '../../turn.ts';
import type { FlowNetwork } from '../arguments.ts';
import { requireFinite } from '../checkpoints/finite.ts';
import { reflowIdentity } from '../checkpoints/identity.ts';
import { loadModel, openCheckpoint } from '../checkpoints/open.ts';
import { requirePaths } from '../config/index.ts';
import { requireConfig } from '../config/require.ts';
import { imageShape, pairShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import type { ImageBatches } from '../data.ts';
import { fillLatents, hasLatents, isLatent } from '../latents/network.ts';
import { TextStates } from '../latents/text_states.ts';
import { openPairSource } from '../sampling/pair_source.ts';
import { isTransfer, startImages } from '../source.ts';
import { DeviceBatch } from './batch.ts';
import { type Coupling, flowDiagnostics, probeCount, probeNoise } from './diagnostics.ts';
import { openDistance } from './distance.ts';
import { domainsFile, openDomainFeatures, requireSharedFeatures } from './domains.ts';
import { EVALUATED_BATCHES, type Evaluation } from './evaluation.ts';
import { latentObjective } from './latent_objective.ts';
import { type Objective, onlineObjective, pairObjective, teacherEnds } from './objective.ts';
import { runTask, type TrainOptions, type TrainResult, trainOptionKinds } from './session.ts';
import { featureTerms, onlineTransferObjective, sourceBatches } from './transfer.ts';

type ReflowOptions = TrainOptions & { partial?: boolean };

const optionKinds: OptionKinds<ReflowOptions> = { ...trainOptionKinds, partial: kinds.boolean };

/**
 * Trains a student of the flow in reflow.last_flow_ckpt, or resumes an interrupted run.
 * @throws as train; ConfigError for a loss that the schedule or data do not support; FileError for weights, pairs or
 * a checkpoint that cannot be read, and for pairs that fail the checks
 * @example
 * const config = await loadConfig('runs/digits/config.json', {
 *   reflow: { last_flow_ckpt: 'runs/digits/checkpoints/checkpoint_1.safetensors', data_root: 'pairs' },
 * });
 * const { steps, checkpoint } = await trainReflow(config, { workdir: 'runs/straight', device: await openDevice('cpu') });
 * steps; // 5
 * checkpoint; // 'runs/straight/checkpoints/checkpoint_1.safetensors'
 */
export async function trainReflow(config: Config, options: ReflowOptions): Promise<TrainResult> {
  requireConfig('trainReflow', config);
  const checked = checkOptions('trainReflow', options, optionKinds, ['workdir', 'device']);
  requirePaths(config, 'reflow');
  const { device, partial, onNotice, signal } = checked;
  const { reflow, training } = config;
  requireSharedFeatures(config, checked.ranks);
  const measure = await openDistance(config, checked);
  using _measure = measure;
  const identity = await reflowIdentity(config);
  const offline = reflow.reflow_type === 'train_reflow';
  const shape = pairShape(config);
  using opened = offline ? await openPairSource(config, onNotice) : undefined;
  const images = opened && { dataset: opened.dataset, centered: opened.centered, sha256: opened.sha256 };
  const pairs = offline ? await PairSet.open(reflow.data_root, shape, onNotice, images) : undefined;
  let real: PairSet | undefined;
  let texts: TextStates | undefined;
  let teacher: FlowNetwork | undefined;
  let source: ImageBatches | undefined;
  let domains: Awaited<ReturnType<typeof openDomainFeatures>> | undefined;
  try {
    if (!offline && isTransfer(config)) source = await sourceBatches(config, onNotice);
    if (pairs) requireStarts(pairs, config);
    if (pairs) await refuseBroken(pairs, reflow.data_root, config.sampling.init_noise_scale);
    if (pairs && hasLatents(config)) texts = await TextStates.ofPairs(pairs, config);
    if (pairs && reflow.real_data_ratio > 0) real = await openReal(config, shape, onNotice);
    return await runTask(identity, config, checked, async (model, workdir) => {
      if (isLatent(model) && (model.lora || reflow.last_flow_ckpt === '')) await fillLatents(model, config, device);
      if (!hasLatents(config) || reflow.last_flow_ckpt !== '') {
        const flow = await openCheckpoint(reflow.last_flow_ckpt, model, config, { partial, onNotice });
        const weights = reflow.student === 'ema' ? flow.ema : flow.model;
        requireFinite(flow.path, { weights });
        model.loadStateDict(weights, flow.path, { partial });
      }
      if (!pairs) ({ model: teacher } = await loadModel(reflow.last_flow_ckpt, config, { device, partial, onNotice }));
      if (training.feature_weight > 0)
        domains = await openDomainFeatures(config, { device, out: domainsFile(workdir), signal, onNotice });
      const inFeatures = domains && featureTerms(domains.features, config);
      const common = { model, config, device, distance: measure.distance, inFeatures };
      const objective = pairs
        ? isLatent(model)
          ? latentObjective(pairs, texts as TextStates, { ...common, model })
          : pairObjective({ pairs, real }, common)
        : source
          ? onlineTransferObjective(teacher as FlowNetwork, source, common)
          : onlineObjective(teacher as FlowNetwork, common);
      const coupling = pairs
        ? await storedCoupling(pairs, config, texts)
        : await onlineCoupling(teacher as FlowNetwork, config, device);
      return {
        objective,
        items: pairs?.count ?? source?.count,
        evaluate: async (signal) => ({
          evaluation: await evaluateObjective(objective, common, signal),
          diagnostics: flowDiagnostics(model, config, device, coupling),
        }),
      };
    });
  } finally {
    domains?.[Symbol.dispose]();
    teacher?.dispose();
    source?.[Symbol.dispose]();
    await pairs?.close();
    await texts?.close();
    await real?.close();
  }
}

/** @throws ConfigError for pairs that start from noise, if the flow starts from images, and the other way round */
function requireStarts(pairs: PairSet, config: Config): void {
  const inverted = pairs.folders.every(({ manifest }) => manifest?.solved === 'z0');
  if (pairs.fromImages === isTransfer(config) || inverted) return;
  throw new ConfigError(
    `reflow.data_root ${config.reflow.data_root} holds pairs that start from ${pairs.fromImages ? 'images' : 'noise'}, but sampling.init_type is ${config.sampling.init_type}`,
  );
}

/** Opens the pairs of real images. @throws FileError for pairs that start from drawn noise, or that are not finite */
async function openReal(
  { reflow, sampling }: Config,
  shape: PairShape,
  notice?: (text: string) => void,
): Promise<PairSet> {
  const root = reflow.real_data_root;
  const real = await PairSet.open(root, shape, notice);
  try {
    const drawn = real.folders.find(({ manifest }) => manifest?.solved !== 'z0');
    if (drawn)
      throw new FileError(
        drawn.path,
        'does not hold pairs of images; generate them with reflow.reflow_type generate_data_from_z1',
      );
    await refuseBroken(real, root, sampling.init_noise_scale);
    return real;
  } catch (error) {
    await real.close();
    throw error;
  }
}

/** Pairs spread evenly over the store, the same in every run. */
async function storedCoupling(pairs: PairSet, config: Config, texts?: TextStates): Promise<Coupling> {
  const count = Math.min(probeCount(config), pairs.count);
  const { z0, z1, column } = await pairs.load(
    Int32Array.from({ length: count }, (_, i) => Math.floor((i * pairs.count) / count)),
  );
  const { table } = pairs.condition ?? {};
  if (texts && column) return { z0, z1, states: await texts.load(column) };
  return { z0, z1, ...(table && column && { texts: Array.from(column, (place) => table[place]) }) };
}

/** Noise or source images that training does not use, and where the teacher takes it. */
async function onlineCoupling(teacher: FlowNetwork, config: Config, device: Device): Promise<Coupling> {
  const z0 = isTransfer(config)
    ? await startImages(config, { num: probeCount(config), stream: streams.evaluation })
    : probeNoise(config, device);
  const z1 = scope(() => {
    const start = tensor(z0, { shape: [probeCount(config), ...imageShape(config)], device });
    return teacherEnds(teacher, start, config).dataSync() as Float32Array;
  });
  return { z0, z1 };
}

/** The loss of the weights that the model holds now, over the batches that would follow the last step. */
async function evaluateObjective(
  objective: Objective,
  { model, config, device }: { model: FlowNetwork; config: Config; device: Device },
  signal: AbortSignal | undefined,
): Promise<Evaluation> {
  const { batch_size: batchSize, accumulation, n_iters: last } = config.training;
  const part = batchSize / accumulation;
  const { training } = model;
  using batch = new DeviceBatch(batchSize, objective.shapes, device);
  model.eval();
  try {
    const batches: number[] = [];
    for (let i = 1; i <= EVALUATED_BATCHES; i++) {
      await turn(signal);
      batch.load(last + i, await objective.fetch(last + i));
      let sum = 0;
      for (let first = 0; first < batchSize; first += part)
        sum += scope(() => noGrad(() => objective.loss(batch.part(first, part)).item())) * (part / batchSize);
      batches.push(sum);
    }
    const loss = batches.reduce((a, b) => a + b, 0) / batches.length;
    return { loss, images: EVALUATED_BATCHES * batchSize, byTime: [], batches };
  } finally {
    model.train(training);
  }
}
