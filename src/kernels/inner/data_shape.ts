// Reads elements on which the shape of a result depends.
import type { HostArray } from '../../device/device.ts';
import { RecordingError } from '../../errors.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** The elements of x on the host. @throws RecordingError naming the op while work is recorded */
export function readForShape(op: string, x: Tensor): HostArray {
  try {
    return x.dataSync();
  } catch (cause) {
    if (!(cause instanceof RecordingError)) throw cause;
    throw new RecordingError(`[${op}] the shape of its result depends on the elements of ${cause.message}`, { cause });
  }
}
