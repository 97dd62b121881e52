// The metadata of a folder of pairs, {data_root}/{seed}/:
//   manifest.json     the plan, with teacher and sampler; once complete, also NFE and SHA-256 of each batch
//   progress.jsonl    while pairs are generated: {"sha256", "nfe", "clipped"}, one line per batch, in order
//   z0.npy, z1.npy    layout "official": f32 [count, C, H, W]; z1.npy.part until the last pair is written. With "solved":
//                     "z0", z1 are the images of a data set in their order, and z0 (first in z0.npy.part) the solutions of
//                     the inverse ODE
//   text_states_*.npy the states of the texts of a flow of latents: f32 or f16 [texts, tokens, width]
//   condition.npy     if the manifest has a condition: i32 [count], written when the last pair is
//   z1_<batch>.npy    layout "shards": f32, f16 or u16 [pairs of the batch, C, H, W]; z0 is redrawn from its seed
//
// Batch b contains the pairs b * batch to min((b + 1) * batch, count) - 1. The partition affects the result, because
// the error norm of RK45 is over the batch. The files contain no time and no machine name, so that a resumed run ends
// with the same bytes.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { checkArgument, checkArguments, describeValue, isWhole, kind, kinds, listOf, oneOf } from '../../arguments.ts';
import { ArgumentError, FileError, ValueError } from '../../errors.ts';
import { byteLengthOf, bytesOf } from '../../io/array.ts';
import { exists, readWhole } from '../../io/file.ts';
import { writeFileAtomic } from '../../io/index.ts';
import { parseJsonFile } from '../../io/json.ts';

const FORMAT = 'rectiflow pairs';
const VERSION = 1;
/** The version of pairs with a condition, which a reader of version 1 would not see. */
const WITH_CONDITION = 2;
/** Most texts or classes of a table, and most characters of one. */
const MOST_ENTRIES = 2 ** 20;
const LONGEST_ENTRY = 10_000;
/** Enough for two million batches. */
const MAX_BYTES = 2 ** 28;

/** [channels, height, width] of every image. */
export type PairShape = readonly [channels: number, height: number, width: number];

/** The element type of stored images; u16: value = low + (high - low) * q / 65535; f16: IEEE 754 binary16. */
export type PairDtype = 'f32' | 'u16' | 'f16';

/**
 * The distribution of z0: scale * N(0, 1) by Philox4x32-10 from (seed, stream, index of the pair). If z0 was solved,
 * the distribution that images are mapped to.
 */
export interface NoiseLaw {
  law: 'normal';
  seed: number;
  stream: number;
  scale: number;
}

/**
 * What pairs were made for. The file condition.npy, i32 [count], has the place of each pair's text or class in the table; it is
 * called the column.
 */
export interface PairCondition {
  /** Texts, or classes. */
  kind: 'text' | 'label';
  /** The texts, or the names of the classes. */
  table: readonly string[];
  /** SHA-256 of the column's elements. */
  sha256: string;
  /** The stored states of the texts; absent where a network that is trained computes them. */
  states?: TextStatesPlan;
}

/** States of the texts of a table under a text network, in the file that statesFile() names: [entries, ...shape]. */
export interface TextStatesPlan {
  /** SHA-256 that identifies the text network and its tokenizer. */
  network: string;
  dtype: 'f32' | 'f16';
  shape: readonly [tokens: number, width: number];
}

/** The file of the states of texts: its name says which texts, network and dtype they are of. */
export function statesFile({ table, states }: PairCondition & { states: TextStatesPlan }): string {
  const { network, dtype, shape } = states;
  const hash = createHash('sha256')
    .update(JSON.stringify([table, network, dtype, shape]))
    .digest('hex');
  return `text_states_${hash.slice(0, 16)}.npy`;
}

/**
 * The description of a column.
 * @param column i32 [count], places in the table
 * @throws ValueError for a place outside the table
 * @example
 * const { kind, table } = pairCondition('text', ['a cat', 'a dog'], Int32Array.of(0, 1, 1));
 * ({ kind, table }); // { kind: 'text', table: ['a cat', 'a dog'] }
 */
export function pairCondition(
  kind: PairCondition['kind'],
  table: readonly string[],
  column: Int32Array,
): PairCondition {
  checkArguments('pairCondition', { kind: [kind, oneOf(['text', 'label'])], table: [table, tableKind] });
  checkArgument('pairCondition', 'column', column, kinds.int32s);
  const wrong = column.find((place) => place < 0 || place >= table.length);
  if (wrong !== undefined)
    throw new ValueError(`[pairCondition] expected places in a table of ${table.length}, got ${wrong}`);
  return { kind, table: [...table], sha256: columnHash(column) };
}

/** SHA-256 of a column's elements. */
export function columnHash(column: Int32Array): string {
  return createHash('sha256').update(bytesOf(column)).digest('hex');
}

