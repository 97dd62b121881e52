// A network of weights from files: the names and shapes that a network needs are compared with those of the files before memory is
// allocated; then each tensor goes from its file to the device.
import { noGrad } from '../../autograd/mode.ts';
import type { Device } from '../../device/device.ts';
import { FileError, formatShape } from '../../errors.ts';
import { type ArrayFile, toFloat32 } from '../../io/array.ts';
import type { WeightEntry, WeightFiles } from '../../io/weights.ts';
import { cast } from '../../kernels/cast.ts';
import { permute, reshape } from '../../kernels/movement.ts';
import { describeMismatch, type Module, type Slot } from '../../nn/module.ts';
import { tensor } from '../../tensor/create.ts';
import { keep, scope } from '../../tensor/scope.ts';
import { sameShape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** A network whose tensors have no memory yet, and where each of them is in the files. */
export interface Matched<Network extends Module> {
  network: Network;
  weights: WeightFiles;
  /** By name in the files. */
  slots: ReadonlyMap<string, Slot>;
  /** Bytes of the tensors in f32. */
  bytes: number;
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
  let bytes = 0;
  for (const slot of network.slots()) {
    const names = namesOf(slot.path);
    const name = names.find((one) => weights.tensors.has(one));
    const { shape } = slot.owner[slot.key] as Tensor;
    bytes += 4 * sizeOf(shape);
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
  return { network, weights, slots, bytes };
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

/** Reads the numbers of a matched network onto a device, as f32. The outline becomes the network. */
export async function fillWeights<Network extends Module>(
  { network, weights, slots }: Matched<Network>,
  device: Device,
  onTensor?: (bytes: number) => void,
): Promise<Network> {
  const made: Tensor[] = [];
  try {
    await weights.forEach((name, array) => {
      const { owner, key } = slots.get(name) as Slot;
      const outline = owner[key] as Tensor;
      const loaded = keep(scope(() => noGrad(() => reshape(onDevice(array, device), outline.shape))));
      made.push(loaded);
      outline.dispose();
      owner[key] = loaded.requireGrad();
      onTensor?.(array.data.byteLength);
    }, new Set(slots.keys()));
  } catch (error) {
    for (const t of made) t.dispose();
    throw error;
  }
  return network;
}

/** A file's array as a tensor of ours: 16 bits are widened, and weights of convolutions turned, on the device. */
export function onDevice(array: ArrayFile, device: Device): Tensor {
  const { shape, dtype } = array;
  const flat = { shape: [sizeOf(shape)], device };
  const values =
    dtype === 'f16' || dtype === 'bf16'
      ? cast(tensor(array.data as Uint16Array, { ...flat, dtype }), 'f32')
      : tensor(toFloat32(array), flat);
  if (shape.length !== 4) return reshape(values, shape);
  return permute(reshape(values, shape), [0, 2, 3, 1]);
}
