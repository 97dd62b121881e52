// The checks and timings of `npm run gpu` on a card: the op cases against their float64 reference, members of the network family
// against the official implementation's numbers. The build compiles this file and its imports into dist/gpu.
import { readFileSync } from 'node:fs';
import type { Check, Timing } from '../../bench/gpu/checks.ts';
import { noGrad } from '../../src/autograd/mode.ts';
import type { Precision } from '../../src/device/device.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { describeCase } from '../cases/case.ts';
import { cases, casesIn } from '../cases.ts';
import { checkCase } from '../support/check.ts';
import { checkMember, type Family, membersIn } from '../support/family.ts';
import { fill, random } from '../support/random.ts';

export function opChecks(precision: Precision): Check[] {
  return casesIn(precision).map((definition) => ({
    name: describeCase(definition),
    async run(device) {
      for (const size of definition.check) await checkCase(definition, size, device, 0);
    },
  }));
}

interface Golden {
  family: Family;
  /** f32 values in base64. */
  arrays: Record<string, string>;
}

export function goldenChecks(precision: Precision): Check[] {
  const { family, arrays }: Golden = JSON.parse(readFileSync(new URL('../golden.json', import.meta.url), 'utf8'));
  const stored = (name: string) => new Float32Array(Uint8Array.from(Buffer.from(arrays[name], 'base64')).buffer);
  return membersIn(family, precision).map((name) => ({
    name,
    run: (device) => checkMember(family, name, stored, device),
  }));
}

/** The forward of each case at the sizes that are worth timing. */
export function timings(): Timing[] {
  return cases.flatMap((definition) =>
    (definition.time ?? []).map((size) => ({
      name: describeCase(definition, size),
      prepare(device) {
        const draw = random(describeCase(definition, size));
        const inputs = definition.inputs(size).map((input) => {
          const { data } = fill(input, draw);
          return tensor(Array.from(data), { shape: input.shape, dtype: input.dtype, device });
        });
        return {
          forward: () =>
            scope(() => {
              noGrad(() => definition.run(inputs, size));
            }),
          flops: definition.flops?.(size),
          bytes: definition.bytes?.(size),
          dispose: () => {
            for (const input of inputs) input.dispose();
          },
        };
      },
    })),
  );
}
