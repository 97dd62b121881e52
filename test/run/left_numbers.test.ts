// Files of an earlier run with numbers that no run writes: they are ignored, and their contents are computed again.
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { keepBest } from '../../src/run/eval/best.ts';
import { drawSamples } from '../../src/run/eval/draw_samples.ts';
import type { EvalRow } from '../../src/run/eval/evaluator.ts';
import { buildModel } from '../../src/run/index.ts';
import { readLog } from '../../src/run/workdir/log.ts';
import { configWith } from '../support/config.ts';
import { openTestDevice } from '../support/devices.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-left-'));
let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
});

describe('best.json', () => {
  it.each(['-1e999', '1e999', '"0"', 'null'])('with the value %s is ignored', async (value) => {
    const config = await configWith('digits', {});
    const workdir = mkdtempSync(join(folder, 'best-'));
    mkdirSync(join(workdir, 'eval'));
    for (const name of ['a', 'b']) writeFileSync(join(workdir, name), '');
    const path = join(workdir, 'eval/best.json');
    const score = `loss over 4 images, seed ${config.seed}`;
    writeFileSync(path, `{"checkpoint": "a", "step": 1, "score": "${score}", "value": ${value}}`);
    const row = { checkpoint: join(workdir, 'b'), step: 3, loss: { loss: 2, images: 4 } } as unknown as EvalRow;
    await keepBest(workdir, config, [row]);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ checkpoint: 'b', step: 3, score, value: 2 });
  });
});

describe('run.json', () => {
  it.each([
    ['nfe', '["1", 1]'],
    ['nfe', '[null, 1]'],
    ['nfe', '[1e999, 1]'],
    ['nfe', '[-1, 1]'],
    ['left_out', '[0.5, 0]'],
    ['left_out', '["0", 0]'],
    ['left_out', '[-1, 0]'],
  ])('with %s %s is ignored', async (key, list) => {
    const config = await configWith('digits', {
      ...{ 'model.nf': 8, 'model.ch_mult': [1], 'model.num_res_blocks': 1, 'model.attn_resolutions': [] },
      ...{ 'eval.num_samples': 3, 'eval.batch_size': 2, 'sampling.sample_N': 1 },
    });
    using model = buildModel(config, device);
    const own = mkdtempSync(join(folder, 'run-'));
    const checkpoint = join(own, 'x.safetensors');
    writeFileSync(checkpoint, '');
    const draw = () => drawSamples(model, config, { folder: own, files: 'samples', checkpoint, device });
    const first = await draw();
    const path = join(first.folder, 'run.json');
    const run = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify({ ...run, [key]: 'LIST' }).replace('"LIST"', list));
    expect(await draw()).toEqual(first);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(run);
  });
});

it('invalid steps in log.jsonl are ignored', async () => {
  const path = join(folder, 'log.jsonl');
  const lines = [
    '0, "loss": 1',
    '1e999, "loss": 1',
    '1, "loss": 1e999',
    '0.5, "loss": 1',
    '"2", "loss": 1',
    '3, "loss": 2',
  ];
  writeFileSync(path, lines.map((line) => `{"step": ${line}}\n`).join(''));
  expect(await readLog(path)).toEqual([
    { step: 0, loss: 1 },
    { step: 3, loss: 2 },
  ]);
});
