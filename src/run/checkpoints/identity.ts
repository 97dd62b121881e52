// The identity of a run: its kind of training and its teacher. Checkpoints store it, and a work directory belongs to one.
import { sha256OfFile } from '../../io/file.ts';
import type { Config } from '../config/types.ts';
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

/** The identity of a student of reflow.last_flow_ckpt. @throws FileError if that file cannot be read */
export async function reflowIdentity({ reflow }: Config): Promise<RunIdentity> {
  return { name: reflow.reflow_type, teacher: await sha256OfFile(findCheckpoint(reflow.last_flow_ckpt)) };
}

export function sameIdentity(a: RunIdentity, b: RunIdentity): boolean {
  return a.name === b.name && a.teacher === b.teacher;
}

/** "train_reflow (teacher 0123456789ab)" */
export function describeIdentity({ name, teacher }: RunIdentity): string {
  return teacher === undefined ? name : `${name} (teacher ${teacher.slice(0, 12)})`;
}
