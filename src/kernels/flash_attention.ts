// Attention without stored scores: heads, masks and causal attention. Blocks of scores are computed where they are
// needed, and again for the gradients, so memory grows with the numbers of queries and keys, not with their product.
import { kernelModule, type LaunchGrid } from '../device/module.ts';
import { allocate } from '../tensor/allocate.ts';
import { zeros } from '../tensor/create.ts';
import { type Shape, stridesOf } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { attentionTangent } from './composed/attention_tangent.ts';
import { perElement, perWarp } from './launch/grid.ts';
import { kernelsFor, storageModules } from './launch/storage.ts';
import { apply, declareOp } from './op.ts';

const kernels = kernelModule('kernels/flash_attention.c', {
  flash_attention_scratch: 'ptr -> count',
  flash_attention_forward: 'ptr ptr ptr ptr ptr ptr ptr ptr f32',
  flash_attention_backward: 'ptr ptr ptr ptr ptr ptr ptr ptr ptr ptr ptr ptr ptr f32',
  flash_attention_attends: 'ptr ptr ptr i32 i32',
});

const cudaKernels = storageModules('kernels/flash_attention.cu', {
  flash_attention_forward: 'ptr ptr ptr ptr ptr ptr ptr f32',
  flash_attention_deltas: 'ptr ptr ptr ptr i32',
  flash_attention_query_gradient: 'ptr ptr ptr ptr ptr ptr ptr ptr ptr f32',
  flash_attention_key_gradients: 'ptr ptr ptr ptr ptr ptr ptr ptr ptr ptr f32',
  flash_attention_attends: 'ptr ptr ptr i32 i32',
});

/** What q, k, v and the mask do not say. */
export interface FlashAttention {
  heads: number;
  /** Whether query i attends to keys 0 to i only. */
  causal: boolean;
  /** The factor of the scores. */
  scale: number;
}

/** The sizes in the order in which the kernels read them: see attention_of in flash_attention.c. */
function toTable(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | undefined, { heads, causal }: FlashAttention): number {
  const [samples, queries, channels] = q.shape;
  const [, keys, valueChannels] = v.shape;
  const sizes = [samples, queries, keys, heads, channels / heads, valueChannels / heads, causal ? 1 : 0];
  const strides = stridesOf(mask?.shape ?? []);
  const steps = maskShape(mask).map((dim, axis) => (dim === 1 ? 0 : strides[axis - 4 + strides.length]));
  return k.device.table([...sizes, ...steps]);
}

/** The shape of the mask with four axes. */
function maskShape(mask: Tensor | undefined): Shape {
  const own = mask?.shape ?? [];
  return [...new Array<number>(4 - own.length).fill(1), ...own];
}

/** Edge of a tile of queries or keys, and the channels of a block: TILE and CHANNELS of flash_attention.cu. */
const TILE = 32;
const CHANNELS = 128;

function tiles(samples: number, rows: number, channels: number): LaunchGrid {
  return { grid: [samples * Math.ceil(rows / TILE), Math.max(1, Math.ceil(channels / CHANNELS))], block: [256] };
}

