// Checks whether pairs are fit for training. `checkPairs` reads all of them and reports its findings; `refuseBroken` is
// the quick check before the first training step, at the cost of a few batches.
import { createHash } from 'node:crypto';
import { basename, join } from 'node:path';
import { checkArgument, checkArguments, checkOptions, kind, kinds, listOf, type OptionKinds } from '../../arguments.ts';
import { FileError, formatShape, RectiflowError, ValueError } from '../../errors.ts';
import { turn } from '../../turn.ts';
import { listFolders } from '../list_files.ts';
import { conditionFindings, tableText } from './condition_findings.ts';
import { decodeEnd, drawStart, elementBytes, LARGEST_HALF } from './elements.ts';
import { openPairFolder, type PairFolder } from './folder.ts';
import { batchRange, type PairShape, pairShapeKind } from './manifest.ts';
import { ChannelStatistics, type NoiseFacts, NoiseStatistics, reasonsAgainstNoise } from './pair_statistics.ts';
import { PairSet } from './set.ts';
import { type PairSource, pairSourceKind, sourceStart } from './source.ts';

/** The authors' recommendation for CIFAR-10. */
const ADVISED = { shape: '[3, 32, 32]', pairs: 1_000_000 };
/** Share of values that may be outside the range of 16-bit storage. */
const CLIPPED_SHARE = 1e-3;
/** Number of pairs that refuseBroken reads. */
const SAMPLED = 256;
/** Number of stored z0 per folder that are compared with the noise of their seed. */
const REDRAWN = 16;

export interface PairFinding {
  what: string;
  /** 'note': worth knowing; 'broken': unfit for training. */
  state: 'ok' | 'note' | 'broken';
  detail: string;
}

export interface PairCheckOptions {
  /** The expected shape of every image; default: that of the first folder. */
  shape?: PairShape;
  /** Planned number of pairs per folder. */
  planned?: number;
  /** Standard deviation of z0 if no manifest states it; default 1. */
  noiseScale?: number;
  /** Reads at most this many pairs per folder, from its beginning; default: all. */
  limit?: number;
  /** The images that pairs start from, if not from noise; pairs in shards need it. */
  source?: PairSource;
  /** Mean and standard deviation per channel of the data in network range, to compare z1 with. */
  data?: { mean: readonly number[]; deviation: readonly number[] };
  signal?: AbortSignal;
  /** Called with the number of pairs read so far and in total. */
  onProgress?: (done: number, total: number) => void;
}

const checkOptionKinds: OptionKinds<PairCheckOptions> = {
  shape: pairShapeKind,
  planned: kinds.count,
  noiseScale: kinds.positive,
  limit: kinds.count,
  source: pairSourceKind,
  data: kinds.object,
  signal: kinds.signal,
  onProgress: kinds.callback,
};
const dataKinds = { mean: listOf(kinds.finite, 'finite numbers'), deviation: listOf(kinds.finite, 'finite numbers') };

/**
 * Checks the pairs below `root`, reading each once.
 * @throws FileError if the root cannot be read or has no pairs
 * @example
 * const findings = await checkPairs('pairs');
 * findings.filter(({ state }) => state === 'broken'); // []
 */
export async function checkPairs(root: string, options: PairCheckOptions = {}): Promise<PairFinding[]> {
  checkArgument('checkPairs', 'root', root, kinds.path);
  const checked = checkOptions('checkPairs', options, checkOptionKinds);
  if (checked.data) checked.data = checkOptions('checkPairs', checked.data, dataKinds, ['mean', 'deviation']);
  const findings: PairFinding[] = [];
  const folders: PairFolder[] = [];
  try {
    const links: PairFinding[] = [];
    const names = await listFolders(root, (detail) => links.push({ what: 'links', state: 'note', detail }));
    for (const name of names) await openInto(folders, findings, join(root, name), checked);
    if (folders.length + findings.length === 0) throw new FileError(root, 'holds no pairs in any of its folders');
    findings.push(...links);
    if (folders.length === 0) return findings;
    findings.push(...countFindings(folders, checked), ...conditionFindings(folders));
    const channels = checked.data?.mean.length ?? folders[0].shape[0];
    if (channels !== folders[0].shape[0] || (checked.data?.deviation.length ?? channels) !== channels)
      throw new ValueError(`[checkPairs] expected data of ${folders[0].shape[0]} channels, got a different number`);
    const survey = new Survey(folders[0].shape, checked);
    const limits = folders.map(({ count }) => Math.min(count, checked.limit ?? count));
    const total = limits.reduce((sum, limit) => sum + limit, 0);
    let done = 0;
    for (const [at, folder] of folders.entries())
      for (let index = 0; index * folder.batch < limits[at]; index++) {
        await turn(checked.signal);
        done += await survey.batch(folder, index, limits[at]);
        checked.onProgress?.(done, total);
      }
    return [
      ...findings,
      ...(await survey.findings()),
      ...clippingFindings(folders),
      ...(await redrawFindings(folders, checked.source)),
    ];
  } finally {
    for (const folder of folders) await folder.close();
  }
}

