// Element types: their size and their typed array on the host. bf16 and f16 are passed as raw 16-bit patterns.
import { checkArgument, oneOf } from '../arguments.ts';
import type { HostArray } from '../device/device.ts';
import { DtypeError } from '../errors.ts';

export type Dtype = 'f32' | 'bf16' | 'f16' | 'i32' | 'u8' | 'bool';

interface DtypeFacts {
  bytes: number;
  array: new (length: number) => HostArray;
  floating: boolean;
}

export const dtypes: { readonly [D in Dtype]: DtypeFacts } = {
  f32: { bytes: 4, array: Float32Array, floating: true },
  bf16: { bytes: 2, array: Uint16Array, floating: true },
  f16: { bytes: 2, array: Uint16Array, floating: true },
  i32: { bytes: 4, array: Int32Array, floating: false },
  u8: { bytes: 1, array: Uint8Array, floating: false },
  bool: { bytes: 1, array: Uint8Array, floating: false },
};

/** The kind of an option that names a dtype. */
export const dtypeKind = oneOf(Object.keys(dtypes));

/** @throws ArgumentError for anything but the name of a dtype */
export function checkDtype(op: string, dtype: unknown): asserts dtype is Dtype {
  checkArgument(op, 'dtype', dtype, dtypeKind);
}

export function isFloating(dtype: Dtype): boolean {
  return dtypes[dtype].floating;
}

/** Checks the dtype of a tensor that is to have a gradient. @throws DtypeError for an integer dtype */
export function requireFloating(op: string, dtype: Dtype): void {
  if (!isFloating(dtype)) throw new DtypeError(op, 'a floating dtype: whole numbers have no gradient', dtype);
}
