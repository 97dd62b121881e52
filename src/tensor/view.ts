// Tensors that share the memory of another tensor.
import { formatShape, ShapeError } from '../errors.ts';
import { type Dtype, dtypes } from './dtype.ts';
import { activeScope } from './scope.ts';
import { type Shape, sizeOf } from './shape.ts';
import { Tensor } from './tensor.ts';

/** A window of `t`'s memory from element `offset` on, owned by the open scope. No gradient flows through it. */
export function view(t: Tensor, shape: Shape, offset = 0): Tensor {
  const window = alias(t, shape, offset);
  activeScope()?.adopt(window);
  return window;
}

/** Like `view`, but owned by the caller instead of the open scope. */
export function alias(t: Tensor, shape: Shape = t.shape, offset = 0, dtype: Dtype = t.dtype): Tensor {
  t.assertAlive('view()');
  if (offset < 0 || (offset + sizeOf(shape)) * dtypes[dtype].bytes > t.size * dtypes[t.dtype].bytes)
    throw new ShapeError('view', `a window within ${formatShape(t.shape)}`, `${formatShape(shape)} at ${offset}`);
  const window = new Tensor(t.storage.retain(), t.byteOffset + offset * dtypes[dtype].bytes, shape, dtype);
  window.label = t.label;
  return window;
}
