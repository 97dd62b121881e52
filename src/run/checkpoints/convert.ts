// Conversion between checkpoints of rectiflow and of the official code.
//   .pth -> .safetensors   with a configuration: a rectiflow checkpoint; without: a lossless copy of the tree under its
//                          own names, which every command that takes a checkpoint can open
//   .safetensors -> .pth   a rectiflow checkpoint in the form that the official restore_checkpoint reads; a copied tree
//                          becomes the .pth that it was
//   .safetensors -> a folder, or .safetensors   a checkpoint of a flow of latents as diffusers and kohya's scripts have it
import { extname } from 'node:path';
import { checkArguments, checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { FileError, UsageError } from '../../errors.ts';
import { flattenTorch, readPth, writePth, writeSafetensors } from '../../io/index.ts';
import { compareState, describeMismatch } from '../../nn/module.ts';
import { runOptions } from '../arguments.ts';
import { type Config, resolveConfig } from '../config/index.ts';
import { requireConfig } from '../config/require.ts';
import { hasLatents } from '../latents/network.ts';
import { provenance } from '../machine/provenance.ts';
import {
  type Checkpoint,
  checkpointParts,
  loadCheckpoint,
  readCheckpointHeader,
  writeCheckpoint,
} from './checkpoint.ts';
import { writeLora, writeStudent } from './export_latents.ts';
import { requireFinite } from './finite.ts';
import { outlineModel } from './model.ts';
import { fromOfficialCheckpoint, type OfficialOptions, toOfficialCheckpoint } from './official_checkpoint.ts';
import { isOurs, readTorchTree } from './open.ts';

export interface ConvertOptions extends OfficialOptions {
  /** Configuration of the network; default for a rectiflow checkpoint: the one that it contains. */
  config?: Config;
}

export interface Conversion {
  tensors: number;
  /** 'checkpoint': a rectiflow checkpoint; 'tree': a copy under the names of the .pth; 'official': a .pth; of a flow of latents,
   * 'lora': low-rank changes in kohya's layout, 'folder': a folder of diffusers. */
  kind: 'checkpoint' | 'tree' | 'official' | 'lora' | 'folder';
}

const optionKinds: OptionKinds<ConvertOptions> = {
  config: kinds.object,
  partial: kinds.boolean,
  onNotice: runOptions.onNotice,
};

/**
 * Converts a file.
 * @throws UsageError for other extensions, FileError for a file that is damaged or of another network
 * @example
 * const { kind } = await convert('runs/digits/checkpoints/checkpoint_1.safetensors', 'checkpoint_1.pth');
 * kind; // 'official'
 * await convert('checkpoint_1.pth', 'again.safetensors', { config: await loadConfig('runs/digits/config.json') });
 * (await readCheckpointHeader('again.safetensors')).step; // 5
 */
export async function convert(from: string, to: string, options: ConvertOptions = {}): Promise<Conversion> {
  checkArguments('convert', { from: [from, kinds.path], to: [to, kinds.path] });
  const checked = checkOptions('convert', options, optionKinds);
  if (checked.config) requireConfig('convert', checked.config);
  const endings = `${extname(from)} to ${extname(to)}`;
  if (extname(from) === '.safetensors' && ['', '.safetensors'].includes(extname(to))) {
    const student = await studentOf(from, checked.config);
    if (student) return writeLatents(to, student, checked);
  }
  if (endings === '.safetensors to .pth') return toPth(from, to, checked);
  if (['.pth', '.pt'].includes(extname(from)) && extname(to) === '.safetensors') return fromPth(from, to, checked);
  throw new UsageError(`convert expects .pth to .safetensors or .safetensors to .pth, got ${endings}`);
}

/** A checkpoint of a flow of latents, and its configuration. */
async function studentOf(
  from: string,
  given?: Config,
): Promise<{ checkpoint: Checkpoint; config: Config } | undefined> {
  if (!(await isOurs(from))) return undefined;
  const config = given ?? (await resolveConfig((await readCheckpointHeader(from)).config, from));
  return hasLatents(config) ? { checkpoint: await loadCheckpoint(from), config } : undefined;
}

async function writeLatents(
  to: string,
  { checkpoint, config }: { checkpoint: Checkpoint; config: Config },
  { partial, onNotice }: ConvertOptions,
): Promise<Conversion> {
  if (partial) throw new UsageError('partial has no effect on a flow of latents: it is written as a whole');
  if (extname(to) === '.safetensors') return { tensors: await writeLora(to, checkpoint, config), kind: 'lora' };
  return { tensors: await writeStudent(to, checkpoint, config, { onNotice }), kind: 'folder' };
}

async function fromPth(from: string, to: string, { config, ...options }: ConvertOptions): Promise<Conversion> {
  const tree = await readPth(from);
  if (!config) {
    const { tensors, tree: json } = flattenTorch(tree);
    await writeSafetensors(to, tensors, { tree: json, ...provenance() });
    return { tensors: tensors.size, kind: 'tree' };
  }
  using model = outlineModel(config);
  const checkpoint = fromOfficialCheckpoint(from, tree, model, options);
  requireFinite(from, checkpointParts(checkpoint));
  await writeCheckpoint({ ...checkpoint, path: to, config });
  return { tensors: checkpoint.model.size, kind: 'checkpoint' };
}

async function toPth(from: string, to: string, { config, partial }: ConvertOptions): Promise<Conversion> {
  if (partial) throw new UsageError('partial has no effect when converting to .pth: the whole checkpoint is written');
  if (await isOurs(from)) {
    const checkpoint = await loadCheckpoint(from);
    requireFinite(from, checkpointParts(checkpoint));
    const own = config ?? (await resolveConfig(checkpoint.config, from));
    using model = outlineModel(own);
    const mismatch = describeMismatch(compareState(model.stateDict(), checkpoint.model));
    if (mismatch.length > 0) throw new FileError(from, ['does not fit this model:', ...mismatch]);
    await writePth(to, toOfficialCheckpoint(checkpoint, model, own));
    return { tensors: checkpoint.model.size, kind: 'official' };
  }
  const tree = await readTorchTree(from);
  if (tree === undefined) throw new UsageError(`${from} is neither a rectiflow checkpoint nor a converted .pth`);
  if (config)
    throw new UsageError(`a configuration has no effect on ${from}: it is converted back to the original .pth`);
  await writePth(to, tree);
  return { tensors: flattenTorch(tree).tensors.size, kind: 'official' };
}
