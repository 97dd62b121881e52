// Moves all parameters of a model into one flat buffer and their gradients into another, so that the optimiser is a
// single pass. Afterwards each parameter of the module is a view of the arena.

import { checkArgument, describeValue } from '../arguments.ts';
import type { Device } from '../device/device.ts';
import { ValueError } from '../errors.ts';
import { writeBf16 } from '../kernels/inner/conversion.ts';
import { checkOperands } from '../kernels/op.ts';
import { zeros } from '../tensor/create.ts';
import { keep } from '../tensor/scope.ts';
import { type Shape, sizeOf } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { alias } from '../tensor/view.ts';
import { type Module, moduleKind, type Slot } from './module.ts';

/** Views begin at multiples of this number of floats, one cache line; the gaps hold zeros. */
const ALIGNMENT = 16;

export interface ArenaEntry {
  path: string;
  shape: Shape;
  /** Offset from the arena's start, in floats. */
  offset: number;
  /** Number of the part of the arena that contains it. */
  part: number;
}

/** Assigns parameters to parts of the arena, by their paths and tensors. Each part is contiguous. */
export type PartsOf = (parameters: readonly (readonly [path: string, parameter: Tensor])[]) => readonly number[];

/** The parameters of a module and their gradients, f32, each in one contiguous buffer. */
export class ParameterArena {
  readonly entries: readonly ArenaEntry[];
  /** [floats], f32: every parameter, with zeros between them. */
  readonly values: Tensor;
  /** [floats], f32: every gradient; `backward` accumulates into it. */
  readonly gradients: Tensor;
  /** [floats], a bf16 copy of the values, kept in sync by the optimiser; null unless the device computes in bf16. */
  readonly copies: Tensor | null;
  private readonly bound: { slot: Slot; parameter: Tensor; gradient: Tensor }[] = [];

  /**
   * Moves the parameters of `module` into the arena, with their hooks; the old parameter tensors are disposed.
   * @param partsOf default: all parameters are in part 0
   * @throws ValueError
   */
  constructor(module: Module, partsOf: PartsOf = (parameters) => parameters.map(() => 0)) {
    checkArgument('ParameterArena', 'module', module, moduleKind);
    const slots = [...module.slots()].filter(({ owner, key }) => (owner[key] as Tensor).requiresGrad);
    if (slots.length === 0) throw new ValueError('the module has no parameters to train');
    assertOwnLeaves(slots);
    checkOperands(
      'ParameterArena',
      slots.map(({ owner, key }) => owner[key] as Tensor),
    );
    const parts = partsOf(slots.map(({ path, owner, key }) => [path, owner[key] as Tensor] as const));
    const entries: ArenaEntry[] = [];
    let floats = 0;
    // The sort is stable, so the order within a part is that of the module.
    for (const i of [...slots.keys()].sort((a, b) => parts[a] - parts[b])) {
      const { path, owner, key } = slots[i];
      const { shape, size } = owner[key] as Tensor;
      entries[i] = { path, shape, offset: floats, part: parts[i] };
      floats += padded(size);
    }
    this.entries = entries;
    const { device } = slots[0].owner[slots[0].key] as Tensor;
    this.values = arenaOf(floats, 'parameters', device);
    this.gradients = arenaOf(floats, 'gradients of parameters', device);
    this.copies = device.precision === 'bf16' ? arenaOf(floats, 'parameters in bf16', device, 'bf16') : null;
    slots.forEach((slot, i) => {
      const { owner, key } = slot;
      const before = owner[key] as Tensor;
      const after = this.window(this.values, this.entries[i]);
      after.requireGrad();
      after.leafHooks = before.leafHooks;
      const gradient = this.window(this.gradients, this.entries[i]);
      after.grad = gradient;
      this.bound.push({ slot, parameter: after, gradient });
      after.bf16 = this.copies && this.window(this.copies, this.entries[i]);
      device.copy(after.address, before.address, before.size * 4);
      before.dispose();
      owner[key] = after;
    });
    this.refreshCopies();
    this.markCleared();
  }

