// Outside a scope, a function owns nothing but its result: when that and the operands are disposed, all memory is free again. A
// function that uses other ops must dispose what it makes on the way, and so must a backward rule.
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { asList, type Case, describeCase } from '../cases/case.ts';
import { cases } from '../cases.ts';
import { makeTensor } from '../support/check.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';
import { fill, random } from '../support/random.ts';
import { array64, count } from '../support/reference/index.ts';

/** Ops whose cases make more tensors than they return: they cast twice, or return one of several results. */
const severalResults = ['cast', 'sort', 'topK', 'unique'];

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  const ones = (shape: readonly number[]) =>
    makeTensor(array64(shape, new Float64Array(count(shape)).fill(1)), 'f32', device, false);

  function run(definition: Case, size: unknown): void {
    const draw = random(describeCase(definition, size));
    const inputs = definition
      .inputs(size)
      .map((input) => makeTensor(fill(input, draw), input.dtype, device, input.differentiable));
    const outputs = asList(definition.run(inputs, size));
    const made: Tensor[] = [...inputs, ...outputs];
    outputs.forEach((output, i) => {
      if (!output.source) return;
      const cotangent = ones(output.shape);
      made.push(cotangent);
      output.backward(cotangent, { retainGraph: i + 1 < outputs.length });
    });
    for (const t of made) t.dispose();
  }

  test.each(
    cases
      .filter(({ op }) => !severalResults.includes(op))
      .map((definition) => ({ title: describeCase(definition), definition })),
  )(
    '$title leaves nothing behind',
    ({ definition }) => {
      const sizes = name === 'cpu' ? definition.check : definition.check.slice(0, 2);
      for (const size of sizes) {
        // The device keeps tables of strides and the like from the first call on.
        run(definition, size);
        const before = device.memory().live;
        run(definition, size);
        expect(device.memory().live - before, describeCase(definition, size)).toBe(0);
      }
    },
    120_000,
  );
});
