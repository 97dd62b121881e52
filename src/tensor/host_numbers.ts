// Tensors from numbers of the host, for the functions that make tensors.
import { checkArgument, checkOptions, hostArray, isPlainArray, kinds, type OptionKinds } from '../arguments.ts';
import { deviceKind, type HostArray } from '../device/device.ts';
import { DtypeError, RecordingError, ValueError } from '../errors.ts';
import { allocate, type TensorOptions } from './allocate.ts';
import { type Dtype, dtypeKind, dtypes } from './dtype.ts';
import { checkShape, type Shape, sizeOf } from './shape.ts';
import type { Tensor } from './tensor.ts';

export const tensorOptions: OptionKinds<TensorOptions> = {
  device: deviceKind,
  dtype: dtypeKind,
  requiresGrad: kinds.boolean,
};

/** @throws RecordingError while work is recorded */
export function upload(op: string, numbers: ArrayLike<number>, shape: Shape, options: TensorOptions): Tensor {
  const values = toHostArray(op, numbers, sizeOf(shape), options.dtype ?? 'f32');
  const made = allocate(shape, options);
  try {
    made.device.upload(made.address, values);
  } catch (cause) {
    made.dispose();
    if (!(cause instanceof RecordingError)) throw cause;
    const reason = `[${op}] expected no recording around it, because the host computes its numbers`;
    throw new RecordingError(`${reason}: ${cause.message}`, { cause });
  }
  return made;
}

/** A tensor whose elements are all `value`; f32, i32, u8 or bool. */
export function createFilled(op: string, shape: Shape, value: number, options: TensorOptions): Tensor {
  const dims = checkShape(op, shape);
  const checked = checkOptions(op, options, tensorOptions);
  const { dtype = 'f32' } = checked;
  checkArgument(op, 'value', value, kinds.number);
  refusePatterns(op, dtype);
  const element = toHostArray(op, [value], 1, dtype);
  const made = allocate(dims, checked);
  const bytes = new Uint8Array(element.buffer, element.byteOffset, element.byteLength);
  const [word] = new Int32Array(Uint8Array.from({ length: 4 }, (_, i) => bytes[i % bytes.length]).buffer);
  repeatWord(made, word);
  return made;
}

const PATTERN_WORDS = 16;
/** The bits of 1 in f32. */
const F32_ONE = 0x3f800000;

/** Fills a tensor with a word of 32 bits by work of the device, which can be recorded: the host writes nothing. */
function repeatWord({ device, address, size, dtype }: Tensor, word: number): void {
  const bytes = size * dtypes[dtype].bytes;
  if (bytes === 0) return;
  const pattern = [...new Uint8Array(Int32Array.of(word).buffer)];
  if (pattern.every((byte) => byte === pattern[0])) {
    device.fill(address, bytes, pattern[0]);
    return;
  }
  let done = 4;
  if (word === F32_ONE) {
    // Frequent, so its table is worth the memory, which is never freed.
    done = Math.min(4 * PATTERN_WORDS, bytes);
    device.copy(address, device.table(new Array(PATTERN_WORDS).fill(word)), done);
  } else for (const [i, byte] of pattern.entries()) device.fill(address + i, 1, byte);
  while (done < bytes) {
    const count = Math.min(done, bytes - done);
    device.copy(address + done, address, count);
    done += count;
  }
}

/** The host cannot convert numbers to bf16 or f16. */
export function refusePatterns(op: string, dtype: Dtype): void {
  if (dtype === 'bf16' || dtype === 'f16')
    throw new DtypeError(op, 'a dtype of f32, i32, u8 or bool', `${dtype} (make f32, then cast)`);
}

/** The smallest and the largest number of an integer dtype. */
const ranges = { i32: [-(2 ** 31), 2 ** 31 - 1], u8: [0, 255] } as const;

/** @param count the number of elements; the `length` of `data` is not read */
function toHostArray(op: string, data: ArrayLike<number>, count: number, dtype: Dtype): HostArray {
  const { array: ArrayType } = dtypes[dtype];
  if (dtype !== 'bool' && ArrayBuffer.isView(data) && isPlainArray(data, ArrayType))
    return data as unknown as HostArray;
  if (dtype === 'bf16' || dtype === 'f16')
    throw new DtypeError(op, `16-bit patterns in a Uint16Array for ${dtype}`, 'numbers (make f32, then cast)');
  const target = hostArray<HostArray>(op, ArrayType, count);
  if (dtype === 'f32') for (let i = 0; i < count; i++) target[i] = data[i];
  else if (dtype === 'bool') for (let i = 0; i < count; i++) target[i] = data[i] === 0 ? 0 : 1;
  else copyWhole(op, data, target, dtype);
  return target;
}

/** Copies numbers without their fraction. @throws ValueError naming the first number that does not fit */
function copyWhole(op: string, data: ArrayLike<number>, target: HostArray, dtype: 'i32' | 'u8'): void {
  const [least, most] = ranges[dtype];
  for (let i = 0; i < target.length; i++) {
    const value = Math.trunc(data[i]);
    if (!(value >= least && value <= most))
      throw new ValueError(
        `[${op}] expected numbers that fit ${dtype}, ${least} to ${most}, got ${data[i]} at position ${i}`,
      );
    target[i] = value;
  }
}
