// The identity of a run: its kind of training and its teacher. Checkpoints store it, and a work directory belongs to one.
import { sha256OfFile } from '../../io/file.ts';
import type { Config } from '../config/types.ts';
import { hasLatents, networkIdentity, sha256Of } from '../latents/network.ts';
import { findCheckpoint } from './find.ts';

/** The run that a checkpoint comes from. The architecture is in its configuration. */
export interface RunIdentity {
  /** "train", or reflow.reflow_type. */
  name: string;
  /** SHA-256 of the checkpoint that the run starts from; absent for `train`. */
  teacher?: string;
}

/** The identity of `train`. */
export const trainIdentity: RunIdentity = { name: 'train' };

/** The identity of a student. @throws FileError if that file cannot be read */
export async function reflowIdentity(config: Config): Promise<RunIdentity> {
  return { name: config.reflow.reflow_type, teacher: await teacherIdentity(config) };
}

export function sameIdentity(a: RunIdentity, b: RunIdentity): boolean {
  return a.name === b.name && a.teacher === b.teacher;
}

/** "train_reflow (teacher 0123456789ab)" */
export function describeIdentity({ name, teacher }: RunIdentity): string {
  return teacher === undefined ? name : `${name} (teacher ${teacher.slice(0, 12)})`;
}

/**
 * The identity of the flow that a run starts from: of the checkpoint in reflow.last_flow_ckpt, of the network in model.folder,
 * or of both where the checkpoint holds low-rank changes.
 * @throws FileError
 */
export async function teacherIdentity(config: Config): Promise<string> {
  const { last_flow_ckpt: checkpoint } = config.reflow;
  if (!hasLatents(config)) return sha256OfFile(findCheckpoint(checkpoint));
  const own = checkpoint === '' ? undefined : await sha256OfFile(findCheckpoint(checkpoint));
  if (own !== undefined && config.model.lora_rank === 0) return own;
  const network = await networkIdentity(config);
  return own === undefined ? network : sha256Of(own, network);
}
