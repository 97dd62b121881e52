// `chain`: trains a few-step generator from data, one stage after another, each as its own command would run it. An
// interrupted chain, even a killed one, resumes: completed stages are kept, and the current stage continues from its
// last state.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { DeviceError, FileError } from '../../errors.ts';
import { removeLeftovers } from '../../io/atomic.ts';
import { makeFolder } from '../../io/file.ts';
import { writeJson } from '../../io/json.ts';
import { runOptions } from '../arguments.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import { openFeatures } from '../eval/feature_network.ts';
import { trainClassifier } from '../eval/train_classifier.ts';
import { times } from '../machine/timing.ts';
import { ownSignal, type Ranks, ranksKind } from '../ranks/ranks.ts';
import { requireSameJob } from '../ranks/same.ts';
import { type FlowReport, type ReportProgress, reportFlows } from '../report/index.ts';
import { generatePairs } from '../sampling/generate_pairs.ts';
import { openDistance } from '../training/distance.ts';
import { trainDomains } from '../training/domains.ts';
import { trainReflow } from '../training/reflow.ts';
import type { TrainOptions } from '../training/session.ts';
import { train } from '../training/train.ts';
import { lockFolder } from '../workdir/lock.ts';
import { estimateChain, type StageEstimate } from './estimate.ts';
import {
  type ChainStage,
  type ClassifierStage,
  chainFile,
  chainStages,
  flowStages,
  isComplete,
  reportConfig,
} from './stages.ts';
import { addTime, chainRun } from './times.ts';

export interface ChainOptions extends Pick<TrainOptions, 'signal' | 'onStep' | 'onCompile' | 'onPlan' | 'onNotice'> {
  workdir: string;
  device: Device;
  /**
   * The processes of a job, from `openRanks`: flows and pairs are made by all of them, classifiers and the report by the first, which
   * alone has the report.
   */
  ranks?: Ranks;
  /** Called when each stage begins; the last stage is the report. */
  onStage?: (stage: { name: string; index: number; total: number }) => void;
  /**
   * Called before the first stage with the estimate of each, measured on this machine in a few seconds. Stages that are
   * already complete take no time.
   */
  onEstimate?: (stages: StageEstimate[]) => void;
  /** Called with the progress of stages that do not train a flow. */
  onProgress?: (progress: ChainProgress) => void;
}

export interface ChainProgress extends Omit<ReportProgress, 'what'> {
  what: 'classifier steps' | 'pairs' | ReportProgress['what'];
}

export interface ChainResult {
  stages: ChainStage[];
  /** Absent if `signal` ended the chain early. */
  report?: FlowReport;
}

const optionKinds: OptionKinds<ChainOptions> = {
  ...runOptions,
  workdir: kinds.path,
  ranks: ranksKind,
  onStep: kinds.callback,
  onCompile: kinds.callback,
  onPlan: kinds.callback,
  onStage: kinds.callback,
  onEstimate: kinds.callback,
};

/**
 * Trains a few-step generator from data, stage by stage: a flow, its pairs, the flow reflowed on them, a distilled one, and a report. A
 * chain that was stopped, even by a kill, resumes.
 * @throws as train, trainReflow and generatePairs; ConfigError for a flow of latents, which `trainReflow` trains. Completed work stays
 * @example
 * const config = await loadConfig('digits', { model: { nf: 8 }, chain: { classifier: false } });
 * const controller = new AbortController();
 * const { stages, report } = await runChain(config, {
 *   workdir: 'runs/chain',
 *   device: await openDevice('cpu'),
 *   signal: controller.signal,
 *   onStep: () => controller.abort(),
 * });
 * stages[0].name; // '1-rectified flow'
 * // It was stopped after one step. The same call continues it, and ends with a report.
 * report; // undefined
 */
export async function runChain(config: Config, options: ChainOptions): Promise<ChainResult> {
  requireConfig('runChain', config);
  const checked = checkOptions('runChain', options, optionKinds, ['workdir', 'device']);
  const { workdir, device, ranks, signal, onStage, onNotice, onProgress } = checked;
  const stages = chainStages(config, workdir);
  if (ranks) requireSameJob(ranks, config, device);
  if (ranks && !ranks.isFirst) return followChain(stages, ranks, checked);
  const total = stages.length + 1;
  const unlock = await lockFolder(makeFolder(workdir), { signal: ownSignal(checked), notice: onNotice });
  try {
    await removeLeftovers(
      workdir,
      /^(chain|report|times)\.json$|^report\.html$|^samples\.png$|^((source_|domains_)?classifier|reader)\.safetensors$/,
    );
    await writeJson(join(workdir, chainFile), config);
    await lookAhead(stages, config, checked);
    await sayEstimate(stages, config, checked);
    for (const [index, stage] of stages.entries()) {
      if (ranks && (await wantToStop(ranks, signal))) return { stages };
      onStage?.({ name: stage.name, index, total });
      const start = performance.now();
      const addSeconds = () => addTime(workdir, stage.name, (performance.now() - start) / 1000);
      try {
        await runChainStage(stage, checked);
      } catch (error) {
        // A stage that failed for another reason reports that, and its time is not counted.
        if (isStop(error, signal)) await addSeconds();
        // The other ranks hear of it before the next stage.
        if (!ranks || stage.kind !== 'classifier' || !isStop(error, signal)) throw error;
      }
      await addSeconds();
      if (!ranks && signal?.aborted) return { stages };
    }
    if (ranks && (await wantToStop(ranks, signal))) return { stages };
    onStage?.({ name: 'report', index: stages.length, total });
    const run = await chainRun(config, stages, workdir);
    const reported = { workdir, device, run, signal, onNotice, onProgress };
    return { stages, report: await reportFlows(flowStages(stages), reportConfig(config, stages), reported) };
  } catch (error) {
    if (isStop(error, signal)) return { stages };
    throw error;
  } finally {
    await unlock();
  }
}

