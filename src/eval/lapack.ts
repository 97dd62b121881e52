// Eigenvalues by the system's LAPACK, if there is one.
//
// Source: dsyevd of LAPACK 3. Fortran conventions: everything is passed by reference, string lengths follow the other
// arguments.
import { checkArgument, describeValue, kinds } from '../arguments.ts';
import { fromEnvironment } from '../device/environment.ts';
import { openSystemLibrary } from '../device/system_library.ts';
import { ArgumentError, RectiflowError } from '../errors.ts';
import { symmetricEigenvalues } from './eigenvalues.ts';

/** The library and how to find it, for the solver and for `doctor`. */
export const lapack = {
  name: 'LAPACK',
  purpose: 'eigenvalues (Frechet distance)',
  files:
    process.platform === 'darwin'
      ? ['/System/Library/Frameworks/Accelerate.framework/Accelerate']
      : ['liblapack.so.3', 'libopenblas.so.0', 'liblapack.so'],
  variable: 'LIBLAPACK_PATH',
  install: 'Debian, Ubuntu: `apt-get install liblapack3`; Fedora: `dnf install lapack`',
  functions: {
    dsyevd_: 'array array array array array array array array array array array size size',
  },
} as const;

/** Computes the eigenvalues of symmetric matrices. */
export interface EigenSolver {
  /** The name for reports; the last bits of a score depend on the solver. */
  readonly name: string;
  /** @param a [n, n], symmetric, may be overwritten @returns [n], in no particular order */
  eigenvalues(a: Float64Array, n: number): Float64Array;
}

/** @throws ArgumentError unless `a` has n^2 elements */
function checkSquare(op: string, a: Float64Array, n: number): void {
  checkArgument(op, 'n', n, kinds.whole);
  if (!(a instanceof Float64Array) || a.length !== n * n)
    throw new ArgumentError(op, `a to be a Float64Array of ${n} x ${n}`, describeValue(a));
}

/** The built-in solver in JavaScript, with the same bits on every machine. */
export const ownEigenSolver: EigenSolver = {
  name: 'own',
  eigenvalues(a, n) {
    checkSquare('eigenvalues', a, n);
    return symmetricEigenvalues(a, n);
  },
};

/**
 * The solver of LAPACK.
 * @throws RectiflowError if LAPACK is not found, with the places searched and how to install it
 * @example
 * const { eigenvalues } = lapackEigenSolver();
 * eigenvalues(Float64Array.of(2, 1, 1, 2), 2).sort(); // [1, 3]
 */
export function lapackEigenSolver(): EigenSolver {
  const { dsyevd_ } = openSystemLibrary(lapack);
  const [valuesOnly, upper] = [...'NU'].map((letter) => Uint8Array.of(letter.charCodeAt(0)));
  // Two words, because the library may read 32-bit or 64-bit integers.
  const whole = (value: number) => Int32Array.of(value, value < 0 ? -1 : 0);
  return {
    name: 'LAPACK',
    eigenvalues(a, n) {
      // The library reads n^2 numbers, whatever the length of the array.
      checkSquare('eigenvalues', a, n);
      const values = new Float64Array(n);
      if (n === 0) return values;
      const order = whole(n);
      const info = whole(0);
      const run = (work: Float64Array, workSize: number, whole32: Int32Array, wholeSize: number) => {
        const [size, wholes] = [whole(workSize), whole(wholeSize)];
        dsyevd_(valuesOnly, upper, order, a, order, values, work, size, whole32, wholes, info, 1, 1);
        if (info[0] !== 0) throw new RectiflowError(`LAPACK's dsyevd failed: info ${info[0]}`);
      };
      const wanted = new Float64Array(1);
      run(wanted, -1, new Int32Array(2), -1);
      run(new Float64Array(wanted[0]), wanted[0], new Int32Array(2), 1);
      return values;
    },
  };
}

/**
 * LAPACK if it is found, otherwise the built-in solver.
 * @throws RectiflowError if LIBLAPACK_PATH names an unusable file
 * @example
 * const solver = findEigenSolver();
 * ['own', 'LAPACK'].includes(solver.name); // true
 * solver.eigenvalues(Float64Array.of(2, 1, 1, 2), 2).sort(); // [1, 3]
 */
export function findEigenSolver(): EigenSolver {
  try {
    return lapackEigenSolver();
  } catch (error) {
    if (fromEnvironment(lapack.variable)) throw error;
    return ownEigenSolver;
  }
}
