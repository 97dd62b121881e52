// `train`: trains a 1-rectified flow, from noise or from another data set, in a work directory, resuming from its state if there is one.
import { checkOptions } from '../../arguments.ts';
import { streams } from '../../tensor/streams.ts';
import { trainIdentity } from '../checkpoints/identity.ts';
import { requirePaths } from '../config/index.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import { loadDataset, trainingBatches } from '../data.ts';
import { isTransfer, loadSource, startsFrom } from '../source.ts';
import { flowDiagnostics, probeCount, probeNoise } from './diagnostics.ts';
import { domainsFile, openDomainFeatures, requireSharedFeatures } from './domains.ts';
import { EVALUATED_BATCHES, evaluationLoss } from './evaluation.ts';
import { flowObjective } from './objective.ts';
import { runTask, type TrainOptions, type TrainResult, trainOptionKinds } from './session.ts';
import { domainBatches, transferObjective } from './transfer.ts';

/**
 * Trains a 1-rectified flow in a work directory. Every draw is a function of seed, step and sample, so a run that was stopped, even by
 * a kill, resumes to the same bits.
 * @throws ConfigError for a work directory of another configuration; FileError for data that cannot be read and for a work directory
 * that is in use or not writable; NonFiniteError naming step and op; LockLostError if another process takes the folder over. Saved
 * states remain
 * @example
 * const config = await loadConfig('digits', { model: { nf: 8 }, training: { batch_size: 16, n_iters: 4, snapshot_freq: 4 } });
 * const losses = [];
 * const onStep = ({ step, loss }) => losses.push(loss);
 * const { steps, checkpoint } = await train(config, { workdir: 'runs/mine', device: await openDevice('cpu'), onStep });
 * steps; // 5
 * checkpoint; // 'runs/mine/checkpoints/checkpoint_1.safetensors'
 * losses.length; // 5
 */
export async function train(config: Config, options: TrainOptions): Promise<TrainResult> {
  requireConfig('train', config);
  const checked = checkOptions('train', options, trainOptionKinds, ['workdir', 'device']);
  const { device, onNotice } = checked;
  const transfers = isTransfer(config);
  if (transfers) requirePaths(config, 'train');
  requireSharedFeatures(config, checked.ranks);
  const trained = transfers
    ? await domainBatches(config, checked)
    : { target: await trainingBatches(config, onNotice) };
  using batches = trained.target;
  using source = 'source' in trained ? trained.source : undefined;
  using heldOut = await loadDataset(config, 'heldOut', onNotice);
  using starts = transfers ? await loadSource(config, 'heldOut', onNotice) : undefined;
  const { batch_size: batchSize, accumulation } = config.training;
  const evaluated = {
    device,
    batchSize: batchSize / accumulation,
    images: EVALUATED_BATCHES * batchSize,
    source: starts,
  };
  let domains: Awaited<ReturnType<typeof openDomainFeatures>> | undefined;
  const close = { [Symbol.dispose]: () => domains?.[Symbol.dispose]() };
  using _domains = close;
  // Awaited here, so that the data sets stay open until training ends.
  return await runTask(trainIdentity, config, checked, async (model, workdir) => {
    if (config.training.feature_weight > 0)
      domains = await openDomainFeatures(config, {
        device,
        out: domainsFile(workdir),
        signal: checked.signal,
        onNotice,
      });
    const features = domains?.features;
    const z0 = starts
      ? await startsFrom(starts, config, { num: probeCount(config), stream: streams.evaluation })
      : probeNoise(config, device);
    const common = { model, config, device };
    return {
      objective: source ? transferObjective(batches, source, { ...common, features }) : flowObjective(batches, common),
      items: batches.count,
      evaluate: async (signal) => ({
        evaluation: await evaluationLoss(model, heldOut, config, { ...evaluated, features, signal }),
        diagnostics: flowDiagnostics(model, config, device, { z0 }),
      }),
    };
  });
}
