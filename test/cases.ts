/**
 * The table of op cases, used three ways: value and gradient against the float64 reference on every device
 * (test/ops/values.test.ts), random sizes driven by fast-check (test/ops/properties.test.ts), and timing (bench/).
 */
import type { Case } from './cases/case.ts';
import { convCases } from './cases/conv.ts';
import { elementwiseCases } from './cases/elementwise.ts';
import { firCases } from './cases/fir.ts';
import { matmulCases } from './cases/matmul.ts';
import { movementCases } from './cases/movement.ts';
import { normCases } from './cases/norm.ts';
import { poolingCases } from './cases/pooling.ts';
import { reduceCases } from './cases/reduce.ts';

export const cases: readonly Case[] = [
  ...elementwiseCases,
  ...reduceCases,
  ...matmulCases,
  ...convCases,
  ...normCases,
  ...firCases,
  ...poolingCases,
  ...movementCases,
];