/** The planned content of a folder of pairs, and its origin. */
export interface PairPlan {
  /** Version of the package that started the folder. */
  package: string;
  /** Kind of device that solved the pairs. */
  device: string;
  layout: 'official' | 'shards';
  /**
   * The end that the ODE solver computed; default z1. A solved z0 is close to noise but cannot be redrawn from a seed.
   */
  solved?: 'z0';
  dtype: PairDtype;
  /** Range of u16; values outside are clipped and counted. */
  range?: readonly [low: number, high: number];
  shape: PairShape;
  count: number;
  /** Number of pairs solved together. */
  batch: number;
  noise: NoiseLaw;
  /** Absent for pairs of a flow without conditions. */
  condition?: PairCondition;
  /** SHA-256 of the checkpoint. */
  teacher: string;
  /** The sampler's name, and its tolerance or number of steps. */
  sampler: Readonly<Record<string, string | number>>;
  /** The merged configuration of the run. */
  config: unknown;
}

/** One completed batch. */
export interface PairShard {
  /** SHA-256 of its elements as stored, without a header. */
  sha256: string;
  nfe: number;
  /** Number of values outside the range of u16 or f16. */
  clipped: number;
}

export interface PairManifest extends PairPlan {
  /** `count` once the folder is complete, otherwise 0. */
  done: number;
  shards: PairShard[];
}

export const files = {
  manifest: 'manifest.json',
  journal: 'progress.jsonl',
  z0: 'z0.npy',
  z1: 'z1.npy',
  condition: 'condition.npy',
  shard: (index: number) => `z1_${String(index).padStart(6, '0')}.npy`,
} as const;

/** The files of the solved end: complete, and partial until the last pair is written; and the file of the other end. */
export function solvedFiles({ solved }: Pick<PairPlan, 'solved'>) {
  const [whole, other] = solved === 'z0' ? [files.z0, files.z1] : [files.z1, files.z0];
  return { whole, part: `${whole}.part`, other };
}

/** Index of the first pair of a batch, and the number of its pairs. */
export function batchRange({ batch, count }: Pick<PairPlan, 'batch' | 'count'>, index: number): [number, number] {
  const first = index * batch;
  return [first, Math.min(batch, count - first)];
}

export function batchCount({ batch, count }: Pick<PairPlan, 'batch' | 'count'>): number {
  return Math.ceil(count / batch);
}

/** Mean number of network evaluations per pair, over the given batches. */
export function meanNfe(plan: Pick<PairPlan, 'batch' | 'count'>, shards: readonly PairShard[]): number {
  checkArguments('meanNfe', { plan: [plan, countedPlan], shards: [shards, shardsKind] });
  let [evaluations, pairs] = [0, 0];
  for (const [index, { nfe }] of shards.entries()) {
    const [, count] = batchRange(plan, index);
    evaluations += nfe * count;
    pairs += count;
  }
  return evaluations / pairs;
}

/**
 * Reads the manifest of a folder; undefined if there is none.
 * @throws FileError if it is damaged
 * @example
 * const manifest = await readManifest('pairs/1');
 * manifest.shape; // [1, 8, 8]
 * manifest.done; // 32
 * await readManifest('photos'); // undefined
 */
export async function readManifest(folder: string): Promise<PairManifest | undefined> {
  checkArgument('readManifest', 'folder', folder, kinds.path);
  const path = join(folder, files.manifest);
  if (!(await exists(path))) return undefined;
  return checkManifest(parseJsonFile(await readWhole(path, MAX_BYTES), path), path);
}

export function writeManifest(folder: string, manifest: PairManifest): Promise<void> {
  const { shards, done, ...plan } = manifest;
  const lines = shards.map((shard) => `    ${shardLine(shard)}`).join(',\n');
  const head = JSON.stringify({ format: FORMAT, version: versionOf(plan), ...plan, done }, null, 2).slice(0, -2);
  const text = `${head},\n  "shards": [${lines ? `\n${lines}\n  ` : ''}]\n}\n`;
  return writeFileAtomic(join(folder, files.manifest), [Buffer.from(text)]);
}

function versionOf({ condition }: Pick<PairPlan, 'condition'>): number {
  return condition ? WITH_CONDITION : VERSION;
}

export function shardLine({ sha256, nfe, clipped }: PairShard): string {
  return JSON.stringify({ sha256, nfe, clipped });
}

/** Reads the complete lines of a journal; the last line may be truncated. @throws FileError */
export async function readJournal(folder: string): Promise<PairShard[]> {
  const path = join(folder, files.journal);
  if (!(await exists(path))) return [];
  const shards: PairShard[] = [];
  // The decoder is lenient, because a power cut can leave anything at the end. It skips a byte-order mark.
  const text = new TextDecoder().decode(await readWhole(path, MAX_BYTES));
  for (const line of text.split('\n').slice(0, -1)) {
    const shard = parseShard(line);
    if (!shard) break;
    shards.push(shard);
  }
  return shards;
}

