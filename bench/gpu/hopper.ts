// The part `hopper`: the convolution kernels of sm_90a at the sizes of real layers, with every tile, against the portable kernels in
// fp32 on the same card. The operands are the same numbers of bf16, so only the order of the sums and the last rounding differ.
import { noGrad } from '../../src/autograd/mode.ts';
import type { Device } from '../../src/device/device.ts';
import { DeviceError } from '../../src/errors.ts';
import { cast } from '../../src/kernels/cast.ts';
import { convForward, convInputGradient, convWeightGradient } from '../../src/kernels/conv/cuda.ts';
import { hopperBuilds, hopperForward, hopperInputGradient, suitsHopper } from '../../src/kernels/conv/hopper.ts';
import { cutsOf, hopperWeightPartials } from '../../src/kernels/conv/hopper_weight_gradients.ts';
import { type ConvShape, inputShape, outputShape, weightShape } from '../../src/kernels/conv/shape.ts';
import { randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import type { Pass } from './layer_parts.ts';
import type { ItemResult } from './results_file.ts';

export interface HopperCheck {
  name: string;
  pass: Pass;
  /** One shape, or those of the weight gradients of one launch. */
  shapes: readonly ConvShape[];
}

/**
 * Largest difference over the largest value. Outputs are rounded to bf16, 2^-9 at most. Weight gradients are f32 sums of up to
 * 131,072 terms of random signs; tensor cores truncate what they add.
 */
const TOLERANCE: Record<Pass, number> = { forward: 6e-3, input: 6e-3, weight: 2e-3 };

function shapeOf(
  batch: number,
  [height, width]: readonly [number, number],
  [channels, outputs]: readonly [number, number],
  [kernelHeight, kernelWidth]: readonly [number, number],
  [paddingY, paddingX]: readonly [number, number],
): ConvShape {
  return {
    ...{ batch, height, width, channels, outputs, kernelHeight, kernelWidth, paddingY, paddingX },
    outputHeight: height + 2 * paddingY - kernelHeight + 1,
    outputWidth: width + 2 * paddingX - kernelWidth + 1,
    ...{ strideY: 1, strideX: 1, dilationY: 1, dilationX: 1, groups: 1 },
  };
}

/** Layers of the official CIFAR-10 network, a kernel that is not square, and a batch that fills no tile. */
const layers: readonly ConvShape[] = [
  shapeOf(3, [4, 4], [64, 64], [3, 3], [1, 1]),
  shapeOf(7, [5, 6], [64, 128], [2, 3], [1, 2]),
  shapeOf(128, [4, 4], [256, 256], [3, 3], [1, 1]),
  shapeOf(128, [16, 16], [256, 256], [1, 1], [0, 0]),
  shapeOf(128, [16, 16], [256, 256], [3, 3], [1, 1]),
  shapeOf(128, [8, 8], [512, 256], [3, 3], [1, 1]),
  shapeOf(128, [32, 32], [128, 128], [3, 3], [1, 1]),
  shapeOf(128, [32, 32], [384, 128], [3, 3], [1, 1]),
  shapeOf(100, [16, 16], [128, 192], [2, 3], [1, 2]),
];

const describe = ({ batch, height, width, channels, outputs, kernelHeight, kernelWidth }: ConvShape) =>
  `${kernelHeight} x ${kernelWidth} at ${height} x ${width}, ${channels} → ${outputs}, batch ${batch}`;

export function hopperChecks(): HopperCheck[] {
  const single = layers.flatMap((shape) =>
    (['forward', 'input', 'weight'] as const).map((pass) => ({
      name: `${describe(shape)}, ${pass}`,
      pass,
      shapes: [shape],
    })),
  );
  const together = [layers.slice(0, 2), layers.slice(2)].map((shapes) => ({
    name: `${shapes.length} weight gradients together, batch ${shapes[0].batch} first`,
    pass: 'weight' as const,
    shapes,
  }));
  return [...single, ...together];
}

/** @throws Error naming the tile that differs, or where the kernels do not apply */
export function checkHopper(device: Device, portable: Device, { pass, shapes }: HopperCheck): ItemResult {
  const maps = device.tensorMaps;
  if (!maps) throw new DeviceError(`${device.description} has none of these kernels`);
  if (!shapes.every(suitsHopper)) throw new Error('a shape does not suit these kernels');
  return noGrad(() =>
    scope(() => {
      const expected = shapes.map((shape, i) => expectedOf(portable, pass, shape, i));
      const operands = shapes.map((shape, i) => drawOperands(device, shape, i));
      const results = (build: number): Float32Array[] =>
        scope(() => {
          const [{ shape, x, weight, dy, bias, add, residual }] = operands;
          const epilogue = { bias, add, residual, scale: Math.SQRT1_2 };
          if (pass === 'forward')
            return [numbersOf(hopperForward(maps, x, weight, shape, epilogue, hopperBuilds[build]))];
          if (pass === 'input')
            return [numbersOf(hopperInputGradient(maps, dy, weight, shape, Math.SQRT1_2, hopperBuilds[build]))];
          const partials = hopperWeightPartials(maps, operands, cutsOf(shapes)[build]);
          return partials.map((parts) => numbersOf(sum(parts, { axis: 0 })));
        });
      let first: Float32Array[] | undefined;
      let worst = 0;
      hopperBuilds.forEach(({ name }, build) => {
        const got = results(build);
        const again = results(build);
        got.forEach((values, i) => {
          const off = differenceOf(values, expected[i]);
          worst = Math.max(worst, off);
          if (!(off <= TOLERANCE[pass]))
            throw new Error(
              `tile ${name} differs from the portable kernel by ${off.toExponential(2)} of the largest value`,
            );
          if (!sameBits(values, again[i])) throw new Error(`tile ${name} gives other bits the second time`);
          // Tiles divide weight gradients into other partial sums.
          if (pass !== 'weight' && first && !sameBits(values, first[i]))
            throw new Error(`tile ${name} gives other bits than tile ${hopperBuilds[0].name}`);
        });
        first ??= got;
      });
      return { values: { worst } };
    }),
  );
}

/** Normal numbers that bf16 holds. They are the same on every device, in bf16 where it is opened for bf16 and in f32 elsewhere. */
export function drawRounded(device: Device, shape: Shape, seed: number, stream: number): Tensor {
  const rounded = cast(randn(shape, { device, seed, stream }), 'bf16');
  return device.precision === 'bf16' ? rounded : cast(rounded, 'f32');
}

function drawOperands(device: Device, shape: ConvShape, layer: number) {
  const drawn = (dims: Shape, stream: number) => drawRounded(device, dims, 1 + layer, stream);
  return {
    shape,
    x: drawn(inputShape(shape), 0),
    weight: drawn(weightShape(shape), 1),
    dy: drawn(outputShape(shape), 2),
    bias: randn([shape.outputs], { device, seed: 1 + layer, stream: 3 }),
    add: drawn([shape.batch, shape.outputs], 4),
    residual: drawn(outputShape(shape), 5),
  };
}

function expectedOf(device: Device, pass: Pass, shape: ConvShape, layer: number): Float32Array {
  return scope(() => {
    const { x, weight, dy, bias, add, residual } = drawOperands(device, shape, layer);
    if (pass === 'forward')
      return numbersOf(convForward(x, weight, shape, { bias, add, residual, scale: Math.SQRT1_2 }));
    if (pass === 'input') return numbersOf(convInputGradient(dy, weight, shape, Math.SQRT1_2));
    return numbersOf(convWeightGradient(x, dy, shape, 1));
  });
}

export const numbersOf = (t: Tensor) => cast(t, 'f32').dataSync() as Float32Array;

/** The largest difference over the largest expected value; NaN if a value is NaN. */
export function differenceOf(got: Float32Array, expected: Float32Array): number {
  let [most, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    // Math.max of NaN and a number is NaN.
    most = Math.max(most, Math.abs(got[i] - expected[i]));
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  return most / largest;
}

export function sameBits(a: Float32Array, b: Float32Array): boolean {
  const [p, q] = [a, b].map(({ buffer, byteOffset, length }) => new Uint32Array(buffer, byteOffset, length));
  return p.every((word, i) => word === q[i]);
}
