// The command on the emulated card: it trains, resumes to bit-identical results, and samples the images of the CPU.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { readNpy } from '../../../src/io/index.ts';
import { largestOf } from '../../support/compare.ts';
import { deviceNames } from '../../support/devices.ts';
import { fakeCuda } from '../../support/fakecuda.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-run-cuda-'));
const bin = fileURLToPath(new URL('../../../bin/rectiflow.js', import.meta.url));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function rectiflow(...args: string[]): string {
  const env = { ...process.env, ...fakeCuda() };
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], {
    cwd: folder,
    encoding: 'utf8',
    env,
  });
  expect(stderr).not.toMatch(/rectiflow: /);
  expect(status).toBe(0);
  return stdout;
}

function train(workdir: string, steps: number): void {
  const values = {
    'model.nf': 8,
    'training.batch_size': 2,
    'training.n_iters': steps,
    'training.snapshot_sampling': false,
  };
  const small = Object.entries(values).map(([path, value]) => `--config.${path}=${value}`);
  rectiflow('train', '--config', 'digits', '--workdir', workdir, '--device', 'cuda', ...small);
}

/** The last checkpoint of a work directory. */
function checkpoint(workdir: string): string {
  const names = readdirSync(join(folder, workdir, 'checkpoints')).filter((name) => name.endsWith('.safetensors'));
  return join(workdir, 'checkpoints', names.sort().at(-1) as string);
}

/** The tensors of a file, without the header, which holds times and names. */
function weights(path: string): Buffer {
  const file = readFileSync(join(folder, path));
  return file.subarray(8 + Number(file.readBigUInt64LE(0)));
}

describe.runIf(deviceNames.includes('cuda-emulated'))('cuda-emulated', () => {
  it('resumes to bit-identical results after a stop', () => {
    train('straight', 3);
    // The fakes' card has 4 GiB.
    expect(readFileSync(join(folder, 'straight/stdout.txt'), 'utf8')).toMatch(/memory \d+ MB of 4\.3 GB/);
    train('stopped', 1);
    train('stopped', 3);
    expect(weights(checkpoint('stopped')).equals(weights(checkpoint('straight')))).toBe(true);
  }, 120_000);

  it('samples the images that the CPU samples from the same checkpoint', async () => {
    const samples = await Promise.all(
      ['cpu', 'cuda'].map(async (device) => {
        const file = `${device}.npy`;
        const sampler = ['--sampler', 'rk45', '--tol', '1e-3'];
        rectiflow(
          'sample',
          '--checkpoint',
          checkpoint('straight'),
          '--out',
          file,
          '--num',
          '2',
          '--device',
          device,
          ...sampler,
        );
        return (await readNpy(join(folder, file))).data as Float32Array;
      }),
    );
    const [cpu, card] = samples;
    expect(card).toHaveLength(128);
    expect(largestOf(cpu.map((value, i) => value - card[i]))).toBeLessThan(1e-4);
  }, 120_000);
});
