// Training on a card of sm_90a, emulated, one of whose convolution tiles gives wrong sums: the first use finds it, says so once, and
// the portable kernels serve in its place, with their bits.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { loadCompanions } from '../../../src/device/companions.ts';
import { CudaDevice } from '../../../src/device/cuda/device.ts';
import { surveyCuda } from '../../../src/device/cuda/survey.ts';
import { declaredModules } from '../../../src/device/module.ts';
import { hopperBuilds } from '../../../src/kernels/conv/hopper.ts';
import { train } from '../../../src/run/index.ts';
import { configWith } from '../../support/config.ts';
import { deviceNames, full } from '../../support/devices.ts';
import { fakeCuda } from '../../support/fakecuda.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-wrong-tile-'));
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const { module } = hopperBuilds.find(({ name }) => name === '128x64') as (typeof hopperBuilds)[number];

/** The kernels with the last 16 terms of each step left out. */
function plant(): string {
  const copy = join(folder, 'kernels');
  const kernels = fileURLToPath(new URL('../../../src/kernels', import.meta.url));
  cpSync(kernels, copy, { recursive: true, filter: (path) => !/\.(ts|c|h)$/.test(path) });
  const file = join(copy, 'conv/hopper_ring.cuh');
  const text = readFileSync(file, 'utf8');
  const line = 'part < STEP / 16; part++';
  expect(text).toContain(line);
  writeFileSync(file, text.replaceAll(line, 'part < STEP / 16 - 1; part++'));
  return pathToFileURL(join(copy, 'conv/hopper.cu')).href;
}

/** The notices of one step of training, and the tensors that it saved. */
async function run(name: string, device: CudaDevice): Promise<{ notices: string[]; saved: Buffer }> {
  // Compiling everything ahead would take minutes here; each build is checked at its first launch instead.
  vi.spyOn(device, 'prepare').mockResolvedValue();
  const config = await configWith('digits', {
    ...{ 'model.nf': 64, 'model.ch_mult': [1], 'model.attn_resolutions': [], 'training.batch_size': 1 },
    ...{ 'training.n_iters': 1, 'training.snapshot_sampling': false },
  });
  const notices: string[] = [];
  const workdir = join(folder, name);
  await train(config, { workdir, device, onNotice: (text) => notices.push(text) });
  const states = readdirSync(join(workdir, 'checkpoints')).filter((file) => file.endsWith('.safetensors'));
  const file = readFileSync(join(workdir, 'checkpoints', states.sort().at(-1) as string));
  // Without the header, which holds times and names.
  return { notices, saved: file.subarray(8 + Number(file.readBigUInt64LE(0))) };
}

it.runIf(deviceNames.includes('cuda-emulated'))(
  'says once that a wrong tile is not used, and gives the bits of the portable kernels',
  async () => {
    Object.assign(process.env, fakeCuda());
    await loadCompanions('cuda');
    vi.stubEnv('RECTIFLOW_CACHE', join(folder, 'cache'));
    Object.assign(module, { url: new URL(plant()) });
    vi.stubEnv('RECTIFLOW_VERIFY', '1');
    const device = new CudaDevice(0, { precision: 'bf16' });
    // The checks of the other builds take half a minute on the emulated card.
    const verdicts = Reflect.get(device.fastBuilds, 'verdicts') as Map<unknown, object>;
    if (!full) for (const build of declaredModules()) if (build !== module) verdicts.set(build, {});
    const checked = await run('checked', device);
    expect(checked.notices.filter((text) => /not used/.test(text))).toEqual([
      expect.stringMatching(
        /^the kernels conv\/hopper\.128x64 are not used on cuda:0 \(Emulated card 0\): .* differs from the portable kernels, by/,
      ),
    ]);
    const [{ works, text }] = surveyCuda().kernels;
    expect(works).toBe(false);
    expect(text).toMatch(/; not used: conv\/hopper\.128x64 \([^)]* differs from the portable kernels/);

    // The same with the tile left out by hand and, in a full test, with its wrong sums.
    vi.stubEnv('RECTIFLOW_VERIFY', '0');
    const without = new CudaDevice(0, { precision: 'bf16' });
    const { fastBuilds } = without;
    const choose = fastBuilds.choose.bind(fastBuilds);
    let left = 0;
    vi.spyOn(fastBuilds, 'choose').mockImplementation((builds, usual) => {
      if (usual.module !== module) return choose(builds, usual);
      left++;
      return undefined;
    });
    const portable = await run('portable', without);
    expect(left).toBeGreaterThan(0);
    expect(checked.saved.equals(portable.saved)).toBe(true);
    if (!full) return;
    const wrong = await run('wrong', new CudaDevice(0, { precision: 'bf16' }));
    expect(wrong.saved.equals(portable.saved)).toBe(false);
  },
  300_000,
);