function parseShard(line: string): PairShard | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isShard(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

type Fields = Record<string, unknown>;

const isHash = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
/** The NFE of a batch is a mean, so it may be fractional. */
const isCount = (value: unknown): boolean => Number.isFinite(value) && (value as number) >= 0;
const isShard = (value: unknown): value is PairShard =>
  isFields(value) && isHash(value.sha256) && isCount(value.nfe) && isWhole(value.clipped, 0);
const isRange = (value: unknown): boolean =>
  Array.isArray(value) && value.length === 2 && value.every(Number.isFinite) && value[0] < value[1];
const isNoise = (value: unknown): boolean =>
  isFields(value) &&
  value.law === 'normal' &&
  isWhole(value.seed, 0) &&
  isWhole(value.stream, 0) &&
  Number.isFinite(value.scale) &&
  (value.scale as number) > 0;

const isEntry = (value: unknown): boolean => typeof value === 'string' && value.length <= LONGEST_ENTRY;
const isTable = (value: unknown): boolean =>
  Array.isArray(value) && value.length >= 1 && value.length <= MOST_ENTRIES && value.every(isEntry);
const isStates = (value: unknown): boolean =>
  isFields(value) &&
  isHash(value.network) &&
  (value.dtype === 'f32' || value.dtype === 'f16') &&
  Array.isArray(value.shape) &&
  value.shape.length === 2 &&
  value.shape.every((size) => isWhole(size, 1));
const isCondition = (value: unknown): boolean =>
  isFields(value) &&
  (value.kind === 'text' || value.kind === 'label') &&
  isTable(value.table) &&
  isHash(value.sha256) &&
  (value.states === undefined || isStates(value.states));
const tableKind = kind(`texts of at most ${LONGEST_ENTRY} characters`, isTable);

const rules: Record<string, (value: unknown, all: Fields) => boolean> = {
  package: (value) => typeof value === 'string',
  device: (value) => typeof value === 'string',
  layout: (value) => value === 'official' || value === 'shards',
  solved: (value, { layout }) => value === undefined || (value === 'z0' && layout === 'official'),
  dtype: (value, { layout }) => value === 'f32' || ((value === 'u16' || value === 'f16') && layout === 'shards'),
  range: (value, { dtype }) => (dtype === 'u16' ? isRange(value) : value === undefined),
  shape: (value) => Array.isArray(value) && value.length === 3 && value.every((dim) => isWhole(dim, 1)),
  count: (value) => isWhole(value, 1),
  batch: (value, { shape, count }) =>
    isWhole(value, 1) && byteLengthOf([...(shape as number[]), count as number, 8], 'f32') !== undefined,
  noise: isNoise,
  condition: (value) => value === undefined || isCondition(value),
  teacher: isHash,
  sampler: isFields,
  config: () => true,
  shards: (value) => Array.isArray(value) && value.every(isShard),
  done: (value, all) => {
    const { count, shards } = all as unknown as PairManifest;
    return value === count
      ? shards.length === batchCount(all as unknown as PairPlan)
      : value === 0 && shards.length === 0;
  },
};

/** [channels, height, width] */
export const pairShapeKind = listOf(kinds.count, 'whole numbers >= 1', 3);

const countedPlan = kind('a plan of pairs', (v) => isFields(v) && isWhole(v.batch, 1) && isWhole(v.count, 1));
const shardsKind = listOf(kind('a completed batch', isShard), 'completed batches');

/** Checks a plan that a caller passed. @throws ArgumentError with the wrong property */
export function checkPlan(op: string, plan: PairPlan): void {
  checkArgument(op, 'plan', plan, kind('a plan of pairs', isFields));
  const all = plan as unknown as Fields;
  for (const [name, holds] of Object.entries(rules))
    if (name !== 'done' && name !== 'shards' && !holds(all[name], all))
      throw new ArgumentError(op, `plan.${name} to be as in PairPlan`, describeValue(all[name]));
}

function checkManifest(value: unknown, path: string): PairManifest {
  if (!isFields(value) || value.format !== FORMAT)
    throw new FileError(path, 'is not a manifest of pairs of this package');
  const { format: _, version, ...all } = value;
  const known = versionOf(all as Pick<PairPlan, 'condition'>);
  if (version !== known)
    throw new FileError(
      path,
      version === VERSION || version === WITH_CONDITION
        ? `has version ${version}, but ${known === VERSION ? 'no' : 'a'} condition`
        : `has version ${version}; this package reads ${VERSION} and ${WITH_CONDITION}`,
    );
  for (const [name, holds] of Object.entries(rules))
    if (!holds(all[name], all)) throw new FileError(path, `is damaged: "${name}" is invalid`);
  return all as unknown as PairManifest;
}
