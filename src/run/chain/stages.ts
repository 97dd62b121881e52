// The stages of a chain as data: each has a folder below the work directory and the configuration that it runs with,
// the same as for `train` and `reflow` by hand.
//   classifier.safetensors         with chain.classifier: features for scores, trained on the labels
//   source_classifier.safetensors  of a domain transfer: the same for the source, and domains_classifier.safetensors for the domains
//   reader.safetensors             with captions too: a classifier of other images, to read the classes of samples
//   1_rectified_flow               trained on the data, from noise or from the source
//   1_rectified_flow_pairs         (z0, z1) of that flow
//   2_rectified_flow               trained on these pairs; and so on, up to chain.flows
//   2_rectified_flow_k=1_distill   a generator of chain.distil_steps Euler steps, trained on pairs of the last flow
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkArgument, kinds } from '../../arguments.ts';
import { readManifest } from '../../data/index.ts';
import { ConfigError } from '../../errors.ts';
import { captionsOf } from '../captions/captions.ts';
import { requireConfig } from '../config/require.ts';
import { classNames } from '../config/tables/data.ts';
import type { Config } from '../config/types.ts';
import { hasLatents } from '../latents/network.ts';
import type { ReportedFlow } from '../report/measure.ts';
import { isTransfer, sourceConfig } from '../source.ts';
import { domainsFile } from '../training/domains.ts';
import { snapshotNumber } from '../training/session.ts';
import { snapshotPath } from '../workdir/workdir.ts';

/** File in the folder of a chain that holds its merged configuration. */
export const chainFile = 'chain.json';

/** A stage that ends with a checkpoint: a flow, or a generator distilled from one. */
export interface FlowStage extends ReportedFlow {
  kind: 'flow';
}

export interface PairStage {
  kind: 'pairs';
  name: string;
  folder: string;
  config: Config;
}

/** A stage that trains a classifier: for scores, or to read samples with captions. */
export interface ClassifierStage {
  kind: 'classifier';
  name: string;
  /** The classifier's file. */
  path: string;
  /** The images that it is trained on. */
  part: 'train' | 'heldOut';
  /** What it reads: the classes of the data set or of the source, or the two domains. */
  reads: 'classes' | 'source' | 'domains';
  config: Config;
}

export type ChainStage = FlowStage | PairStage | ClassifierStage;

/**
 * The stages of a configuration, in order.
 * @param workdir the folder of the chain
 * @throws ConfigError for a flow of latents, whose first flow is the teacher in model.folder
 */
export function chainStages(config: Config, workdir: string): ChainStage[] {
  requireConfig('chainStages', config);
  checkArgument('chainStages', 'workdir', workdir, kinds.path);
  if (hasLatents(config))
    throw new ConfigError(
      `model.name: expected ncsnpp or unet2d_condition for a chain, which trains a flow on images first; got ${config.model.name}, which \`reflow\` trains on pairs of the network in model.folder`,
    );
  const { flows, distil_steps: k } = config.chain;
  const stages: ChainStage[] = [];
  if (config.chain.classifier)
    stages.push({
      kind: 'classifier',
      name: 'classifier for scores',
      path: join(workdir, 'classifier.safetensors'),
      part: 'train',
      reads: 'classes',
      config: withAllClasses(config),
    });
  if (config.chain.classifier && isTransfer(config))
    stages.push(
      {
        kind: 'classifier',
        name: 'classifier of the source',
        path: join(workdir, 'source_classifier.safetensors'),
        part: 'train',
        reads: 'source',
        config: withAllClasses(sourceConfig(config)),
      },
      {
        kind: 'classifier',
        name: 'classifier of the domains',
        path: join(workdir, 'domains_classifier.safetensors'),
        part: 'train',
        reads: 'domains',
        config,
      },
    );
  if (config.chain.classifier && captionsOf(config))
    stages.push({
      kind: 'classifier',
      name: 'classifier that reads samples',
      path: join(workdir, 'reader.safetensors'),
      part: 'heldOut',
      reads: 'classes',
      config,
    });
  const first = flowStage('data', '1-rectified flow', join(workdir, '1_rectified_flow'), config);
  stages.push(first);
  let teacher = first;
  for (let flow = 2; flow <= flows; flow++) {
    const pairs = pairStage(config, workdir, flow - 1, teacher);
    const folder = join(workdir, `${flow}_rectified_flow`);
    teacher = flowStage('pairs', `${flow}-rectified flow`, folder, reflowConfig(config, pairs, teacher));
    stages.push(pairs, teacher);
  }
  if (k === 0) return stages;
  const pairs = pairStage(config, workdir, flows, teacher);
  const folder = join(workdir, `${flows}_rectified_flow_k=${k}_distill`);
  const student = flowStage(
    'pairs',
    `distilled to ${k} step${k === 1 ? '' : 's'}`,
    folder,
    distilConfig(config, pairs, teacher),
  );
  return [...stages, pairs, { ...student, distilledTo: k }];
}

