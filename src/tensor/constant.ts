// Tensors whose values never change. Each device keeps one copy for its lifetime, so using one again uploads nothing.
import type { Device } from '../device/device.ts';
import { tensor } from './create.ts';
import { keep } from './scope.ts';
import type { Shape } from './shape.ts';
import type { Tensor } from './tensor.ts';
import { view } from './view.ts';

const made = new WeakMap<Device, Map<string, Tensor>>();

/**
 * A constant f32 tensor, owned by the open scope. Its memory is shared and must not be written.
 * @param name the cache key: it must contain everything that the values depend on
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
