// The check of the weight and the bias of a normalisation.
import { formatShape, ShapeError } from '../../errors.ts';
import { type Shape, sameShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { checkOperands, checkSameDevice } from '../op.ts';

/** @throws DtypeError, DeviceError, ShapeError, UseAfterFreeError unless a weight or a bias is f32 in that shape */
export function checkAffine(op: string, x: Tensor, parameters: Record<string, Tensor | undefined>, shape: Shape): void {
  for (const [name, t] of Object.entries(parameters)) {
    if (t === undefined) continue;
    checkOperands(op, [t]);
    checkSameDevice(op, x, t);
    if (!sameShape(t.shape, shape))
      throw new ShapeError(op, `a ${name} ${formatShape(shape)} for x ${formatShape(x.shape)}`, formatShape(t.shape));
  }
}
