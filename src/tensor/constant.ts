// Tensors whose values never change: one copy a device, kept for its life, so that using them uploads nothing.
import type { Device } from '../device/device.ts';
import { tensor } from './create.ts';
import { keep } from './scope.ts';
import type { Shape } from './shape.ts';
import type { Tensor } from './tensor.ts';
import { view } from './view.ts';

const made = new WeakMap<Device, Map<string, Tensor>>();

/**
 * f32, owned by the open scope; its memory is shared and must not be written to.
 * @param name says all that the values depend on: it is asked for in their place
 */
export function constant(name: string, shape: Shape, device: Device, values: () => Float32Array): Tensor {
  const known = made.get(device) ?? new Map<string, Tensor>();
  made.set(device, known);
  let whole = known.get(name);
  if (!whole) {
    whole = keep(tensor(values(), { shape, device }));
    known.set(name, whole);
  }
  return view(whole, shape);
}
