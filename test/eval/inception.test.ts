// The FID Inception-v3 compared with pytorch-fid's network with the same weights (golden/README.md).
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { DtypeError, FileError, ShapeError, ValueError } from '../../src/errors.ts';
import { extractFeatures, FidInception, inceptionState, type StateArrays } from '../../src/eval/index.ts';
import { type ArrayFile, readNpz, writePth } from '../../src/io/index.ts';
import { tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { temporaryFolder } from '../io/files.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';
import { golden, relativeToLargest, weightsByFormula } from './weights.ts';

let weights: StateArrays;
let arrays: Map<string, ArrayFile>;

beforeAll(async () => {
  weights = weightsByFormula('inception_tensors.tsv');
  arrays = await readNpz(golden('inception.npz'));
});

const pthOf = (state: StateArrays) =>
  new Map(
    [...state].map(([name, { shape, data }]): [string, ArrayFile] => [name, { shape: [...shape], dtype: 'f32', data }]),
  );

it('has the tensors of the published file, in the same order', () => {
  expect([...inceptionState()]).toEqual([...weights].map(([name, { shape }]) => [name, shape]));
});

/** Whole feature networks take minutes on the emulated card. */
const devices = deviceNames.filter((name) => name !== 'cuda-emulated');

describe.each(devices)('on %s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  it('computes pool3 and logits of two image sizes within 1e-5 of the largest, without leaks', async () => {
    const path = `${await temporaryFolder()}/inception.pth`;
    const counter: ArrayFile = { shape: [], dtype: 'i64', data: BigInt64Array.of(0n) };
    await writePth(path, pthOf(weights).set('Conv2d_1a_3x3.bn.num_batches_tracked', counter));
    const before = device.memory().live;
    const network = await FidInception.load(path, { device });
    const run = (size: number) =>
      scope(() => {
        const { shape, data } = arrays.get(`images${size}`) as ArrayFile;
        const { pool3, logits } = network.forward(tensor(data as Uint8Array, { shape, dtype: 'u8', device }));
        return { pool3: pool3.dataSync(), logits: logits.dataSync() };
      });
    for (const size of [32, 96]) {
      const got = run(size);
      for (const output of ['pool3', 'logits'] as const) {
        const want = arrays.get(`${output}_${size}`)?.data as Float32Array;
        expect(relativeToLargest(got[output], want), `${output} at ${size}`).toBeLessThan(1e-5);
      }
    }
    // The first run of a shape leaves its launch tables on the device.
    const used = device.memory().live;
    run(96);
    expect(device.memory().live).toBe(used);
    const tables = 100_000;
    network[Symbol.dispose]();
    expect(device.memory().live).toBeLessThan(before + tables);
  });

  it('computes features of images on the host, batch by batch', async () => {
    using network = new FidInception(weights, { device });
    const { shape, data } = arrays.get('images32') as ArrayFile;
    const done: number[] = [];
    const options = { batchSize: 2, onBatch: (count: number) => done.push(count) };
    const { pool3, logits } = await extractFeatures(network, data as Uint8Array, shape, options);
    expect(done).toEqual([2, 3]);
    for (const [output, rows] of Object.entries({ pool3, logits })) {
      const want = arrays.get(`${output}_32`) as ArrayFile;
      expect([rows.rows, rows.columns]).toEqual(want.shape);
      expect(relativeToLargest(rows.values, want.data as Float32Array), output).toBeLessThan(1e-5);
    }
    const extract = (...rest: [readonly number[], object?]) => extractFeatures(network, data as Uint8Array, ...rest);
    await expect(extract([2, 32, 32, 3])).rejects.toThrow(ShapeError);
    await expect(extract([3, 32, 96, 1])).rejects.toThrow(ShapeError);
    await expect(extract(shape, { batchSize: 0 })).rejects.toThrow(ValueError);
    await expect(extract(shape, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  });

  it('refuses other images and files, and names the mismatches', async () => {
    const wrong = new Map(weights);
    wrong.delete('fc.bias');
    wrong.set('Conv2d_1a_3x3.bn.weight', { shape: [3], data: new Float32Array(3) });
    wrong.set('AuxLogits.fc.bias', { shape: [1], data: new Float32Array(1) });
    const fails = () => new FidInception(wrong, { device, origin: 'other.pth' });
    expect(fails).toThrow(FileError);
    expect(fails).toThrow(
      'other.pth: does not fit the FID Inception-v3:\n  1 missing: fc.bias\n  1 unknown: AuxLogits.fc.bias\n' +
        '  1 with a different shape: Conv2d_1a_3x3.bn.weight is [3], expected [32]',
    );
    const path = `${await temporaryFolder()}/list.pth`;
    await writePth(path, [1, 2]);
    await expect(FidInception.load(path, { device })).rejects.toThrow('is not a state dict');
    await writePth(path, new Map([['fc.bias', 1]]));
    await expect(FidInception.load(path, { device })).rejects.toThrow('"fc.bias" is not a tensor');
    using network = new FidInception(weights, { device });
    scope(() => {
      expect(() => network.forward(zeros([1, 8, 8, 1], { device, dtype: 'u8' }))).toThrow(ShapeError);
      expect(() => network.forward(zeros([1, 8, 8, 3], { device }))).toThrow(DtypeError);
    });
  });
});
