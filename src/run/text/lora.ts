// Low-rank changes of weights (Hu et al. 2021) in the layout of kohya's scripts: for a module of path A.B,
// lora_unet_A_B.lora_down.weight [r, in], .lora_up.weight [out, r] and .alpha; the weight gets factor alpha / r up down.
import { noGrad } from '../../autograd/mode.ts';
import { FileError, formatShape } from '../../errors.ts';
import { type ArrayFile, isFloatingArray, toFloat32 } from '../../io/array.ts';
import { openWeights } from '../../io/weights.ts';
import { cast } from '../../kernels/cast.ts';
import { add, mul } from '../../kernels/elementwise.ts';
import { matmul } from '../../kernels/matmul.ts';
import { permute, reshape } from '../../kernels/movement.ts';
import { describeMismatch, type Module, type Slot } from '../../nn/module.ts';
import { tensor } from '../../tensor/create.ts';
import { keep, scope } from '../../tensor/scope.ts';
import { sameShape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { escapeName } from '../../text.ts';
import { fileShape } from './match.ts';

/** The factors of one weight. */
interface LowRank {
  down?: ArrayFile;
  up?: ArrayFile;
  alpha?: number;
}

/**
 * Adds a file's changes to the weights of networks.
 * @param networks by the prefix of their names in the file: `lora_unet`, `lora_te`
 * @param factor multiplies the changes; default 1
 * @returns the number of weights that changed
 * @throws FileError for a file that names other modules, has other shapes, or numbers that are not finite; nothing is changed then
 */
export async function mergeLora(path: string, networks: Readonly<Record<string, Module>>, factor = 1): Promise<number> {
  const slots = weightSlots(networks);
  const changes = new Map<string, LowRank>();
  const unknown: string[] = [];
  const weights = await openWeights(path);
  await weights.forEach((name, array) => {
    // An alpha may be a whole number.
    if (!name.endsWith('.alpha') && !isFloatingArray(array.dtype))
      throw new FileError(path, `${escapeName(name)} is ${array.dtype}, expected f32, f16, bf16 or f64`);
    if (!toFloat32(array).every(Number.isFinite)) throw new FileError(path, `${escapeName(name)} is not finite in f32`);
    const dot = name.indexOf('.');
    const [module, kind] = [name.slice(0, dot), name.slice(dot + 1)];
    const change = changes.get(module) ?? {};
    if (!slots.has(module)) unknown.push(name);
    else if (kind === 'lora_down.weight') change.down = array;
    else if (kind === 'lora_up.weight') change.up = array;
    else if (kind === 'alpha' && array.data.length === 1) change.alpha = toFloat32(array)[0];
    else unknown.push(name);
    changes.set(module, change);
  });
  if (changes.size === 0) throw new FileError(path, 'holds no low-rank changes');
  const missing: string[] = [];
  const misshapen: string[] = [];
  for (const [module, change] of changes) {
    const slot = slots.get(module);
    if (!slot) continue;
    for (const kind of ['down', 'up'] as const) if (!change[kind]) missing.push(`${module}.lora_${kind}.weight`);
    if (change.down && change.up && !fits(change.down, change.up, (slot.owner[slot.key] as Tensor).shape))
      misshapen.push(`${module} is ${formatShape(change.up.shape)} ${formatShape(change.down.shape)}`);
  }
  const lines = describeMismatch({ missing, unknown, misshapen });
  if (lines.length > 0) throw new FileError(path, ['does not fit the networks of this model:', ...lines]);
  for (const [module, change] of changes) addTo(slots.get(module) as Slot, change as Required<LowRank>, factor);
  return changes.size;
}

/** The weights of linear layers and convolutions, by kohya's name of their module. */
function weightSlots(networks: Readonly<Record<string, Module>>): Map<string, Slot> {
  const slots = new Map<string, Slot>();
  for (const [prefix, network] of Object.entries(networks))
    for (const slot of network.slots()) {
      const rank = (slot.owner[slot.key] as Tensor).rank;
      if (slot.path.endsWith('.weight') && rank >= 2)
        slots.set(`${prefix}_${slot.path.slice(0, -'.weight'.length).replaceAll('.', '_')}`, slot);
    }
  return slots;
}

/** down [r, in(, kh, kw)], up [out, r(, 1, 1)]. */
function fits(down: ArrayFile, up: ArrayFile, shape: readonly number[]): boolean {
  const [outputs, ...inputs] = fileShape(shape);
  const [rank, ...downInputs] = down.shape;
  const [upOutputs, upRank, ...upKernel] = up.shape;
  const trimmed = shape.length === 2 ? downInputs.filter((size, axis) => axis === 0 || size !== 1) : downInputs;
  return (
    rank > 0 &&
    upRank === rank &&
    upOutputs === outputs &&
    upKernel.every((size) => size === 1) &&
    sameShape(trimmed, inputs)
  );
}

function addTo({ owner, key }: Slot, { down, up, alpha }: Required<LowRank>, factor: number): void {
  const weight = owner[key] as Tensor;
  const { device, shape } = weight;
  const [rank] = down.shape;
  const scale = ((alpha ?? rank) / rank) * factor;
  const changed = scope(() =>
    noGrad(() => {
      const left = tensor(toFloat32(up), { shape: [up.shape[0], rank], device });
      const right = tensor(toFloat32(down), { shape: [rank, sizeOf(down.shape) / rank], device });
      const product = reshape(mul(matmul(left, right), scale), fileShape(shape));
      // A sum that is rounded to 16 bits would be another picture.
      return add(cast(weight, 'f32'), shape.length === 4 ? permute(product, [0, 2, 3, 1]) : product);
    }),
  );
  owner[key] = keep(changed).requireGrad(weight.requiresGrad);
  weight.dispose();
}