const pairSet = kind('a PairSet', (v) => v instanceof PairSet);

/**
 * Checks the first pairs and a sample of all pairs: every value is finite, and z0 is noise.
 * @param noiseScale standard deviation of z0 if no manifest states it
 * @throws FileError with the reasons
 */
export async function refuseBroken(pairs: PairSet, root: string, noiseScale: number): Promise<void> {
  checkArguments('refuseBroken', {
    pairs: [pairs, pairSet],
    root: [root, kinds.text],
    noiseScale: [noiseScale, kinds.positive],
  });
  const { count } = pairs;
  const half = Math.min(SAMPLED / 2, count);
  const indices = new Set<number>();
  for (let i = 0; i < half; i++) indices.add(i).add(Math.floor((i * count) / half));
  const [starts, ends] = [new NoiseStatistics(), new NoiseStatistics()];
  for (const index of indices) {
    const { z0, z1 } = await pairs.load(Int32Array.of(index));
    const { manifest } = pairs.locate(index).folder;
    const scale = manifest?.noise.scale ?? noiseScale;
    for (const [name, values] of Object.entries({ z0, z1 })) {
      const at = values.findIndex((value) => !Number.isFinite(value));
      if (at >= 0) throw new FileError(root, `${name} of pair ${index} holds ${values[at]}; ${examine(root)}`);
    }
    // Images, and z0 from the inverse ODE, are not drawn noise, so the noise test does not apply.
    if (manifest?.solved === 'z0' || manifest?.noise.law === 'images') continue;
    starts.add(z0, scale);
    ends.add(z1, scale);
  }
  if (starts.count === 0) return;
  const reasons = reasonsAgainstNoise(starts.facts());
  if (reasons.length === 0) return;
  const swapped = reasonsAgainstNoise(ends.facts()).length === 0;
  throw new FileError(
    root,
    swapped
      ? `z0 and z1 are swapped: z1 is the noise, z0 has ${reasons.join(', ')}; ${examine(root)}`
      : `z0 is not noise of deviation ${noiseScale} (sampling.init_noise_scale): divided by it, it has ` +
          `${reasons.join(', ')}; ${examine(root)}`,
  );
}

const examine = (root: string) => `see rectiflow pairs ${root}`;

async function openInto(
  folders: PairFolder[],
  findings: PairFinding[],
  path: string,
  { shape, source }: Pick<PairCheckOptions, 'shape' | 'source'>,
) {
  const what = `folder ${basename(path)}`;
  try {
    const folder = await openPairFolder(path, source);
    if (!folder) return;
    const expected = shape ?? folders[0]?.shape ?? folder.shape;
    if (formatShape(folder.shape) !== formatShape(expected)) {
      await folder.close();
      findings.push({
        what,
        state: 'broken',
        detail: `holds ${formatShape(folder.shape)}, expected ${formatShape(expected)}`,
      });
      return;
    }
    folders.push(folder);
    findings.push({ what, state: 'ok', detail: describe(folder) });
  } catch (error) {
    if (!(error instanceof RectiflowError)) throw error;
    findings.push({ what, state: 'broken', detail: error.message });
  }
}

