// The point of a straight path, its direction, and the sinusoids of a time: on CUDA one launch each, where several ops would be
// launches of a few microseconds. Their results have the ops' bits.
import { activeLevels, activeWitness, isChecking, isTracing } from '../../autograd/mode.ts';
import { cudaModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { perElement } from '../launch/grid.ts';

const modules = cudaModule('kernels/inner/flow_inputs.cu', {
  flow_inputs_path: 'ptr ptr ptr ptr ptr i32 i32',
  flow_inputs_sinusoids: 'ptr ptr ptr i32 i32',
});

/** Whether nothing needs to know which ops compute a function of f32 operands: no gradient, tangent or check. */
function isOneLaunch(operands: readonly Tensor[]): boolean {
  const [{ device }] = operands;
  if (device.kind !== 'cuda' || isChecking() || activeLevels().length > 0 || activeWitness()) return false;
  return operands.every(
    (t) =>
      t.dtype === 'f32' &&
      t.device === device &&
      t.size > 0 &&
      !(isTracing() && (t.requiresGrad || t.blocked !== undefined)),
  );
}

/**
 * t x1 + (1 - t) x0 and x1 - x0; undefined where ops have to compute them.
 * @param x0 [N, ...], like x1
 * @param t [N]
 */
export function straightPath(x0: Tensor, x1: Tensor, t: Tensor): { point: Tensor; direction: Tensor } | undefined {
  if (!isOneLaunch([x0, x1, t])) return undefined;
  const { device, shape, size } = x1;
  const [point, direction] = [allocate(shape, { device }), allocate(shape, { device })];
  const addresses = [x0, x1, t, point, direction].map(({ address }) => address);
  device.load(modules).flow_inputs_path(perElement(size), ...addresses, size, size / t.size);
  return { point, direction };
}

/**
 * [sin(label frequency), cos(label frequency)] for each label, [N, 2 half]; undefined where ops have to compute it.
 * @param labels [N]
 * @param frequencies of `half` elements
 */
export function sinusoids(labels: Tensor, frequencies: Tensor): Tensor | undefined {
  if (!isOneLaunch([labels, frequencies])) return undefined;
  const { device } = labels;
  const half = frequencies.size;
  const y = allocate([labels.size, 2 * half], { device });
  const threads = labels.size * half;
  const addresses = [labels.address, frequencies.address, y.address];
  device.load(modules).flow_inputs_sinusoids(perElement(threads), ...addresses, threads, half);
  return y;
}
