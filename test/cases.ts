/**
 * The table of op cases, used three ways: value and gradient against the float64 reference on every device
 * (test/ops/values.test.ts), random sizes driven by fast-check (test/ops/properties.test.ts), and timing (bench/).
 */
import type { Precision } from '../src/device/device.ts';
import { attentionCases } from './cases/attention.ts';
import type { Case } from './cases/case.ts';
import { convCases } from './cases/conv.ts';
import { convGroupCases } from './cases/conv_groups.ts';
import { elementwiseCases } from './cases/elementwise.ts';
import { firCases } from './cases/fir.ts';
import { lossCases } from './cases/losses.ts';
import { matmulCases } from './cases/matmul.ts';
import { movementCases } from './cases/movement.ts';
import { normCases } from './cases/norm.ts';
import { odeCases } from './cases/ode.ts';
import { poolingCases } from './cases/pooling.ts';
import { toleranceIn } from './cases/precision.ts';
import { reduceCases } from './cases/reduce.ts';

export const cases: readonly Case[] = [
  ...elementwiseCases,
  ...reduceCases,
  ...lossCases,
  ...matmulCases,
  ...attentionCases,
  ...convCases,
  ...convGroupCases,
  ...normCases,
  ...firCases,
  ...poolingCases,
  ...movementCases,
  ...odeCases,
];

/** The cases that are checked in a precision, with its sizes. */
export function casesIn(precision: Precision): readonly Case[] {
  return cases
    .filter((definition) => toleranceIn(precision, definition))
    .map((definition) =>
      precision === 'bf16' && definition.inBf16
        ? { ...definition, check: definition.check.filter((size) => definition.inBf16?.(size)) }
        : definition,
    );
}