function describe({ count, shape, manifest }: PairFolder): string {
  const pairs = `${formatCount(count)} pairs of ${formatShape(shape)}`;
  if (!manifest) return `${pairs}, z0.npy and z1.npy without a manifest: teacher and sampler are unknown`;
  const { layout, dtype, batch, sampler, teacher, shards, solved, condition, package: version } = manifest;
  const nfes = shards.map(({ nfe }) => nfe);
  const mean = shards.reduce((sum, { nfe }, index) => sum + nfe * batchRange(manifest, index)[1], 0) / count;
  const range = `${nfes.reduce((a, b) => Math.min(a, b))} to ${nfes.reduce((a, b) => Math.max(a, b))}`;
  const settings = Object.entries(sampler).map(([name, value]) => (name === 'name' ? value : `${name} ${value}`));
  return (
    `${pairs}${solved === 'z0' ? ', z0 from images' : manifest.noise.law === 'images' ? ', from images of a source' : ''}${condition ? `, ${tableText(condition)}` : ''}, ${layout} ${dtype} in batches of ${batch}, ${settings.join(' ')}, NFE ${mean.toFixed(1)} (${range}), ` +
    `teacher ${teacher.slice(0, 12)}, rectiflow ${version}`
  );
}

function countFindings(folders: readonly PairFolder[], { planned }: PairCheckOptions): PairFinding[] {
  const total = folders.reduce((sum, { count }) => sum + count, 0);
  const findings: PairFinding[] = [];
  const other = folders.filter(({ count }) => planned !== undefined && count !== planned);
  const few = formatShape(folders[0].shape) === ADVISED.shape && total < ADVISED.pairs;
  const remarks = [
    ...other.map(
      ({ path, count }) => `${basename(path)} has ${formatCount(count)} of ${formatCount(planned as number)} planned`,
    ),
    ...(few ? [`${formatCount(ADVISED.pairs)} are recommended for CIFAR-10`] : []),
  ];
  findings.push({
    what: 'count',
    state: remarks.length > 0 ? 'note' : 'ok',
    detail: [`${formatCount(total)} pairs`, ...remarks].join('; '),
  });
  const teachers = new Set(folders.flatMap(({ manifest }) => manifest?.teacher ?? []));
  if (teachers.size > 1)
    findings.push({
      what: 'teachers',
      state: 'note',
      detail: `the folders come from ${teachers.size} different teachers`,
    });
  return findings;
}

/** Statistics gathered in one pass over the pairs. */
class Survey {
  private readonly options: PairCheckOptions;
  /** Drawn z0, and the z1 of the same pairs. */
  private readonly starts = new NoiseStatistics();
  private readonly ends = new NoiseStatistics();
  /** z0 from the inverse ODE. */
  private readonly inverted = new NoiseStatistics();
  /** Number of pairs that start from images. */
  private fromImages = 0;
  private readonly channels: ChannelStatistics;
  private readonly places: { folder: PairFolder; index: number }[] = [];
  private readonly hashes = { z0: [] as number[], z1: [] as number[] };
  private readonly wrongSums: string[] = [];
  private readonly nonFinite: string[] = [];
  private summed = 0;

  constructor([channels]: PairShape, options: PairCheckOptions) {
    this.options = options;
    this.channels = new ChannelStatistics(channels);
  }

  /** Adds a batch. @returns the number of its pairs that were read: those below `limit` */
  async batch(folder: PairFolder, index: number, limit: number): Promise<number> {
    const { manifest, path, shape } = folder;
    const [first, count] = batchRange(folder, index);
    const bytes = await folder.solvedBytes(index);
    const shard = manifest?.shards[index];
    if (shard) {
      this.summed++;
      if (createHash('sha256').update(bytes).digest('hex') !== shard.sha256)
        this.wrongSums.push(`${basename(path)} pairs ${first} to ${first + count - 1}`);
    }
    const stored = manifest ?? { shape, dtype: 'f32' as const };
    const imageBytes = shape.reduce((product, dim) => product * dim, elementBytes(stored.dtype));
    const scale = manifest?.noise.scale ?? this.options.noiseScale ?? 1;
    const read = Math.min(count, limit - first);
    for (let i = 0; i < read; i++) {
      const solved = decodeEnd(bytes.subarray(i * imageBytes, (i + 1) * imageBytes), stored);
      const inverse = manifest?.solved === 'z0';
      const z0 = inverse ? solved : await folder.start(first + i);
      const z1 = inverse ? await folder.end(first + i) : solved;
      if (manifest?.noise.law === 'images') this.fromImages++;
      else {
        (inverse ? this.inverted : this.starts).add(z0, scale);
        if (!inverse) this.ends.add(z1, scale);
      }
      for (const [name, values] of [
        ['z0', z0],
        ['z1', z1],
      ] as const) {
        this.hashes[name].push(shortHash(values));
        if (!values.every(Number.isFinite)) this.nonFinite.push(`${name} of ${basename(path)} pair ${first + i}`);
        else if (name === 'z1') this.channels.add(values);
      }
      this.places.push({ folder, index: first + i });
    }
    return read;
  }

