// `train`: a 1-rectified flow from a configuration, in a work directory, going on from the state that is there.
import { checkOptions, type OptionKinds } from '../../arguments.ts';
import { trainingOptions } from '../arguments.ts';
import { trainIdentity } from '../checkpoints/identity.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/schema.ts';
import { closing, loadDataset, trainingBatches } from '../data.ts';
import { flowDiagnostics, probeNoise } from './diagnostics.ts';
import { evaluationLoss } from './evaluation.ts';
import { flowObjective } from './objective.ts';
import { runTask, type TrainOptions, type TrainResult } from './session.ts';

/** Held-out batches of an evaluation during training. */
const EVALUATED_BATCHES = 4;

const optionKinds: OptionKinds<TrainOptions> = trainingOptions;

/** @throws as runTask; FileError for data that cannot be read */
export async function train(config: Config, options: TrainOptions): Promise<TrainResult> {
  requireConfig('train', config);
  const checked = checkOptions('train', options, optionKinds, ['workdir', 'device']);
  const { device, onNotice } = checked;
  const batches = await trainingBatches(config, onNotice);
  using _batches = closing(batches);
  const heldOut = await loadDataset(config, 'heldOut', onNotice);
  using _heldOut = closing(heldOut);
  const { batch_size: batchSize, accumulation } = config.training;
  const evaluated = { device, batchSize: batchSize / accumulation, images: EVALUATED_BATCHES * batchSize };
  // Awaited here: the data sets stay open until it ends.
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