export const flashAttentionOp = declareOp<FlashAttention>({
  name: 'attention',
  cpu: kernels,
  cuda: cudaKernels,
  backward({ grad, saved: [q, k, v, y, logSums, mask], attributes, needs }) {
    const { device, dtype } = q;
    const { heads, scale } = attributes;
    const like = (x: Tensor) => allocate(x.shape, { device, dtype });
    if (grad.size === 0) return [q, k, v].map((x) => zeros(x.shape, { device, dtype }));
    const dq = needs[0] ? like(q) : null;
    const [dk, dv] = needs[1] || needs[2] ? [like(k), like(v)] : [null, null];
    const table = toTable(q, k, v, mask, attributes);
    const inputs = [q.address, k.address, v.address, mask?.address ?? 0];
    using deltas = allocate(logSums.shape, { device });
    if (device.kind === 'cuda') {
      const launchers = kernelsFor(cudaKernels, device, dtype);
      const batch = q.shape[0] * heads;
      const [width, valueWidth] = [q.shape[2] / heads, v.shape[2] / heads];
      const rows = deltas.size;
      launchers.flash_attention_deltas(perWarp(rows), y.address, grad.address, deltas.address, table, rows);
      const operands = [...inputs, grad.address, logSums.address, deltas.address];
      if (dq) {
        const grid = tiles(batch, q.shape[1], width);
        launchers.flash_attention_query_gradient(grid, ...operands, dq.address, table, scale);
      }
      if (dk && dv) {
        const grid = tiles(batch, k.shape[1], Math.max(width, valueWidth));
        launchers.flash_attention_key_gradients(grid, ...operands, dk.address, dv.address, table, scale);
      }
    } else {
      const { flash_attention_scratch, flash_attention_backward } = device.load(kernels);
      using scratch = allocate([device.workers * flash_attention_scratch(table)], { device });
      const made = [dq, dk, dv].map((t) => t?.address ?? 0);
      const operands = [...inputs, y.address, grad.address, logSums.address, deltas.address, scratch.address];
      flash_attention_backward(...operands, ...made, table, scale);
    }
    return [dq, dk, dv];
  },
  tangent(context) {
    const { saved, attributes } = context;
    const [q, k, v, , , mask] = saved;
    const allowed = attributes.causal ? attends(q, k, v, mask, attributes) : mask;
    return attentionTangent(context, { ...attributes, allowed });
  },
});

/**
 * Attention by blocks of scores. The arguments have been checked.
 * @param mask bool, of at most four axes, which broadcasts to [N, heads, queries, keys]; true attends
 */
export function flashAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask: Tensor | undefined,
  attributes: FlashAttention,
): Tensor {
  const { device, dtype } = q;
  const { heads, scale } = attributes;
  const [samples, queries] = q.shape;
  const y = allocate([samples, queries, v.shape[2]], { device, dtype });
  const logSums = allocate([samples, heads, queries], { device });
  if (y.size > 0) {
    const table = toTable(q, k, v, mask, attributes);
    const inputs = [q.address, k.address, v.address, mask?.address ?? 0];
    if (device.kind === 'cuda') {
      const grid = tiles(samples * heads, queries, v.shape[2] / heads);
      const operands = [...inputs, y.address, logSums.address, table, scale];
      kernelsFor(cudaKernels, device, dtype).flash_attention_forward(grid, ...operands);
    } else {
      const { flash_attention_scratch, flash_attention_forward } = device.load(kernels);
      using scratch = allocate([device.workers * flash_attention_scratch(table)], { device });
      flash_attention_forward(...inputs, y.address, logSums.address, scratch.address, table, scale);
    }
  }
  const saved = [q, k, v, y, logSums];
  const result = apply(flashAttentionOp, y, { parents: [q, k, v], saved: mask ? [...saved, mask] : saved, attributes });
  logSums.dispose();
  return result;
}

/** Which keys each query attends to, as bool of four axes that broadcasts to [N, heads, queries, keys]. */
export function attends(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | undefined, attributes: FlashAttention): Tensor {
  const { device } = q;
  const [samples, heads] = maskShape(mask);
  const allowed = allocate([samples, heads, q.shape[1], k.shape[1]], { device, dtype: 'bool' });
  if (allowed.size === 0) return allowed;
  const operands = [mask?.address ?? 0, allowed.address, toTable(q, k, v, mask, attributes)];
  if (device.kind === 'cuda') {
    const launch = device.load(cudaKernels.f32).flash_attention_attends;
    launch(perElement(allowed.size), ...operands, heads, allowed.size);
  } else device.load(kernels).flash_attention_attends(...operands, samples, heads);
  return allowed;
}
