// The states of texts under a text network, computed once and stored next to pairs, so that training does not run the text
// network: text_states_<identity>.npy, f32 or f16 [texts, tokens, width]. A text's states do not depend on the others, so that an
// interrupted computation continues where it stopped and ends with the same bytes.
import { type FileHandle, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { noGrad } from '../../autograd/mode.ts';
import { halfOf } from '../../data/pairs/elements.ts';
import type { PairCondition, TextStatesPlan } from '../../data/pairs/manifest.ts';
import { statesFile } from '../../data/pairs/manifest.ts';
import type { PairSet } from '../../data/pairs/set.ts';
import type { Device } from '../../device/device.ts';
import { FileError, formatShape } from '../../errors.ts';
import { bytesOf } from '../../io/array.ts';
import { asFileError, exists, openRegular } from '../../io/file.ts';
import { NpyRows } from '../../io/index.ts';
import { npyHeader } from '../../io/numpy/npy.ts';
import { tensor } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import { turn } from '../../turn.ts';
import type { Config } from '../config/types.ts';
import { fillWeights } from '../text/match.ts';
import { matchNetworks } from '../text/networks.ts';
import { type ClipTokenizer, loadTokenizer } from '../text/tokenizer.ts';
import { filesOf, identityOf } from './network.ts';

/** Names of files of states, complete or not. */
const pattern = /^text_states_[0-9a-f]{16}\.npy(\.part)?$/;

function tokenizerFolder({ model }: Config): string {
  return model.tokenizer || join(model.folder, 'tokenizer');
}

/** The identity of the text network and the tokenizer of a configuration. @throws FileError */
export async function textIdentity(config: Config): Promise<string> {
  const matched = await matchNetworks(config.model.folder, {});
  const tokens = ['vocab.json', 'merges.txt'].map((name) => join(tokenizerFolder(config), name));
  return identityOf([...filesOf(matched, 'text_encoder'), ...tokens]);
}

/** What the states of a configuration's texts are. @throws FileError for a model without text network or tokenizer */
export async function planStates(config: Config, tokenizer: ClipTokenizer): Promise<TextStatesPlan> {
  const { text_encoder: text } = await matchNetworks(config.model.folder, {});
  const { width, vocabulary } = text.network.options;
  if (tokenizer.largest >= vocabulary)
    throw new FileError(
      tokenizerFolder(config),
      `has token ${tokenizer.largest}, but the text network of ${config.model.folder} knows ${vocabulary}`,
    );
  const dtype = config.reflow.pair_dtype === 'f32' ? 'f32' : 'f16';
  return { network: await textIdentity(config), dtype, shape: [tokenizer.length, width] };
}

/** The tokenizer of a configuration. @throws FileError */
export function tokenizerOf(config: Config): Promise<ClipTokenizer> {
  return loadTokenizer(tokenizerFolder(config));
}

interface ComputeOptions {
  device: Device;
  tokenizer: ClipTokenizer;
  signal?: AbortSignal;
  onNotice: (text: string) => void;
}

/**
 * Computes the states of all texts of a condition, unless the folder has them. The caller holds the folder's lock.
 * @throws FileError; the signal's reason when aborted
 */
export async function computeStates(
  folder: string,
  condition: PairCondition & { states: TextStatesPlan },
  config: Config,
  { device, tokenizer, signal, onNotice }: ComputeOptions,
): Promise<void> {
  const { table, states } = condition;
  const [length, width] = states.shape;
  const path = join(folder, statesFile(condition));
  if (await exists(path)) return;
  const cut = table.filter((text) => tokenizer.encode(text).cut > 0).length;
  if (cut > 0) onNotice(`the text network reads ${length - 2} tokens: ${cut} of ${table.length - 1} texts are cut`);
  const matched = await matchNetworks(config.model.folder, {});
  const network = await fillWeights(matched.text_encoder, device);
  let handle: FileHandle | undefined;
  try {
    network.eval();
    const part = `${path}.part`;
    const header = npyHeader(path, { shape: [table.length, length, width], dtype: states.dtype });
    const rowBytes = length * width * (states.dtype === 'f16' ? 2 : 4);
    handle = await openRegular(part, 'update');
    const { size } = await handle.stat();
    let done = Math.min(table.length, Math.max(0, Math.floor((size - header.length) / rowBytes)));
    await handle.truncate(header.length + done * rowBytes);
    await handle.write(header, 0, header.length, 0);
    if (done > 0) onNotice(`resuming from the states of text ${done} of ${table.length}`);
    for (; done < table.length; done++) {
      await turn(signal);
      const { ids } = tokenizer.encode(table[done]);
      const values = scope(() =>
        noGrad(() => network.forward(tensor(ids, { shape: [1, length], dtype: 'i32', device })).dataSync()),
      ) as Float32Array;
      const bytes = bytesOf(states.dtype === 'f16' ? Uint16Array.from(values, halfOf) : values);
      await handle.write(bytes, 0, bytes.length, header.length + done * rowBytes);
      await handle.datasync();
    }
    await handle.sync();
    await handle.close();
    handle = undefined;
    await rename(part, path);
  } catch (error) {
    throw signal?.aborted ? error : asFileError(path, error);
  } finally {
    await handle?.close();
    network.dispose();
  }
}

/** Removes states of other texts or networks from a folder that has no pairs yet. */
export async function removeOtherStates(folder: string, condition: PairCondition & { states: TextStatesPlan }) {
  const own = statesFile(condition);
  for (const name of await readdir(folder)) if (pattern.test(name) && name !== own) await unlink(join(folder, name));
}

/** The states of texts on disk. */
export class TextStates {
  /** [tokens, width] */
  readonly shape: readonly [length: number, width: number];
  private readonly rows: NpyRows;

  private constructor(rows: NpyRows, shape: readonly [number, number]) {
    this.rows = rows;
    this.shape = shape;
  }

  /** @throws FileError for a file that is missing or not the one of the condition */
  static async open(folder: string, condition: PairCondition): Promise<TextStates> {
    const { states, table } = condition;
    if (!states)
      throw new FileError(folder, 'holds pairs without states of texts; generate pairs with this configuration');
    const path = join(folder, statesFile(condition as PairCondition & { states: TextStatesPlan }));
    const rows = await NpyRows.open(path);
    const expected = formatShape([table.length, ...states.shape]);
    if (formatShape(rows.shape) === expected) return new TextStates(rows, states.shape);
    await rows.close();
    throw new FileError(path, `holds ${formatShape(rows.shape)}, expected ${expected}`);
  }

  /**
   * The states of a set of pairs.
   * @throws FileError for pairs without states, or with those of another text network than the configuration's
   */
  static async ofPairs(pairs: PairSet, config: Config): Promise<TextStates> {
    const own = await textIdentity(config);
    for (const { path, manifest } of pairs.folders) {
      const states = manifest?.condition?.states;
      if (states && states.network !== own)
        throw new FileError(
          path,
          `holds states of texts of another text network or tokenizer than model.folder ${config.model.folder}; generate pairs with this configuration`,
        );
      if (!states)
        throw new FileError(path, 'holds pairs without states of texts; generate pairs with this configuration');
    }
    const [{ path, manifest }] = pairs.folders;
    return TextStates.open(path, manifest?.condition as PairCondition);
  }

  /** The states of the texts at these places of the table, f32 [n, tokens, width]. */
  async load(places: ArrayLike<number>): Promise<Float32Array> {
    const size = this.shape[0] * this.shape[1];
    const values = new Float32Array(places.length * size);
    for (let i = 0; i < places.length; i++) values.set(await this.rows.row(places[i]), i * size);
    return values;
  }

  close(): Promise<void> {
    return this.rows.close();
  }
}