/** Whether work was stopped: between two batches it throws the signal's reason, or that of another rank. */
function isStop(error: unknown, signal: AbortSignal | undefined): boolean {
  return (signal?.aborted && error === signal.reason) || (error instanceof DOMException && error.name === 'AbortError');
}

/** Waits for all ranks. @returns whether one of them was interrupted */
async function wantToStop(ranks: Ranks, signal: AbortSignal | undefined): Promise<boolean> {
  await ranks.meet();
  return ranks.anyAborted(signal);
}

/** The chain on a rank that is not the first: the stages that all ranks make together. */
async function followChain(stages: ChainStage[], ranks: Ranks, options: ChainOptions): Promise<ChainResult> {
  try {
    for (const stage of stages) {
      if (await wantToStop(ranks, options.signal)) break;
      if (stage.kind !== 'classifier') await runChainStage(stage, options);
    }
    await wantToStop(ranks, options.signal);
  } catch (error) {
    if (!isStop(error, options.signal)) throw error;
  }
  return { stages };
}

/** Checks, before the first stage begins, the files that a later stage needs. */
async function lookAhead(stages: readonly ChainStage[], config: Config, options: ChainOptions): Promise<void> {
  for (const stage of flowStages(stages))
    if (stage.source === 'pairs') (await openDistance(stage.config, options))[Symbol.dispose]();
  if (config.chain.classifier) return;
  try {
    const { device, onNotice } = options;
    (await openFeatures(config, { device, onNotice }))[Symbol.dispose]();
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    options.onNotice?.(`the report will not have distances: ${error.message}`);
  }
}

async function sayEstimate(stages: readonly ChainStage[], config: Config, options: ChainOptions): Promise<void> {
  const { device, onEstimate, onCompile, onNotice } = options;
  if (!onEstimate) return;
  const complete = await Promise.all(stages.map(isComplete));
  if (complete.every(Boolean)) return;
  onNotice?.('measuring this machine, to say how long each stage takes');
  try {
    const estimates = await estimateChain(config, device, { onCompile });
    onEstimate(estimates.map((estimate, i) => (complete[i] ? { ...estimate, ...times(estimate, 0) } : estimate)));
  } catch (error) {
    // The stage that does not fit into memory says what to change.
    if (!(error instanceof DeviceError)) throw error;
  }
}

async function runChainStage(stage: ChainStage, options: ChainOptions): Promise<void> {
  const { device, ranks, signal, onStep, onCompile, onPlan, onNotice, onProgress } = options;
  const { config } = stage;
  if (stage.kind === 'flow')
    // The next stages look for the checkpoint in exactly this folder.
    await (stage.source === 'data' ? train : trainReflow)(config, {
      workdir: stage.folder,
      otherStage: 'refuse',
      device,
      ranks,
      signal,
      onStep,
      onCompile,
      onPlan,
      onNotice,
    });
  else if (stage.kind === 'pairs')
    await generatePairs(config, {
      device,
      complete: 'keep',
      ranks,
      signal,
      onNotice,
      onProgress: (done, total) => onProgress?.({ what: 'pairs', done, total }),
    });
  else if (!existsSync(stage.path)) await chainClassifier(stage, options);
}

async function chainClassifier({ path, part, reads, config }: ClassifierStage, options: ChainOptions): Promise<void> {
  const { device, signal, onCompile, onNotice, onProgress } = options;
  const onStep = ({ step, total }: { step: number; total: number }) =>
    onProgress?.({ what: 'classifier steps', done: step + 1, total });
  if (reads === 'domains') {
    // The seed differs from that of the classifier that may weigh the loss.
    const own = { device, out: path, blended: false, seed: config.seed + 1, signal, onStep, onNotice };
    const { accuracy } = await trainDomains(config, own);
    onNotice?.(`the classifier of the domains has ${(100 * accuracy).toFixed(1)} % accuracy on held-out images`);
    return;
  }
  const trained = await trainClassifier(config, {
    device,
    out: path,
    part,
    signal,
    onCompile,
    onNotice,
    onStep,
  });
  const tested = part === 'train' ? 'the held-out images' : 'the training images of the flow, which it has not seen';
  onNotice?.(`the classifier has ${(100 * trained.accuracy).toFixed(1)} % accuracy on ${tested}`);
}
