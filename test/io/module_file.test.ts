// Modules in safetensors files: the same bits after loading, conversion of other dtypes, and a module that is unchanged after a refusal.
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  loadModule,
  readSafetensors,
  readSafetensorsHeader,
  saveModule,
  writeSafetensors,
} from '../../src/io/index.ts';
import { Adam, Initializer, MLP } from '../../src/nn/index.ts';
import { openTestDevice } from '../support/devices.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-module-'));
const path = join(folder, 'model.safetensors');
const device = await openTestDevice('cpu');
const network = (seed: number) => new MLP([3, 4, 2], new Initializer({ seed, device }));
const values = (module: MLP) => [...module.stateDict()].map(([name, t]) => [name, Array.from(t.dataSync())]);

it('loads what it saved, into another module and into one with an optimiser', async () => {
  using saved = network(1);
  await saveModule(path, saved, { note: 'first' });
  expect((await readSafetensorsHeader(path)).metadata).toEqual({ note: 'first' });
  using loaded = network(2);
  const optimizer = new Adam(loaded);
  expect(await loadModule(path, loaded)).toBe(loaded);
  expect(values(loaded)).toEqual(values(saved));
  optimizer.dispose();
  using fromBytes = network(3);
  await loadModule(readFileSync(path), fromBytes);
  expect(values(fromBytes)).toEqual(values(saved));
});

it('converts numbers of 16 and 64 bits', async () => {
  using module = network(1);
  const { tensors } = await readSafetensors(path);
  const file = join(folder, 'wide.safetensors');
  for (const [name, array] of tensors)
    tensors.set(name, { ...array, dtype: 'f64', data: Float64Array.from(array.data as Float32Array) });
  tensors.set('layers.1.bias', { shape: [2], dtype: 'bf16', data: Uint16Array.of(0x3f80, 0xc000) });
  await writeSafetensors(file, tensors);
  await loadModule(file, module);
  expect(Array.from(module.layers[1].bias.dataSync())).toEqual([1, -2]);
  expect(values(module)[0]).toEqual(values(network(1))[0]);
});

it('refuses a file that does not fit, and changes nothing', async () => {
  using module = new MLP([3, 4, 4, 2], new Initializer({ seed: 5, device }));
  const before = values(module);
  await expect(loadModule(path, module)).rejects.toThrow(
    new RegExp(`^${path}: does not fit this model:\n {2}2 missing: layers\\.2\\.weight, layers\\.2\\.bias\n`),
  );
  expect(values(module)).toEqual(before);
  const file = join(folder, 'whole.safetensors');
  await writeSafetensors(file, { weight: { shape: [1], dtype: 'i32', data: Int32Array.of(1) } });
  await expect(loadModule(file, module)).rejects.toThrow('"weight" is i32, expected f32, f64, f16 or bf16');
  await expect(saveModule(path, {} as never)).rejects.toThrow('[saveModule] expected module to be a module');
});
