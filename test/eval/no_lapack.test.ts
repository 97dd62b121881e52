// Without LAPACK on the system, scores use the built-in eigenvalue solver.
import { expect, it, vi } from 'vitest';
import { RectiflowError } from '../../src/errors.ts';
import { findEigenSolver, frechetDistance, gaussianOf, lapackEigenSolver } from '../../src/eval/index.ts';
import { normalRows } from './features.ts';

vi.mock('../../src/device/system_library.ts', () => ({
  openSystemLibrary: () => {
    throw new RectiflowError('LAPACK, needed for eigenvalues, was not found');
  },
}));

it('falls back to the built-in solver', () => {
  expect(lapackEigenSolver).toThrow('was not found');
  expect(findEigenSolver().name).toBe('own');
  const [near, far] = [0, 2].map((shift) => gaussianOf(normalRows(100, 4, 'same', shift)));
  expect(frechetDistance(near, far)).toBeCloseTo(16, 10);
});
