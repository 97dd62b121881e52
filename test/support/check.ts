// One case at one size on one device against the float64 reference:
// the values, and the gradients of L = sum(output * cotangent) with respect to every differentiable input, by single
// elements (all of a small input, a sample of a large one) and along one random direction that covers all of them.
import type { Device } from '../../src/device/device.ts';
import { cast } from '../../src/kernels/cast.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { asList, type Case, describeCase } from '../cases/case.ts';
import { toleranceIn } from '../cases/precision.ts';
import { expectClose, largestOf } from './compare.ts';
import { fill, type Input, integer, type Random, random } from './random.ts';
import { type Array64, array64, directionalDerivative, partialDerivatives, type Shape } from './reference/index.ts';

const full = process.env.RECTIFLOW_TEST_FULL === '1';
/** The most elements of an input whose partial derivatives are all compared, and the size of the sample for larger inputs. */
const most = full ? 48 : 12;
const sampled = full ? 24 : 4;

export function makeTensor(array: Array64, dtype: Input['dtype'], device: Device, requiresGrad: boolean): Tensor {
  const data = dtype === 'f32' ? new Float32Array(array.data) : Array.from(array.data);
  return tensor(data, { shape: array.shape, dtype, device, requiresGrad });
}

async function read(t: Tensor): Promise<Array64> {
  const data = await t.data();
  return array64(t.shape, data instanceof Float32Array ? data : Float64Array.from(data, Number));
}

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

/** Rounds an f32 number to the nearest bf16 number. */
function roundToBf16(value: number): number {
  if (!Number.isFinite(value)) return value;
  single[0] = value;
  bits[0] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) & 0xffff0000;
  return single[0];
}

/** Rounds numbers so that their products are exact in the device's precision. */
function exactIn(device: Device, array: Array64): Array64 {
  return device.precision === 'fp32' ? array : array64(array.shape, array.data.map(roundToBf16));
}

/** The inputs of the op: activations are bf16 if the device stores them so. */
export function given(tensors: readonly Tensor[], { parameters = [] }: Case, { precision }: Device): Tensor[] {
  return tensors.map((t, i) =>
    precision === 'bf16' && t.dtype === 'f32' && !parameters.includes(i) ? cast(t, 'bf16') : t,
  );
}

/** The results of a case on the engine. */
export interface Execution {
  outputs: Array64[];
  dtypes: string[];
  cotangents: Array64[];
  /** One per input; null if the input has no gradient. */
  gradients: (Array64 | null)[];
}

/** Runs a case forward and backward on the engine, and frees all its tensors. */
async function execute(
  definition: Case,
  size: unknown,
  device: Device,
  inputs: readonly Input[],
  arrays: readonly Array64[],
  draw: Random,
): Promise<Execution> {
  const tensors = inputs.map((input, i) => makeTensor(arrays[i], input.dtype, device, input.differentiable));
  let dtypes: string[] = [];
  const results = scope(() => {
    const made = asList(definition.run(given(tensors, definition, device), size));
    dtypes = made.map(({ dtype }) => dtype);
    return made.map((t) => (t.dtype === 'bf16' ? cast(t, 'f32') : t));
  });
  const outputs = await Promise.all(results.map(read));
  const cotangents = outputs.map(({ shape, data }) =>
    exactIn(
      device,
      array64(
        shape,
        data.map(() => Math.fround(2 * draw() - 1)),
      ),
    ),
  );
  if (inputs.some((input) => input.differentiable)) {
    results.forEach((result, i) => {
      const retainGraph = i < results.length - 1;
      scope(() => result.backward(makeTensor(cotangents[i], 'f32', device, false), { retainGraph }));
    });
  }
  const gradients = await Promise.all(tensors.map((t) => (t.grad ? read(t.grad) : null)));
  for (const t of [...results, ...tensors]) t.dispose();
  return { outputs, dtypes, cotangents, gradients };
}

function sameShape(what: string, got: Shape, want: Shape): void {
  if (`${got}` !== `${want}` || got.length !== want.length) {
    throw new Error(`${what}: got shape [${got}], expected [${want}]`);
  }
}

/** Which elements of an input to probe: all, or a sorted sample without repeats. */
function probedElements(size: number, draw: Random): number[] {
  if (size <= most) return Array.from({ length: size }, (_, i) => i);
  const chosen = new Set([0, size - 1]);
  while (chosen.size < sampled) chosen.add(integer(draw, 0, size - 1));
  return [...chosen].sort((a, b) => a - b);
}

