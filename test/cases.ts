// The table of op cases, used three ways: value and gradient against the float64 reference on every device
// (test/ops/values.test.ts), random sizes driven by fast-check (test/ops/properties.test.ts), and timing (bench/).
import type { Precision } from '../src/device/device.ts';
import { activationCases } from './cases/activation.ts';
import { attentionCases } from './cases/attention.ts';
import type { Case } from './cases/case.ts';
import { convCases } from './cases/conv.ts';
import { convGroupCases } from './cases/conv_groups.ts';
import { drawCases } from './cases/draws.ts';
import { einsumCases } from './cases/einsum.ts';
import { elementwiseCases } from './cases/elementwise.ts';
import { firCases } from './cases/fir.ts';
import { foldCases } from './cases/fold.ts';
import { indexingCases } from './cases/indexing.ts';
import { integerCases } from './cases/integer.ts';
import { layerNormCases } from './cases/layer_norm.ts';
import { lossCases } from './cases/losses.ts';
import { mathCases } from './cases/math.ts';
import { matmulCases } from './cases/matmul.ts';
import { movementCases } from './cases/movement.ts';
import { normCases } from './cases/norm.ts';
import { odeCases } from './cases/ode.ts';
import { poolingCases } from './cases/pooling.ts';
import { toleranceIn } from './cases/precision.ts';
import { reduceCases } from './cases/reduce.ts';
import { scanCases } from './cases/scan.ts';
import { shapeCases } from './cases/shapes.ts';
import { triangleCases } from './cases/triangles.ts';

export const cases: readonly Case[] = [
  ...elementwiseCases,
  ...mathCases,
  ...integerCases,
  ...activationCases,
  ...reduceCases,
  ...foldCases,
  ...scanCases,
  ...matmulCases,
  ...einsumCases,
  ...lossCases,
  ...attentionCases,
  ...convCases,
  ...convGroupCases,
  ...normCases,
  ...layerNormCases,
  ...firCases,
  ...poolingCases,
  ...movementCases,
  ...shapeCases,
  ...triangleCases,
  ...drawCases,
  ...indexingCases,
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
