// Checkpoints between this package's files and those of the official code.
//   .pth -> .safetensors   with a configuration: a checkpoint of ours, in our names; without: the same tree under its own
//                          names, without loss, which is opened wherever a checkpoint is named
//   .safetensors -> .pth   a checkpoint of ours as the official restore_checkpoint reads it; a converted tree as it was
import { extname } from 'node:path';
import { checkArguments, checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { FileError, UsageError } from '../../errors.ts';
import { flattenTorch, readPth, writePth, writeSafetensors } from '../../io/index.ts';
import { compareState, describeMismatch } from '../../nn/module.ts';
import { runOptions } from '../arguments.ts';
import { type Config, resolveConfig } from '../config/index.ts';
import { requireConfig } from '../config/require.ts';
import { provenance } from '../machine/provenance.ts';
import { checkpointParts, loadCheckpoint, writeCheckpoint } from './checkpoint.ts';
import { requireFinite } from './finite.ts';
import { outlineModel } from './model.ts';
import { fromOfficialCheckpoint, type OfficialOptions, toOfficialCheckpoint } from './official_checkpoint.ts';
import { isOurs, readTorchTree } from './open.ts';

export interface ConvertOptions extends OfficialOptions {
  /** Configuration of the network; a checkpoint of ours carries its own. */
  config?: Config;
}

export interface Conversion {
  tensors: number;
  /** 'checkpoint': in this package's names; 'tree': under the names of the file it was read from; 'official': as a .pth. */
  kind: 'checkpoint' | 'tree' | 'official';
}

const optionKinds: OptionKinds<ConvertOptions> = {
  config: kinds.object,
  partial: kinds.boolean,
  onNotice: runOptions.onNotice,
};

/** @throws UsageError for other endings, FileError for a file that is damaged or of another network */
export async function convert(from: string, to: string, options: ConvertOptions = {}): Promise<Conversion> {
  checkArguments('convert', { from: [from, kinds.path], to: [to, kinds.path] });
  const checked = checkOptions('convert', options, optionKinds);
  if (checked.config) requireConfig('convert', checked.config);
  const endings = `${extname(from)} to ${extname(to)}`;
  if (endings === '.safetensors to .pth') return toPth(from, to, checked);
  if (['.pth', '.pt'].includes(extname(from)) && extname(to) === '.safetensors') return fromPth(from, to, checked);
  throw new UsageError(`converts .pth to .safetensors and .safetensors to .pth; got ${endings}`);
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
  if (partial) throw new UsageError('partial has no effect on the way to a .pth, which takes the whole checkpoint');
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
  if (tree === undefined) throw new UsageError(`${from} is neither a checkpoint of rectiflow nor a converted .pth`);
  if (config) throw new UsageError(`a configuration has no effect on ${from}, which becomes the .pth that it was`);
  await writePth(to, tree);
  return { tensors: flattenTorch(tree).tensors.size, kind: 'official' };
}
