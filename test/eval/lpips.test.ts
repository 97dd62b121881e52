// LPIPS compared with the published code with the same weights (golden/README.md): value, and gradient for both images.
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { channelsLast } from '../../src/data/index.ts';
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import { FileError, ShapeError } from '../../src/errors.ts';
import { Lpips, readStateArrays, type StateArrays, vgg16State } from '../../src/eval/index.ts';
import { type ArrayFile, readNpz, writePth } from '../../src/io/index.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { full, tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { temporaryFolder } from '../io/files.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';
import { golden, relativeToLargest, weightsByFormula } from './weights.ts';

const headsFile = fileURLToPath(new URL('../../assets/lpips/vgg_v0.1.pth', import.meta.url));

/** The trunk under torchvision's names; the golden list has the names of LPIPS's slices, `slice2.5.weight`. */
function trunkByFormula(): StateArrays {
  const named = [...weightsByFormula('vgg16_tensors.tsv')];
  return new Map(named.map(([name, array]) => [name.replace(/^slice\d/, 'features'), array]));
}

const trunk = trunkByFormula();

it('has the tensors of the published file, in the same order', () => {
  expect([...vgg16State()]).toEqual([...trunk].map(([name, { shape }]) => [name, shape]));
});

/** Whole feature networks take minutes on the emulated card. */
const devices = deviceNames.filter((name) => name !== 'cuda-emulated');

/**
 * Tolerances of the gradient relative to its largest value: for direct and Winograd convolutions (tuning tables
 * choose).
 */
const bounds = { direct: 1e-5, winograd: 3e-5 };

describe.each(devices.flatMap((name) => (name === 'cpu' ? [name, 'cpu, exact'] : [name])))('on %s', (name) => {
  let device: Device;
  let arrays: Map<string, ArrayFile>;
  beforeAll(async () => {
    device = name === 'cpu, exact' ? await openDevice('cpu', { exact: true }) : await openTestDevice(name);
    arrays = await readNpz(golden('lpips_vgg.npz'));
  }, 120_000);

  const images = (key: string) => {
    const { shape, data } = arrays.get(key) as ArrayFile;
    const [n, c, h, w] = shape;
    return { shape: [n, h, w, c], data: channelsLast(data as Float32Array, [n, h, w, c]) };
  };
  const leaf = (key: string) => {
    const { shape, data } = images(key);
    return tensor(data, { shape, device, requiresGrad: true });
  };

  it('matches distance (1e-6 of the largest) and gradient (its bound), is symmetric, and does not leak', async () => {
    const path = `${await temporaryFolder()}/vgg16.pth`;
    const classifier: ArrayFile = { shape: [2], dtype: 'f32', data: new Float32Array(2) };
    const entries = [...trunk].map(([key, { shape, data }]): [string, ArrayFile] => [
      key,
      { shape: [...shape], dtype: 'f32', data },
    ]);
    await writePth(path, new Map([...entries, ['classifier.0.bias', classifier]]));
    using lpips = await Lpips.load(path, { device });
    const run = (first: string, second: string) => {
      const [a, b] = [leaf(first), leaf(second)];
      const value = scope(() => {
        const distance = lpips.forward(a, b);
        sum(distance).backward();
        return distance.dataSync() as Float32Array;
      });
      const gradients = [a, b].map((t) => t.grad?.dataSync() as Float32Array);
      for (const t of [a.grad, b.grad, a, b]) t?.dispose();
      return { value, gradients };
    };
    const { value, gradients } = run('a', 'b');
    expect(relativeToLargest(value, arrays.get('lpips')?.data as Float32Array)).toBeLessThan(1e-6);
    const bound = name === 'cpu' || name === 'wasm' ? bounds.winograd : bounds.direct;
    expect(relativeToLargest(gradients[0], images('grad_a').data)).toBeLessThan(bound);
    const live = device.memory().live;
    const swapped = run('b', 'a');
    expect(device.memory().live).toBe(live);
    expect(swapped.value).toEqual(value);
    expect(swapped.gradients).toEqual([...gradients].reverse());
  });

  it('is 0 for equal images, with a gradient of 0 even if every feature is 0', async () => {
    const silent = new Map([...trunk].map(([key, { shape, data }]) => [key, { shape, data: data.map(() => 0) }]));
    const heads = await readStateArrays(headsFile);
    for (const weights of [trunk, silent]) {
      using lpips = new Lpips(weights, heads, { device });
      const [a, b] = [0, 0].map(() => full([1, 16, 16, 3], 0.25, { device, requiresGrad: true }));
      const value = scope(() => {
        const distance = lpips.forward(a, b);
        distance.backward();
        return distance.item();
      });
      expect(value).toBe(0);
      expect(a.grad?.dataSync().every((slope) => slope === 0)).toBe(true);
      for (const t of [a.grad, b.grad, a, b]) t?.dispose();
    }
  });

  it('refuses other shapes and files', async () => {
    const heads = await readStateArrays(headsFile);
    const without = new Map([...trunk].slice(1));
    expect(() => new Lpips(without, heads, { device, origin: 'vgg.pth' })).toThrow(FileError);
    expect(() => new Lpips(without, heads, { device, origin: 'vgg.pth' })).toThrow(
      "vgg.pth: does not fit VGG16's features:\n  1 missing: features.0.weight",
    );
    expect(() => new Lpips(trunk, trunk, { device })).toThrow('the heads: does not fit LPIPS on VGG16');
    using lpips = new Lpips(trunk, heads, { device });
    const images = (...shape: number[]) => zeros(shape, { device });
    scope(() => {
      expect(() => lpips.forward(images(1, 8, 8, 3), images(1, 8, 8, 3))).toThrow(ShapeError);
      expect(() => lpips.forward(images(1, 16, 16, 3), images(2, 16, 16, 3))).toThrow(ShapeError);
    });
  });
});
