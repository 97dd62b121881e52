// `train`: trains a 1-rectified flow in a work directory, resuming from its state if there is one.
import { checkOptions, type OptionKinds } from '../../arguments.ts';
import { trainingOptions } from '../arguments.ts';
import { trainIdentity } from '../checkpoints/identity.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import { loadDataset, trainingBatches } from '../data.ts';
import { flowDiagnostics, probeNoise } from './diagnostics.ts';
import { EVALUATED_BATCHES, evaluationLoss } from './evaluation.ts';
import { flowObjective } from './objective.ts';
import { runTask, type TrainOptions, type TrainResult } from './session.ts';

const optionKinds: OptionKinds<TrainOptions> = trainingOptions;

/** Trains a 1-rectified flow. @throws as runTask; FileError for data that cannot be read */
export async function train(config: Config, options: TrainOptions): Promise<TrainResult> {
  requireConfig('train', config);
  const checked = checkOptions('train', options, optionKinds, ['workdir', 'device']);
  const { device, onNotice } = checked;
  using batches = await trainingBatches(config, onNotice);
  using heldOut = await loadDataset(config, 'heldOut', onNotice);
  const { batch_size: batchSize, accumulation } = config.training;
  const evaluated = { device, batchSize: batchSize / accumulation, images: EVALUATED_BATCHES * batchSize };
  // Awaited here, so that the data sets stay open until training ends.
  return await runTask(trainIdentity, config, checked, async (model) => {
    const z0 = probeNoise(config, device);
    return {
      objective: flowObjective(batches, { model, config, device }),
      items: batches.count,
      evaluate: async (signal) => ({
        evaluation: await evaluationLoss(model, heldOut, config, { ...evaluated, signal }),
        diagnostics: flowDiagnostics(model, config, device, { z0 }),
      }),
    };
  });
}