  async findings(): Promise<PairFinding[]> {
    return [
      {
        what: 'checksums',
        state: this.wrongSums.length > 0 ? 'broken' : this.summed > 0 ? 'ok' : 'note',
        detail:
          this.wrongSums.length > 0
            ? `mismatches: ${someOf(this.wrongSums)}`
            : this.summed > 0
              ? `${this.summed} batches match`
              : 'no checksums are stored',
      },
      verdict('finite', this.nonFinite, 'every value is finite', 'not finite: '),
      ...this.noiseFindings(),
      // Images occur as z0 as often as they are passed.
      ...(this.fromImages > 0 ? [] : [await this.duplicates('z0')]),
      await this.duplicates('z1'),
      this.channelFinding(),
    ];
  }

  private noiseFindings(): PairFinding[] {
    return [...this.invertedFinding(), ...(this.starts.count > 0 ? this.drawnFindings() : [])];
  }

  /** A perfect flow would map images to exact noise. A deviation from it does not make the pairs unfit. */
  private invertedFinding(): PairFinding[] {
    if (this.inverted.count === 0) return [];
    const facts = this.inverted.facts();
    const against = reasonsAgainstNoise(facts);
    const detail = `the inverse ODE of images; ${against.length > 0 ? against.join(', ') : momentsOf(facts)}`;
    return [{ what: 'z0 of images', state: against.length > 0 ? 'note' : 'ok', detail }];
  }

  private drawnFindings(): PairFinding[] {
    const [z0, z1] = [this.starts.facts(), this.ends.facts()];
    const [against0, against1] = [reasonsAgainstNoise(z0), reasonsAgainstNoise(z1)];
    const noise: PairFinding = {
      what: 'z0 is noise',
      state: against0.length > 0 ? 'broken' : 'ok',
      detail: against0.length > 0 ? `no: ${against0.join(', ')}` : momentsOf(z0),
    };
    const swapped = against0.length > 0 && against1.length === 0;
    const order: PairFinding = {
      what: 'order',
      state: swapped ? 'broken' : against1.length === 0 ? 'note' : 'ok',
      detail: swapped
        ? 'z0 and z1 are swapped: z1 is the noise'
        : against1.length === 0
          ? 'z1 is noise too: has the flow been trained?'
          : `z1 is not noise (relative variance ${z1.variance.toPrecision(3)})`,
    };
    return [noise, order];
  }

  private async duplicates(end: 'z0' | 'z1'): Promise<PairFinding> {
    const hashes = this.hashes[end];
    const order = Uint32Array.from(hashes, (_, i) => i).sort((a, b) => hashes[a] - hashes[b] || a - b);
    const found: string[] = [];
    for (let i = 1; i < order.length; i++) {
      if (hashes[order[i]] !== hashes[order[i - 1]]) continue;
      const [a, b] = [this.places[order[i - 1]], this.places[order[i]]];
      const read = ({ folder, index }: typeof a) => (end === 'z0' ? folder.start(index) : folder.end(index));
      const [one, other] = [await read(a), await read(b)];
      if (one.every((value, at) => Object.is(value, other[at]))) found.push(`${nameOf(a)} = ${nameOf(b)}`);
    }
    return verdict(`${end} unique`, found, `all ${formatCount(hashes.length)} differ`, `${found.length} duplicates: `);
  }

