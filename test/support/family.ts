// Members of the NCSN++ family against the official implementation on PyTorch: output and every gradient. The numbers are
// fixtures/nn/family.*, made by make_family.py there, which has the formula by which both sides fill weights and images.
import type { Device, Precision } from '../../src/device/device.ts';
import { mul } from '../../src/kernels/elementwise.ts';
import { sum } from '../../src/kernels/reduce.ts';
import {
  fromOfficial,
  Initializer,
  type OfficialEntry,
  officialEntries,
  toOfficial,
  UNet,
  type UNetOptions,
} from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { sizeOf } from '../../src/tensor/shape.ts';

/** fixtures/nn/family.json. */
export interface Family {
  base: Omit<UNetOptions, 'seed'>;
  labels: number[];
  members: Record<string, Partial<UNetOptions>>;
  large: Record<string, { trainable: number; keys: number; sha256: string }>;
}

/** Errors relative to the largest output, to the norm of a parameter's gradient, and, for a pure rounding error, to the largest norm. */
const tolerances = {
  fp32: { output: 2e-5, gradient: 1e-4, rounding: 1e-6 },
  // Factors of products are off by 2^-11, which accumulates over about thirty layers like a random walk.
  tf32: { output: 4e-3, gradient: 1e-2, rounding: 1e-4 },
  // Here they are off by 2^-9, and every activation and its gradient is rounded.
  bf16: { output: 3e-2, gradient: 0.1, rounding: 1e-3 },
};

/** The members checked in a precision; in rounded precisions only the presets, for which the tolerances are made. */
export function membersIn({ members }: Family, precision: Precision): string[] {
  return Object.keys(members).filter((name) => precision === 'fp32' || ['ddpmpp', 'ncsnpp'].includes(name));
}

export function buildMember({ base, members }: Family, name: string, device: Device): UNet {
  return new UNet({ ...base, ...members[name], seed: 0 }, new Initializer({ device }));
}

/** Numbers in [-1, 1): murmur3's finaliser of element + 0x9E3779B9 (number + 1). */
export function signs(number: number, size: number): Float64Array {
  const offset = Math.imul(0x9e3779b9, number + 1);
  return Float64Array.from({ length: size }, (_, i) => {
    let h = (i + offset) | 0;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return (2 * ((h ^ (h >>> 16)) >>> 0)) / 2 ** 32 - 1;
  });
}

function weights(number: number, { official, shape }: OfficialEntry): Float32Array {
  const s = signs(number, sizeOf(shape));
  const fanIn = sizeOf(shape.slice(1));
  if (shape.length > 1) return Float32Array.from(s, (v) => v * Math.sqrt(3 / fanIn));
  if (official.endsWith('.weight')) return Float32Array.from(s, (v) => 1 + 0.2 * v);
  return Float32Array.from(s, (v) => (official.endsWith('.W') ? 2 : 0.1) * v);
}

/** @param stored an array of family.npz @throws Error naming what differs and by how much */
export function checkMember(
  family: Family,
  name: string,
  stored: (array: string) => Float32Array,
  device: Device,
): void {
  const tolerance = tolerances[device.precision];
  const { labels } = family;
  using network = buildMember(family, name, device);
  const entries = officialEntries(network);
  const state = entries.map((entry, k) => {
    const data = weights(k, entry);
    return [entry.path, fromOfficial(entry.layout, { shape: entry.shape, data })] as const;
  });
  network.loadStateDict(new Map(state));
  network.eval();
  const shape = [labels.length, network.options.imageSize, network.options.imageSize, network.options.channels];
  const image = (number: number, factor: number) =>
    tensor(
      Float32Array.from(signs(number, sizeOf(shape)), (v) => factor * Math.fround(v)),
      { shape, device },
    );
  scope(() => {
    const x = image(1000, 1.5).requireGrad();
    const y = network.forward(x, tensor(labels, { device }));
    sum(mul(y, image(1001, 1))).backward();
    const expected = stored(`${name}/y`);
    const largest = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    const error = (y.dataSync() as Float32Array).reduce((most, v, i) => Math.max(most, Math.abs(v - expected[i])), 0);
    within(`${name}: output`, error, tolerance.output * largest);
    const tensors = network.stateDict();
    const gradients = entries.map(({ path, layout, trainable }) => {
      const { shape, grad } = tensors.get(path) as { shape: readonly number[]; grad?: typeof x };
      return trainable && grad ? toOfficial(layout, { shape, data: grad.dataSync() as Float32Array }).data : [];
    });
    const names = [...entries.map(({ official }) => official), 'x'];
    compareGradients(name, names, [...gradients, x.grad?.dataSync() ?? []], stored(`${name}/gradients`), tolerance);
  });
}

function compareGradients(
  member: string,
  names: string[],
  gradients: ArrayLike<number>[],
  summaries: Float32Array,
  tolerance: (typeof tolerances)[Precision],
): void {
  if (summaries.length !== 2 * names.length)
    throw new Error(`${member}: ${names.length} gradients, expected ${summaries.length / 2}`);
  const largest = summaries.reduce((most, v, i) => (i % 2 ? most : Math.max(most, v)), 0);
  gradients.forEach((gradient, k) => {
    const values = Array.from(gradient);
    const direction = signs(2000 + k, values.length);
    const norm = Math.sqrt(values.reduce((total, g) => total + g * g, 0));
    const product = values.reduce((total, g, i) => total + g * direction[i], 0);
    const [expectedNorm, expectedProduct] = summaries.slice(2 * k, 2 * k + 2);
    // Softmax is invariant to a number added to all its scores, so the gradient of a key's bias is pure rounding error.
    const rounding = names[k].endsWith('NIN_1.b');
    const allowed = rounding ? tolerance.rounding * largest : tolerance.gradient * expectedNorm;
    within(`${member}: norm of the gradient of ${names[k]}`, Math.abs(norm - expectedNorm), allowed);
    within(`${member}: gradient of ${names[k]}`, Math.abs(product - expectedProduct), 2 * allowed);
  });
}

function within(what: string, error: number, allowed: number): void {
  if (!(error <= allowed)) throw new Error(`${what} is off by ${error}, allowed ${allowed}`);
}