/** Cached results of the float64 reference, shared by devices and modes; only for the fixed seed, whose sizes recur. */
const answers = new WeakMap<Case, Map<string, unknown>>();

function answersOf(definition: Case, key: string, seed: string | number): <T>(what: string, make: () => T) => T {
  const { reference, smooth = reference } = definition;
  // A reference that receives the engine's random mask has a different result each time.
  if (seed !== 0 || reference.length > 2 || smooth.length > 2) return (_, make) => make();
  const known = answers.get(definition) ?? new Map<string, unknown>();
  answers.set(definition, known);
  return <T>(what: string, make: () => T) => {
    const name = `${key} ${what}`;
    if (!known.has(name)) known.set(name, make());
    return known.get(name) as T;
  };
}

/** @throws Error naming op, case, size, device and the first differing elements */
export async function checkCase(definition: Case, size: unknown, device: Device, seed: string | number): Promise<void> {
  const title = describeCase(definition, size);
  const draw = random(`${title} ${seed}`);
  const inputs = definition.inputs(size);
  const arrays = inputs.map((input) => exactIn(device, fill(input, draw)));
  const tolerances = toleranceIn(device.precision, definition, device.exact);
  if (!tolerances) throw new Error(`${title} is not a case of ${device.precision}`);
  const { outputs, dtypes, cotangents, gradients } = await execute(definition, size, device, inputs, arrays, draw);

  const what = `${title} on ${device.name} in ${device.precision}, seed ${seed}`;
  const stored = device.precision === 'bf16' ? 'bf16' : 'f32';
  const rounded = device.precision === 'fp32' ? 'f32' : 'bf16';
  const answer = answersOf(definition, `${JSON.stringify(size)} of ${rounded}`, seed);
  const want = answer('outputs', () => asList(definition.reference(arrays, size, outputs)));
  if (outputs.length !== want.length) throw new Error(`${what}: ${outputs.length} outputs, expected ${want.length}`);
  want.forEach((expected, i) => {
    const part = want.length === 1 ? `${what}: output` : `${what}: output ${i}`;
    sameShape(part, outputs[i].shape, expected.shape);
    if (dtypes[i] !== (definition.dtype ?? stored)) throw new Error(`${part}: got dtype ${dtypes[i]}`);
    expectClose(part, outputs[i].data, expected.data, tolerances.value);
  });

  const differentiated = definition.smooth ?? definition.reference;
  const f = (values: Array64[]) => asList(differentiated.call(definition, values, size, outputs));
  const tolerance = tolerances.gradient;
  inputs.forEach((input, which) => {
    const gradient = gradients[which];
    const part = `${what}: gradient of input ${which}`;
    if (!input.differentiable) {
      if (gradient) throw new Error(`${part}: a gradient arrived where none was asked for`);
      return;
    }
    if (!gradient) throw new Error(`${part}: no gradient arrived`);
    sameShape(part, gradient.shape, input.shape);
    const { data } = gradient;
    const elements = probedElements(data.length, draw);
    const partial = answer(`elements of ${which}`, () => partialDerivatives(f, arrays, cotangents, which, elements));
    expectClose(
      part,
      elements.map((i) => data[i]),
      partial,
      tolerance,
      elements,
    );
    if (elements.length === data.length) return;

    // Errors of the elements add up like a random walk; four deviations are allowed.
    const direction = data.map(() => (draw() < 0.5 ? -1 : 1));
    const along = answer(`along ${which}`, () => directionalDerivative(f, arrays, cotangents, which, direction));
    const got = data.reduce((total, value, i) => total + value * direction[i], 0);
    const { absolute = 0, relative = 0, ofLargest = 0 } = tolerance;
    const allowed = 4 * Math.sqrt(data.length) * (absolute + (relative + ofLargest) * largestOf(data));
    expectClose(`${part}, along a random direction`, [got], [along], { absolute: allowed });
  });
}

/** The inputs of the last run, which another run of the same case often follows. */
let drawn: { title: string; inputs: Input[]; arrays: Array64[] } | undefined;

/** Runs a case forward and backward with inputs that depend only on the case and the size. */
export function runCase(definition: Case, size: unknown, device: Device): Promise<Execution> {
  const title = describeCase(definition, size);
  if (drawn?.title !== title) {
    const draw = random(title);
    const inputs = definition.inputs(size);
    drawn = { title, inputs, arrays: inputs.map((input) => fill(input, draw)) };
  }
  const { inputs, arrays } = drawn;
  const exact = arrays.map((array) => exactIn(device, array));
  return execute(definition, size, device, inputs, exact, random(`${title} cotangents`));
}
