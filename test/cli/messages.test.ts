// What the command says to mistakes: each message names the cause and what to do, in the words of the command line, and ends the
// command before it computes anything.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDevice, randn } from '../../src/index.ts';
import { runLine } from '../support/command_line.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-messages-'));
const at = (name: string) => join(folder, name);
const run = at('run');
const checkpoint = join(run, 'checkpoints/checkpoint_0.safetensors');
const train = `train --config digits --workdir ${at('new')}`;
const sample = `sample --checkpoint ${checkpoint}`;
const from = (dataset: string, root: string) =>
  `${train} --config.data.dataset ${dataset} --config.data.root_path ${root}`;

beforeAll(async () => {
  const tiny = '--config.model.nf 8 --config.training.batch_size 16 --config.training.snapshot_sampling false';
  const { status } = await runLine(`train --config digits --workdir ${run} ${tiny} --config.training.n_iters 0`);
  expect(status).toBe(0);
  writeFileSync(at('file.txt'), 'text');
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true }));

/** Names of functions and options of the library, which a user of the command does not know. */
const javaScript = /^\[\w+\] expected|\b[a-z]+[A-Z]\w*\(|\b(?:imageSize|baseChannels|channelMultipliers|loadConfig)\b/;

async function refused(line: string, status: number, message: string | RegExp): Promise<void> {
  const outcome = await runLine(line);
  if (typeof message === 'string') expect(outcome.error).toContain(message);
  else expect(outcome.error).toMatch(message);
  expect(outcome.error).not.toMatch(javaScript);
  expect(outcome.stdout).toBe('');
  expect(outcome.stderr).not.toMatch(/images\/s|NFE/);
  expect(outcome.status).toBe(status);
}

describe('mistakes of new users', () => {
  it.each<[line: string, status: number, message: string | RegExp]>([
    ['train', 2, /^--config is required$/],
    [
      `${train} --config.training.batch_size 1.5`,
      2,
      'training.batch_size: expected a whole number from 1 to 1048576; got 1.5',
    ],
    [`${train} --config.data.dataset cifar10`, 2, /one of CIFAR10, LSUN, .*; got "cifar10"; did you mean CIFAR10\?$/],
    [`${train} --config.optim.optimizer adamw`, 2, /got "adamw"; did you mean AdamW\?$/],
    [
      `${train} --config.optim.optimizer RMSprop`,
      2,
      /optim\.optimizer: expected one of Adam, AdamW, SGD, Lion, Muon; got "RMSprop"$/,
    ],
    [
      `train --config cifar10_small --workdir ${at('new')} --config.data.root_path /nope`,
      1,
      /^\/nope: there is no such folder; /,
    ],
    [`report --workdir ${at('nope')}`, 1, /nope: no such folder; check the path$/],
    [`${train} --lr 1e-3`, 2, 'train has no option --lr; did you mean --config.optim.lr?'],
    [`${train} --optim.lr 1e-3`, 2, 'train has no option --optim.lr; did you mean --config.optim.lr?'],
    [`${sample} --out a.png --num_steps 10`, 2, 'sample has no option --num_steps; did you mean --steps?'],
    [`${train} --device gpu`, 2, '--device expects cpu, wasm, cuda or cuda:N, got "gpu"; did you mean cuda?'],
    [`${sample} --out ${at('nodir/a.png')}`, 1, /nodir\/a\.png: no such file or folder: \S+nodir does not exist$/],
    [
      `${sample} --out a.jpg`,
      2,
      'expected a file name ending in .png, .npz, .np, .npy, or a folder ending in /, got "a.jpg"',
    ],
    [`${sample} --out ${at('a.png')} --num 1000000000`, 1, /^1000000000 images need 256\.0 GB, .*; sample fewer$/],
    [
      `${train} --config.model.nf 30`,
      2,
      'model.nf 30 and model.ch_mult [1, 2] do not fit together: a group norm of 30 channels cannot have 7 groups of equal ' +
        'size; a multiple of 32 for model.nf always fits',
    ],
    ['configs', 2, 'unknown command "configs"; did you mean config?'],
    ['config show', 2, 'config show needs NAME: rectiflow config show NAME'],
  ])('%s', refused);

  it.skipIf(process.platform !== 'linux')('--workdir /proc/nope ends', () =>
    refused(`train --config digits --workdir /proc/nope`, 1, '/proc/nope: cannot make the folder (ENOENT)'),
  );

  it('version and help are commands', () => {
    const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
    const print = (...words: string[]) => spawnSync(process.execPath, [bin, ...words], { encoding: 'utf8' });
    expect(print('version').stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(print('help', 'stats').stdout).toBe(print('stats', '--help').stdout);
  });

  it('randn without a seed', async () => {
    await openDevice('cpu');
    // @ts-expect-error The options are required.
    expect(() => randn([2])).toThrow('[randn] expected options with seed, got none');
    // @ts-expect-error The seed is required.
    expect(() => randn([2], {})).toThrow('[randn] expected seed to be a number, got none in the options');
  });
});

describe('an unknown option is', () => {
  it.each<[string, string]>([
    [`${train} --batch_size 3`, 'did you mean --config.training.batch_size or --config.eval.batch_size?'],
    [`${sample} --out a.png --batch_size 3`, 'did you mean --batch?'],
    [`${train} --seed 3`, 'did you mean --config.seed?'],
    [`${train} --learning-rate 3`, 'did you mean --config.optim.lr?'],
    [`${train} --epochs 3`, 'did you mean --config.training.n_iters?'],
    [`${train} --model.nff 3`, 'did you mean --config.model.nf?'],
    [`${train} --WORKDIR x`, 'did you mean --workdir?'],
    [`report --workdir ${run} --lr 1`, 'report has no option --lr; see rectiflow report --help'],
    ['doctor --lr 1', 'doctor has no option --lr; see rectiflow doctor --help'],
    [`${train} --frobnicate`, 'train has no option --frobnicate; see rectiflow train --help'],
    [`${train} --config.optim.learning_rate 1`, 'unknown key optim.learning_rate; did you mean optim.lr?'],
    [`${train} --config.BATCH_SIZE 1`, 'unknown key BATCH_SIZE; did you mean training.batch_size?'],
  ])('%s', (line, message) => refused(line, 2, message));
});

describe('a value of the wrong kind is', () => {
  it.each<[line: string, status: number, message: string | RegExp]>([
    [`${train} --config.device gpu`, 2, 'device: expected cpu, wasm, cuda or cuda:N; got "gpu"; did you mean cuda?'],
    [`${train} --device CPU`, 2, 'got "CPU"; did you mean cpu?'],
    [`${train} --config.reflow.reflow_t_schedule T0`, 2, 'got "T0"; did you mean t0?'],
    [`${train} --config.model.ch_mult 1,2.5`, 2, 'model.ch_mult.1: expected a whole number from 1 to 256; got 2.5'],
    [
      `${train} --config.model.ch_mult ()`,
      2,
      'model.ch_mult: expected a list of 1 to 15 whole numbers from 1 to 256; got []',
    ],
    [`${train} --config.optim.beta1 1`, 2, 'optim.beta1: expected a number from 0 to below 1; got 1'],
    [`${train} --config.training.time_steepness 100`, 2, 'expected a number above 0, below 80; got 100'],
    [`${train} --config.training.continuous`, 2, 'training.continuous: expected false; got true'],
    [`${train} --config.model.ch_mult 1,2,4,8,16`, 2, /^data\.image_size 8 cannot be halved 4 times, once per level$/],
    [`${train} --config.model.fir --config.model.fir_kernel 1,-1`, 2, /^model\.fir_kernel must have a finite sum/],
    [`${train} --config.model.num_scales 1`, 2, 'model.num_scales'],
    [`${sample} --out a.png --sampler Euler`, 2, 'got "Euler"; did you mean euler?'],
    [`${sample} --out a.png --num many`, 2, '--num expects a whole number from 1 to 2147483647, got "many"'],
    [`report --workdir ${run} --budget -1`, 2, '--budget expects a number above 0, got "-1"'],
    [
      `serve --checkpoint ${checkpoint} --timeout 1e6`,
      2,
      '--timeout expects a number above 0, at most 86400, got "1e6"',
    ],
    [`serve --checkpoint ${checkpoint} --host 'a b'`, 2, '--host expects a name or an address, got "a b"'],
    [`classifier --config digits --out ${at('c.pth')}`, 2, '--out expects a file name ending in .safetensors, got '],
    [`stats --config digits --out ${at('s.txt')}`, 2, '--out expects a file name ending in .npz, got '],
    ['train digits', 2, 'unexpected argument "digits"; did you mean --config digits?'],
    ["inspect ''", 2, 'an argument of inspect is empty'],
    ["pairs ''", 2, 'an argument of pairs is empty'],
    ["convert '' ''", 2, 'an argument of convert is empty'],
    ["config show ''", 2, 'an argument of config is empty'],
    [`${train} ''`, 2, 'an argument of train is empty'],
    ["''", 2, 'unknown command ""'],
  ])('%s', refused);
});

describe('a path that is missing or of the wrong kind is', () => {
  it.each<[line: string, status: number, message: string | RegExp]>([
    [`train --config Digits --workdir ${at('new')}`, 2, 'unknown configuration "Digits"; did you mean "digits"?'],
    [
      `train --config digits.json --workdir ${at('new')}`,
      2,
      'digits.json: no such file; did you mean the configuration "digits"?',
    ],
    [
      `train --config ディジット --workdir ${at('new')}`,
      2,
      /^unknown configuration "ディジット"; expected one of afhq_cat2wild, base, /,
    ],
    [
      `train --config ${run} --workdir ${at('new')}`,
      2,
      /run is a folder; name a file in it, such as \S+run\/config\.json$/,
    ],
    [
      `train --config ${at('file.txt')} --workdir ${at('new')}`,
      2,
      'a configuration is a .json, .ts or .js file, got "file.txt"',
    ],
    [
      `train --config digits --workdir ${at('file.txt')}`,
      1,
      'file.txt: cannot make the folder (EEXIST): something else has that name',
    ],
    [
      `train --config digits --workdir ${at('file.txt/w')}`,
      1,
      'cannot make the folder (ENOTDIR): a part of the path is a file',
    ],
    [from('FOLDER', at('nope')), 1, /nope: no such folder; check the path$/],
    [from('FOLDER', at('nope/deep')), 1, /nope\/deep: no such folder: \S+nope does not exist$/],
    [from('FOLDER', at('file.txt')), 1, /file\.txt: is a file, not a folder$/],
    [from('MNIST', at('nope')), 1, /nope: there is no such folder; /],
    [`${from('LSUN', at('nope'))} --config.data.category bedroom`, 1, /nope: no such folder; check the path$/],
    [from('CelebA-HQ-Pytorch', at('nope')), 1, /nope: no such folder; check the path$/],
    [from('AFHQ-CAT-Pytorch', at('nope')), 1, /nope\/cat: no such folder: \S+nope does not exist$/],
    [`report --workdir ${at('file.txt')}`, 1, /file\.txt: is a file, not a folder$/],
    [`compare ${at('file.txt')}`, 1, /file\.txt: is a file, not a folder$/],
    [`figure ${at('file.txt')} --kind loss --out a.svg`, 1, /file\.txt: is a file, not a folder$/],
    [`figure ${at('nope')} --kind loss --out a.svg`, 1, /nope: no such folder; check the path$/],
    [`report --workdir ${folder}`, 1, 'holds neither chain.json nor config.json'],
    [
      `eval --config digits --workdir ${at('nope')} --config.eval.enable_loss`,
      1,
      /nope\/checkpoints: no such folder: \S+nope does not exist$/,
    ],
    [`pairs ${at('nope')}`, 1, /nope: no such folder; check the path$/],
    [`pairs ${at('file.txt')}`, 1, /file\.txt: is a file, not a folder$/],
    [`config show ${at('nope')}`, 2, /^unknown configuration /],
    [`inspect ${at('nope')}`, 1, /nope: no such file$/],
    [`convert ${checkpoint} ${at('nope/a.pth')}`, 1, /nope\/a\.pth: no such file or folder: \S+nope does not exist$/],
    [
      `sample --checkpoint ${run}/config.json --out a.png`,
      2,
      /config\.json is not a checkpoint of rectiflow, .* add --config NAME$/,
    ],
    [`${sample} --out ${at('a.png')} --latents ${run}`, 1, /run: is a folder, not a regular file$/],
    [`quickstart --out ${at('file.txt')}`, 1, 'cannot make the folder (EEXIST): something else has that name'],
  ])('%s', refused);
});