  /**
   * A zero-filled tensor for a range of the arena, which the caller owns.
   * @param owner its purpose: moments, EMA
   * @param floats default: the arena's size
   */
  zerosLike(owner: string, floats = this.values.size): Tensor {
    return arenaOf(floats, owner, this.values.device);
  }

  /** The range that consecutive parts occupy, in floats. */
  rangeOf(first: number, last = first): { begin: number; size: number } {
    const within = this.entries.filter(({ part }) => part >= first && part <= last);
    const begin = Math.min(...within.map(({ offset }) => offset));
    const end = Math.max(...within.map(({ offset, shape }) => offset + padded(sizeOf(shape))));
    return { begin, size: end - begin };
  }

  /**
   * The view of one parameter in `flat`, which the caller owns.
   * @param flat a tensor for the range of the arena that begins at `begin`
   */
  window(flat: Tensor, entry: ArenaEntry, begin = 0): Tensor {
    const window = alias(flat, entry.shape, entry.offset - begin);
    window.label = entry.path;
    return window;
  }

  /**
   * Checks that the parameters of the module and their gradients are still those of the arena; others would not be
   * trained.
   * @throws ValueError with the name of the parameter
   */
  assertBound(op: string): void {
    for (const { slot, parameter, gradient } of this.bound) {
      const { path, owner, key } = slot;
      const now = owner[key];
      if (now !== parameter)
        throw new ValueError(
          `[${op}] expected "${path}" to be the tensor that the optimiser put there, got ${describeOther(now)} (write() changes its values)`,
        );
      if (parameter.grad !== gradient)
        throw new ValueError(
          `[${op}] expected the grad of "${path}" to be the optimiser's, got ${describeOther(parameter.grad)} (step() zeroes it)`,
        );
    }
  }

  /** Updates the bf16 copies. Call it after anything but the optimiser's update has changed the values. */
  refreshCopies(): void {
    if (this.copies) writeBf16(this.values, this.copies);
  }

  /** Sets every gradient to 0. */
  zeroGradients(): void {
    const { device, address, size } = this.gradients;
    device.fill(address, size * 4, 0);
    this.markCleared();
  }

  /** Notes that every gradient counts as 0: the next backward pass may write instead of adding. */
  markCleared(): void {
    this.gradients.storage.markWritten();
    for (const { gradient } of this.bound) gradient.isCleared = true;
  }

  /** Frees the buffers; views that others hold stay readable. */
  dispose(): void {
    this.values.dispose();
    this.gradients.dispose();
    this.copies?.dispose();
  }
}

/** The floats that a parameter occupies. */
function padded(size: number): number {
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}

function describeOther(value: unknown): string {
  return Tensor.is(value) ? `a different ${value.describe()}` : describeValue(value);
}

/**
 * @throws ValueError for a tensor under two names, which would become two tensors, or a tensor that an op computed,
 * whose graph would be cut
 */
function assertOwnLeaves(slots: readonly Slot[]): void {
  const names = new Map<Tensor, string>();
  for (const { path, owner, key } of slots) {
    const parameter = owner[key] as Tensor;
    const other = names.get(parameter);
    if (other !== undefined)
      throw new ValueError(
        `[ParameterArena] expected one name per tensor, got the same tensor as "${other}" and "${path}"`,
      );
    if (parameter.source)
      throw new ValueError(
        `[ParameterArena] expected parameters that are leaves, got "${path}", ${parameter.describe()} (compute it in forward())`,
      );
    names.set(parameter, path);
  }
}

function arenaOf(floats: number, owner: string, device: Device, dtype: 'f32' | 'bf16' = 'f32'): Tensor {
  const arena = keep(zeros([floats], { device, dtype }));
  arena.storage.owner = owner;
  return arena;
}