/** The configuration with images of all classes, which a classifier needs to tell them apart. */
function withAllClasses(config: Config): Config {
  return classNames[config.data.dataset] ? { ...config, data: { ...config.data, category: '' } } : config;
}

/** The stages that end with a flow. */
export function flowStages(stages: readonly ChainStage[]): FlowStage[] {
  return stages.filter((stage) => stage.kind === 'flow');
}

/** Whether nothing is left to do in a stage. */
export async function isComplete(stage: ChainStage): Promise<boolean> {
  if (stage.kind === 'classifier') return existsSync(stage.path);
  if (stage.kind === 'flow') return existsSync(stage.checkpoint);
  // The stage itself reports a manifest that cannot be read.
  const manifest = await readManifest(join(stage.folder, String(stage.config.seed))).catch(() => undefined);
  return manifest !== undefined && manifest.done === manifest.count;
}

/** The configuration for the report of a chain. */
export function reportConfig(config: Config, stages: readonly ChainStage[]): Config {
  const stageOf = (part: ClassifierStage['part'], reads: ClassifierStage['reads'] = 'classes') =>
    stages.find(
      (stage): stage is ClassifierStage => stage.kind === 'classifier' && stage.part === part && stage.reads === reads,
    );
  const [scorer, reader] = [stageOf('train'), stageOf('heldOut')];
  const [source, domains] = [stageOf('train', 'source'), stageOf('train', 'domains')];
  const own = {
    ...(source && { source_features: `classifier:${source.path}` }),
    ...(domains && { domains: domains.path }),
    ...(scorer && { features: `classifier:${scorer.path}` }),
    ...(reader && { reader: reader.path }),
  };
  return { ...config, eval: { ...config.eval, ...own } };
}

function flowStage(source: FlowStage['source'], name: string, folder: string, config: Config): FlowStage {
  return {
    kind: 'flow',
    source,
    name,
    folder,
    config,
    checkpoint: snapshotPath(folder, snapshotNumber(config.training.n_iters, config)),
  };
}

function pairStage(config: Config, workdir: string, flow: number, teacher: FlowStage): PairStage {
  const { pairs, pair_sampler, pair_steps, pair_tol, pair_guidance } = config.chain;
  const folder = join(workdir, `${flow}_rectified_flow_pairs`);
  return {
    kind: 'pairs',
    name: `pairs of the ${teacher.name}`,
    folder,
    config: {
      ...config,
      sampling: {
        ...config.sampling,
        use_ode_sampler: pair_sampler,
        sample_N: pair_steps,
        ode_tol: pair_tol,
        guidance: pair_guidance,
      },
      reflow: {
        ...config.reflow,
        reflow_type: 'generate_data_from_z0',
        last_flow_ckpt: teacher.checkpoint,
        data_root: folder,
        total_number_of_samples: pairs,
      },
    },
  };
}

/** Reflow uses all times and the squared difference; reflow.reflow_loss applies to distillation only. */
function reflowConfig(config: Config, pairs: PairStage, teacher: FlowStage): Config {
  return studentConfig(config, pairs, teacher, config.chain.reflow_iters, {
    reflow_t_schedule: 'uniform',
    reflow_loss: 'l2',
  });
}

function distilConfig(config: Config, pairs: PairStage, teacher: FlowStage): Config {
  const { distil_steps: k, distil_iters } = config.chain;
  return studentConfig(config, pairs, teacher, distil_iters, { reflow_t_schedule: k === 1 ? 't0' : k });
}

/** The classifier of the domains that the first flow was trained with: all flows of a chain are. */
function featureNetwork({ training }: Config, teacher: FlowStage): string {
  if (training.feature_weight === 0 || training.feature_network !== '') return training.feature_network;
  return teacher.config.training.feature_network || domainsFile(teacher.folder);
}

function studentConfig(
  config: Config,
  pairs: PairStage,
  teacher: FlowStage,
  iterations: number,
  times: Partial<Config['reflow']>,
): Config {
  return {
    ...config,
    training: { ...config.training, n_iters: iterations, feature_network: featureNetwork(config, teacher) },
    reflow: {
      ...config.reflow,
      reflow_type: 'train_reflow',
      last_flow_ckpt: teacher.checkpoint,
      data_root: pairs.folder,
      total_number_of_samples: pairs.config.reflow.total_number_of_samples,
      ...times,
    },
  };
}
