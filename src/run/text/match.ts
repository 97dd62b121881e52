// A network of weights from files: the names and shapes that a network needs are compared with those of the files before memory is
// allocated; then they go from their files to the device, a few rows at a time.
import { noGrad } from '../../autograd/mode.ts';
import type { Device } from '../../device/device.ts';
import { FileError, formatShape } from '../../errors.ts';
import { type ArrayFile, toFloat32 } from '../../io/array.ts';
import type { WeightEntry, WeightFiles } from '../../io/weights.ts';
import { cast } from '../../kernels/cast.ts';
import { copyStrided } from '../../kernels/inner/strided.ts';
import { describeMismatch, type Module, type Slot } from '../../nn/module.ts';
import { empty, tensor } from '../../tensor/create.ts';
import { dtypes } from '../../tensor/dtype.ts';
import { keep, scope } from '../../tensor/scope.ts';
import { sameShape, sizeOf, stridesOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** A network whose tensors have no memory yet, and where each of them is in the files. */
export interface Matched<Network extends Module> {
  network: Network;
  weights: WeightFiles;
  /** By name in the files. */
  slots: ReadonlyMap<string, Slot>;
}

export interface Naming {
  /** The names under which files may have a tensor of the network, the usual one first. */
  namesOf: (path: string) => readonly string[];
  /** Whether a tensor of the files belongs to the network; others are left alone. Default: all do. */
  belongs?: (name: string) => boolean;
}

/** Buffers that transformers once stored; they say nothing. */
const ignored = /(^|\.)position_ids$/;

/**
 * Finds each tensor of an outline in the files.
 * @throws FileError listing what is missing, unknown or of another shape
 */
export function matchWeights<Network extends Module>(
  network: Network,
  weights: WeightFiles,
  { namesOf, belongs = () => true }: Naming,
): Matched<Network> {
  const slots = new Map<string, Slot>();
  const missing: string[] = [];
  const misshapen: string[] = [];
  for (const slot of network.slots()) {
    const names = namesOf(slot.path);
    const name = names.find((one) => weights.tensors.has(one));
    const { shape } = slot.owner[slot.key] as Tensor;
    if (name === undefined) missing.push(names[0]);
    else {
      const entry = weights.tensors.get(name) as WeightEntry;
      if (!fits(entry.shape, shape))
        misshapen.push(`${name} is ${formatShape(entry.shape)}, expected ${formatShape(fileShape(shape))}`);
      else if (!['f32', 'f16', 'bf16', 'f64'].includes(entry.dtype))
        misshapen.push(`${name} is ${entry.dtype}, expected f32, f16, bf16 or f64`);
      slots.set(name, slot);
    }
  }
  const unknown = [...weights.tensors.keys()].filter(
    (name) => belongs(name) && !slots.has(name) && !ignored.test(name),
  );
  const lines = describeMismatch({ missing, unknown, misshapen });
  if (lines.length > 0) throw new FileError(weights.path, ['does not fit the configuration of its network:', ...lines]);
  return { network, weights, slots };
}

/** The shape that files have for a tensor of this shape: [Cout, Cin, kh, kw] for a convolution's [Cout, kh, kw, Cin]. */
export function fileShape(shape: readonly number[]): readonly number[] {
  if (shape.length !== 4) return shape;
  const [outputs, height, width, inputs] = shape;
  return [outputs, inputs, height, width];
}

/** Also 1 x 1 convolutions as linear layers, which single files have in the autoencoder's attention. */
function fits(file: readonly number[], shape: readonly number[]): boolean {
  return sameShape(file, fileShape(shape)) || (shape.length === 2 && sameShape(file, [...shape, 1, 1]));
}

/**
 * How the weights of products are kept on the device: in f32, in 16 bits, or in 16 bits where their file has them so ('files').
 * Products are in f32 all the same.
 */
export const weightChoices = ['f32', 'files', 'f16', 'bf16'] as const;
export type WeightChoice = (typeof weightChoices)[number];

/** Tables that are indexed; everything else with two or more axes is multiplied. */
const indexed = /embedding\.weight$/;

function dtypeOnDevice(path: string, rank: number, entry: WeightEntry, choice: WeightChoice): 'f32' | 'f16' | 'bf16' {
  if (rank < 2 || !path.endsWith('weight') || indexed.test(path)) return 'f32';
  if (choice !== 'files') return choice;
  return entry.dtype === 'f16' || entry.dtype === 'bf16' ? entry.dtype : 'f32';
}

/** Bytes of weights on the device. */
export function weightBytes({ slots, weights }: Omit<Matched<Module>, 'network'>, choice: WeightChoice): number {
  let bytes = 0;
  for (const [name, { path, owner, key }] of slots) {
    const { rank, size } = owner[key] as Tensor;
    bytes += size * dtypes[dtypeOnDevice(path, rank, weights.tensors.get(name) as WeightEntry, choice)].bytes;
  }
  return bytes;
}

export interface FillOptions {
  /** Default 'f32'. Weights of 16 bits require no gradient. */
  weights?: WeightChoice;
  /** Called with the bytes that were read from the files. */
  onRead?: (bytes: number) => void;
}

/** Reads the numbers of a matched network onto a device, piece by piece. The outline becomes the network. */
export async function fillWeights<Network extends Module>(
  { network, weights, slots }: Matched<Network>,
  device: Device,
  { weights: choice = 'f32', onRead }: FillOptions = {},
): Promise<Network> {
  const made: Tensor[] = [];
  try {
    await weights.forEachPiece((name, rows, first) => {
      const { path, owner, key } = slots.get(name) as Slot;
      if (first === 0) {
        const outline = owner[key] as Tensor;
        const dtype = dtypeOnDevice(path, outline.rank, weights.tensors.get(name) as WeightEntry, choice);
        const loaded = keep(empty(outline.shape, { device, dtype }));
        made.push(loaded);
        outline.dispose();
        owner[key] = dtype === 'f32' ? loaded.requireGrad() : loaded;
      }
      writeRows(rows, owner[key] as Tensor, first);
      onRead?.(rows.data.byteLength);
    }, new Set(slots.keys()));
  } catch (error) {
    for (const t of made) t.dispose();
    throw error;
  }
  return network;
}

/**
 * Writes rows of a file's array, from the row `first` on, to a tensor of ours: dtypes are converted, and weights of convolutions
 * turned, on the device.
 */
export function writeRows(rows: ArrayFile, to: Tensor, first: number): void {
  const { shape, dtype } = rows;
  const { device } = to;
  const flat = { shape: [sizeOf(shape)], device };
  scope(() =>
    noGrad(() => {
      const values =
        dtype === 'f16' || dtype === 'bf16'
          ? tensor(rows.data as Uint16Array, { ...flat, dtype })
          : tensor(toFloat32(rows), flat);
      const source = cast(values, to.dtype);
      const offset = first * sizeOf(to.shape.slice(1));
      if (to.rank !== 4) {
        copyStrided([source.size], { tensor: source, offset: 0, strides: [1] }, { tensor: to, offset, strides: [1] });
        return;
      }
      // Files have [Cout, Cin, kh, kw].
      const dims = [shape[0], ...to.shape.slice(1)];
      const [, height, width, inputs] = dims;
      const taps = height * width;
      const strides = [inputs * taps, width, 1, taps];
      copyStrided(dims, { tensor: source, offset: 0, strides }, { tensor: to, offset, strides: stridesOf(dims) });
    }),
  );
}