  private channelFinding(): PairFinding {
    const { mean, deviation } = this.channels.facts();
    const list = (values: readonly number[]) => values.map((value) => value.toFixed(3)).join(' ');
    const here = `z1 mean ${list(mean)}, deviation ${list(deviation)}`;
    const { data } = this.options;
    if (!data) return { what: 'z1 channels', state: 'ok', detail: here };
    const shift = Math.max(...mean.map((value, c) => Math.abs(value - data.mean[c]) / data.deviation[c]));
    const ratios = deviation.map((value, c) => value / data.deviation[c]);
    const far = Math.max(...ratios.map((ratio) => Math.max(ratio, 1 / ratio)));
    return {
      what: 'z1 channels',
      state: !(shift <= 0.5 && far <= 2) ? 'broken' : shift > 0.1 || far > 1.2 ? 'note' : 'ok',
      detail: `${here}; the data: mean ${list(data.mean)}, deviation ${list(data.deviation)}`,
    };
  }
}

function momentsOf({ mean, variance, excessKurtosis, distance, count }: NoiseFacts): string {
  return (
    `mean ${mean.toFixed(4)}, variance ${variance.toFixed(4)}, kurtosis ${(3 + excessKurtosis).toFixed(3)}, ` +
    `distance ${distance.toFixed(4)} over ${formatCount(count)} numbers`
  );
}

function clippingFindings(folders: readonly PairFolder[]): PairFinding[] {
  return folders.flatMap(({ path, count, manifest, shape }) => {
    const range = manifest?.dtype === 'f16' ? [-LARGEST_HALF, LARGEST_HALF] : manifest?.range;
    if (!manifest || !range) return [];
    const clipped = manifest.shards.reduce((sum, shard) => sum + shard.clipped, 0);
    const share = clipped / shape.reduce((product, dim) => product * dim, count);
    const detail = `${(100 * share).toPrecision(2)} % of z1 of ${basename(path)} are outside [${range.join(', ')}]`;
    return [{ what: '16 bits', state: share > CLIPPED_SHARE ? 'broken' : 'ok', detail }];
  });
}

/** Checks that stored z0 are the noise that the manifest specifies. */
async function redrawFindings(folders: readonly PairFolder[], source?: PairSource): Promise<PairFinding[]> {
  const findings: PairFinding[] = [];
  for (const folder of folders) {
    const { path, manifest, storesStart, count, shape } = folder;
    if (!manifest || manifest.solved === 'z0') continue;
    const { noise } = manifest;
    if (noise.law === 'images' && !source) {
      const detail = 'its images are not at hand; --config CONFIG compares z0 with them';
      findings.push({ what: `source of ${basename(path)}`, state: 'note', detail });
      continue;
    }
    if (!storesStart && noise.law === 'normal') continue;
    const wrong: string[] = [];
    for (let i = 0; i < Math.min(REDRAWN, count); i++) {
      const index = Math.floor((i * count) / Math.min(REDRAWN, count));
      const stored = await folder.start(index);
      const drawn =
        noise.law === 'normal'
          ? drawStart(index, noise, shape)
          : await sourceStart(source as PairSource, (folder.sources as Int32Array)[index], index, noise);
      if (!stored.every((value, at) => value === drawn[at])) wrong.push(`pair ${index}`);
    }
    const seed =
      noise.law === 'normal' ? `the noise of seed ${noise.seed}` : `the source, SHA-256 ${noise.source.slice(0, 12)}`;
    findings.push(
      verdict(
        `${noise.law === 'normal' ? 'z0' : 'source'} of ${basename(path)}`,
        wrong,
        `equals ${seed}`,
        `is not ${seed}: `,
      ),
    );
  }
  return findings;
}

function verdict(what: string, faults: readonly string[], good: string, bad: string): PairFinding {
  return faults.length === 0
    ? { what, state: 'ok', detail: good }
    : { what, state: 'broken', detail: `${bad}${someOf(faults)}` };
}

function someOf(items: readonly string[]): string {
  return `${items.slice(0, 3).join('; ')}${items.length > 3 ? `; ... ${items.length} in total` : ''}`;
}

/** A hash of 48 bits; images with equal hashes are compared in full. */
function shortHash(values: Float32Array): number {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return createHash('sha1').update(bytes).digest().readUIntLE(0, 6);
}

function nameOf({ folder, index }: { folder: PairFolder; index: number }): string {
  return `${basename(folder.path)} pair ${index}`;
}

function formatCount(value: number): string {
  return value.toLocaleString('en-US');
}
