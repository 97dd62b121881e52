// Every option of every command has an effect that is tested here, or is refused. The same holds for each configuration
// key of commands that read only some keys.
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { type Command, commandHelp, parseArguments } from '../../src/cli/arguments.ts';
import { summaries } from '../../src/cli/summaries.ts';
import { readNpy, readNpz, writeNpy } from '../../src/io/index.ts';
import { commands } from '../support/commands.ts';
import { pipelineShapes, writePipeline } from '../support/instaflow.ts';
import { estimatedTextRows, type Rows, servedTextRows, textRows } from '../support/text_options.ts';
import { toyRows } from '../support/toy_options.ts';
import { transferRows } from '../support/transfer_options.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-options-'));
const at = (name: string) => join(folder, name);

/** Runs a command line in this process. @returns its output, with the error at the end */
async function rectiflow(line: string): Promise<string> {
  const [name, ...words] = line.trim().split(/\s+/);
  const command = commands.find((one) => one.name === name) as Command;
  let said = '';
  const write = (text: string | Uint8Array) => {
    said += text;
    return true;
  };
  const streams = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, 'write').mockImplementation(write as typeof stream.write),
  );
  try {
    const parsed = parseArguments(command, words);
    if (!parsed) return commandHelp(command);
    await command.run(parsed);
  } catch (error) {
    said += `${(error as Error).name}: ${(error as Error).message}`;
  } finally {
    for (const stream of streams) stream.mockRestore();
  }
  return said;
}

const tiny =
  '--config digits --config.model.nf 8 --config.training.batch_size 16 --config.training.snapshot_sampling false';
const wider = tiny.replace('nf 8', 'nf 16');
const run = at('run');
const checkpoint = join(run, 'checkpoints/checkpoint_0.safetensors');
const sample = `sample --checkpoint ${checkpoint} --num 2`;
const euler = `${sample} --sampler euler`;
/** An address reserved for documentation, which no machine has. */
const elsewhere = `serve --checkpoint ${checkpoint} --host 192.0.2.1`;
const pairsOf = (config: string, root: string) =>
  `reflow ${config} --workdir ${at('any')} --config.reflow.reflow_type generate_data_from_z0 --config.reflow.last_flow_ckpt ${checkpoint}
   --config.reflow.data_root ${root} --config.reflow.total_number_of_samples 4 --config.sampling.use_ode_sampler euler --config.sampling.sample_N 2`;
const bold = tiny.replace('digits', 'digits_bold');
const moved = at('bold/checkpoints/checkpoint_0.safetensors');
const judged = `eval ${tiny} --workdir ${run} --config.eval.enable_loss --config.eval.max_images 16`;
const model = at('instaflow');
const text = `text --model ${model} cat --size 64`;
/** A folder that cannot be written. */
const nowhere = at('file/x');

beforeAll(async () => {
  writeFileSync(at('file'), '');
  expect(await rectiflow(`train ${tiny} --workdir ${run} --config.training.n_iters 2`)).toContain('done after 3 steps');
  expect(await rectiflow(`train ${bold} --workdir ${at('bold')} --config.training.n_iters 0`)).toContain(
    'done after 1 steps',
  );
  expect(await rectiflow(pairsOf(tiny, at('pairs')))).toContain('4 pairs in');
  await writePipeline(model, pipelineShapes().shapes);
  await writeNpy(at('z0.npy'), { shape: [2, 1, 8, 8], dtype: 'f32', data: new Float32Array(128) });
  expect(await rectiflow(`convert ${checkpoint} ${at('c.pth')}`)).toContain('in the format of the official code');
  expect(await rectiflow(`convert ${at('c.pth')} ${at('tree.safetensors')}`)).toContain(
    'with the tensor names of the official code',
  );
}, 120_000);

it('each command has one summary, for the list of commands and for its own help', () => {
  expect(commands.map(({ name }) => name).sort()).toEqual(Object.keys(summaries).sort());
  for (const command of commands) {
    const [title] = commandHelp(command).split('\n');
    expect(title).toMatch(/^rectiflow [a-z]+(?: [[\]A-Z.]+)* - /);
    expect(title.endsWith(` - ${summaries[command.name]}`)).toBe(true);
    // The list of commands fits a terminal of 90 columns.
    expect(summaries[command.name].length).toBeLessThan(78);
  }
});

const device = (line: string): Rows => ({
  device: [`${line} --device tpu`, /--device expects cpu, wasm, cuda or cuda:N, got "tpu"/],
  threads: [`${line} --threads 0`, /--threads expects a whole number/],
});
const official = (name: string, line = `${name} ${tiny} --workdir w`): Rows => ({
  config: [`${name} --workdir w`, /--config is required/],
  workdir: [`${name} ${tiny}`, /--workdir is required/],
  eval_folder: [`${line} --dry-run --eval_folder other`, /"folder": "other"/],
  'dry-run': [`${line} --dry-run`, /\nwould /],
});

const newFolders = (name: string): Rows => ({
  workdir: [`${name} ${tiny} --workdir w --name x --dry-run`, /--workdir and --name name two folders; give one/],
  name: [`${name} ${tiny} --name a/b --dry-run`, /--name expects the name of a folder in runs/],
});

const rows: Record<string, Rows> = {
  train: { ...official('train'), ...newFolders('train'), ...device(`train ${tiny} --workdir w`) },
  reflow: {
    ...official('reflow'),
    ...newFolders('reflow'),
    ...device(pairsOf(tiny, at('none'))),
    partial: [`${pairsOf(wider, at('partial'))} --partial`, /fits only in part/],
  },
  eval: {
    ...official('eval', judged),
    ...device(judged),
    checkpoint: [`${judged} --checkpoint ${at('none')}`, /none: no such file/],
    partial: [
      `eval ${wider} --workdir ${run} --config.eval.enable_loss --config.eval.max_images 16 --partial --checkpoint ${checkpoint}`,
      /fits only in part/,
    ],
    watch: [`${judged} --config.eval.end_ckpt 0 --config.eval.begin_ckpt 0 --watch`, /loss .* over 16 images/],
    'watch-timeout': [
      `${judged} --config.eval.end_ckpt 9 --config.eval.begin_ckpt 9 --watch --watch-timeout 0.001`,
      /no snapshot from 9 to 9 appeared/,
    ],
  },
  sample: {
    checkpoint: [`sample --out x.png`, /--checkpoint is required/],
    best: [`${sample} --best --out x.png`, /--best needs the folder of a run as --checkpoint/],
    columns: [`${sample} --columns 2 --out x.npy`, /columns has an effect only on a grid, a \.png; got "x\.npy"/],
    scale: [`${sample} --scale 100 --out x.png`, /--scale expects a whole number from 1 to 64/],
    labels: [`${sample} --labels --out x.npz`, /labels has an effect only on a grid/],
    out: [sample, /--out is required/],
    config: [
      `sample --checkpoint ${at('c.pth')} ${wider.replace(/--config\.training.*/, '')} --out ${at('x.npy')}`,
      /does not fit/,
    ],
    partial: [
      `sample --checkpoint ${at('c.pth')} ${wider.replace(/--config\.training.*/, '')} --out ${at('x.npy')} --num 1 --steps 1 --sampler euler --partial`,
      /fits only in part/,
    ],
    num: [`${euler} --steps 1 --out ${at('x.npy')}`, /2 images in/],
    batch: [`${euler} --steps 1 --out ${at('x.npy')} --batch 0`, /--batch expects/],
    sampler: [`${sample} --sampler heun --steps 3 --out ${at('x.npy')}`, /^NFE 6 /m],
    steps: [`${euler} --steps 3 --out ${at('x.npy')}`, /^NFE 3 /m],
    tol: [`${sample} --sampler rk45 --tol 100 --out ${at('x.npy')}`, /^NFE 8 /m],
    prompt: [
      `${sample} --prompt four --out ${at('x.npy')}`,
      /--prompt needs a network with captions; .* has model\.name ncsnpp/,
    ],
    guidance: [`${sample} --guidance 2 --out ${at('x.npy')}`, /--guidance needs a network with captions/],
    seed: [`${euler} --steps 1 --seed -1 --out ${at('x.npy')}`, /--seed expects/],
    latents: [`${sample} --latents ${at('none.npy')} --out ${at('x.npy')}`, /none\.npy: no such file/],
    ...device(`${euler} --steps 1 --out ${at('x.npy')}`),
  },
  transfer: { ...transferRows(at, moved), ...device(`transfer --checkpoint ${moved} --input 2 --out ${at('x.npy')}`) },
  text: { ...textRows(at, model), ...device(`${text} --out ${at('x.png')}`) },
  serve: {
    checkpoint: ['serve', /give --checkpoint FILE for samples, or --model DIR for pictures of texts/],
    ...servedTextRows(at, model, elsewhere),
    config: [`serve --checkpoint ${at('c.pth')} ${wider.replace(/--config\.training.*/, '')} --port 0`, /does not fit/],
    partial: [`${elsewhere} --port 0 --partial`, /this machine does not have that address/],
    host: [`${elsewhere} --port 0`, /cannot listen on 192\.0\.2\.1:0: this machine does not have that address/],
    port: [`${elsewhere} --port 70000`, /--port expects a whole number from 0 to 65535, got "70000"/],
    queue: [`${elsewhere} --queue 0`, /--queue expects a whole number from 1 to \d+, got "0"/],
    timeout: [`${elsewhere} --timeout 1e6`, /--timeout expects a number above 0, at most 86400, got "1e6"/],
    ...device(elsewhere),
  },
  playground: {
    port: ['playground --port 70000', /--port expects a whole number from 0 to 65535, got "70000"/],
    open: ['playground --open=yes', /--open takes no value, got "yes"/],
  },
  chain: {
    ...official('chain', `chain ${tiny} --workdir w --config.training.n_iters 2`),
    ...device(`chain ${tiny} --workdir w`),
    // pty.test.ts opens a page.
    open: [`chain ${tiny} --workdir w --open=yes`, /--open takes no value, got "yes"/],
    price: [`chain ${tiny} --workdir w --dry-run --price 2`, / cost\n/],
  },
  estimate: {
    config: ['estimate', /give --config NAME for a chain, or --model DIR for pictures of texts/],
    price: [`estimate ${tiny} --price 2`, / cost\n/],
    ...estimatedTextRows(model, tiny),
    ...device(`estimate ${tiny}`),
    threads: [`estimate ${tiny} --threads 1`, /^on 1 thread;/m],
  },
  quickstart: {
    open: ['quickstart --open=yes', /--open takes no value, got "yes"/],
    out: [`quickstart --out ${nowhere}`, /x: cannot make the folder/],
    ...device(`quickstart --out ${nowhere}`),
  },
  report: {
    workdir: ['report', /--workdir is required/],
    open: [`report --workdir ${run} --open=yes`, /--open takes no value, got "yes"/],
    budget: [
      `report --workdir ${run} --config.eval.features pixels --config.eval.num_samples 1000000 --budget 0.001`,
      /1000000 samples with each of 6 samplers take about .*, but the budget is 0\.001 min; lower eval\.num_samples/,
    ],
    price: [`report --workdir ${run} --price 0`, /--price expects/],
    ...device(`report --workdir ${run}`),
  },
  runs: { json: [`runs ${nowhere} --json`, /no such folder/] },
  compare: {
    out: [`compare ${nowhere} --out x.txt`, /--out expects a file name ending in \.html/],
    csv: [`compare ${nowhere} --csv --out ${at('x.html')}`, /a part of the path is a file, not a folder/],
  },
  figure: {
    kind: ['figure r --out x.svg', /--kind is required/],
    out: ['figure r --kind loss', /--out is required/],
    width: ['figure r --kind loss --out x.svg --width 84', /--width expects a length/],
    height: ['figure r --kind loss --out x.svg --height 1km', /--height expects a length/],
    'font-size': ['figure r --kind loss --out x.svg --font-size 100', /--font-size expects 4 to 72 points/],
    columns: ['figure r --kind grid --out x.svg --columns 0', /--columns expects a whole number from 1 to 100/],
  },
  stats: {
    config: ['stats', /--config is required/],
    out: [
      `stats --config digits --config.eval.features pixels --out ${at('stats.npz')}`,
      /images written to .*stats\.npz/,
    ],
    ...device('stats --config digits'),
  },
  classifier: {
    config: [`classifier --out ${at('c.safetensors')}`, /--config is required/],
    out: ['classifier --config digits', /--out is required/],
    steps: [`classifier --config digits --out ${at('c.safetensors')} --steps 2`, /, 2 steps:/],
    'held-out': [
      `classifier --config digits --out ${at('c.safetensors')} --steps 2 --held-out`,
      /% accuracy on training images, 10 classes, 2 steps:.*\n.*eval\.reader/,
    ],
    'dry-run': [`classifier --config digits --out c.safetensors --dry-run`, /would train a classifier on DIGITS/],
    ...device(`classifier --config digits --out ${at('c.safetensors')}`),
  },
  pairs: {
    config: [`pairs ${at('pairs')} --config digits --config.data.image_size 16`, /BROKEN/],
    data: [`pairs ${at('pairs')} --config digits --data`, /the data: mean/],
    limit: [`pairs ${at('pairs')} --limit 3`, /pairs 3\/3/],
    json: [`pairs ${at('pairs')} --json`, /^\{\n {2}"root"/m],
  },
  config: {
    changed: ['config show digits --changed', /^optim\.lr +0\.002 +0\.0002$/m],
    json: ['config show digits --json', /^\{\n {2}"seed": 42/],
  },
  convert: {
    config: [`convert ${at('c.pth')} ${at('d.safetensors')} ${tiny}`, /a rectiflow checkpoint/],
    partial: [`convert ${at('c.pth')} ${at('d.safetensors')} ${wider} --partial`, /fits only in part/],
  },
  inspect: {
    config: [`inspect ${tiny.replace(/--config\.training.*/, '')}`, /parameters/],
    json: ['inspect --config digits --json', /"parameters": /],
    variant: [`inspect ${model} --variant fp16`, /has no weights of the variant "fp16"/],
  },
  toy: { ...toyRows(at('t.json')), ...device('toy') },
  tune: {
    out: ['tune', /--out is required/],
    turns: [`tune --out ${at('t.json')} --turns 0`, /--turns expects/],
    ...device(`tune --out ${at('t.json')}`),
  },
  doctor: {
    bundle: [`doctor --bundle ${at('doctor.txt')}`, /^report: .*doctor\.txt; please read it before you send it$/m],
    workdir: [`doctor --workdir ${run}`, /--workdir requires --bundle/],
  },
};

it('the table lists all commands and all their options', () => {
  const options = commands.map(({ name, options: own }) => [name, Object.keys(own).sort()]);
  expect(Object.entries(rows).map(([name, row]) => [name, Object.keys(row).sort()])).toEqual(options);
});

describe.each(Object.entries(rows))('%s', (_, own) => {
  it.each(Object.entries(own))(
    '--%s',
    async (_option, [line, says]) => {
      expect(await rectiflow(line)).toMatch(says);
    },
    60_000,
  );
});

describe('refuses options that would have no effect', () => {
  it.each<[string, RegExp | string]>([
    [
      `report --workdir ${run} --config.optim.lr 1`,
      /UsageError: --config\.optim\.lr has no effect on report, which reads seed, /,
    ],
    [`report --workdir ${run} --config.model.nf 16`, /--config\.model\.nf has no effect on report/],
    [`report --workdir ${run} --config.eval.num_sample 16`, /unknown key .*did you mean eval\.num_samples\?/],
    [`report --workdir ${run} --config.optim.lrr 1`, /unknown key optim\.lrr; did you mean optim\.lr\?/],
    [
      `${sample} --out x.png --config.training.batch_size 4`,
      /has no effect on sample, which reads .*model\.\*, sampling\.\*/,
    ],
    [`${sample} --out x.png --noconfig.eval.enable_loss`, /--config\.eval\.enable_loss has no effect on sample/],
    ['inspect --config digits --config.seed 3', /--config\.seed has no effect on inspect/],
    [`inspect ${checkpoint} --config.model.nf 16`, /--config\.KEY requires --config CONFIG/],
    [`convert ${at('c.pth')} ${at('x.safetensors')} --config.model.nf 16`, /--config\.KEY requires --config CONFIG/],
    [`convert ${at('c.pth')} ${at('x.safetensors')} --partial`, /--partial requires --config CONFIG/],
    [`convert ${checkpoint} ${at('x.pth')} ${tiny} --partial`, /partial has no effect when converting to \.pth/],
    [
      `convert ${at('tree.safetensors')} ${at('x.pth')} ${tiny}`,
      /a configuration has no effect on .*tree\.safetensors/,
    ],
    ['classifier --config digits --out x.safetensors --config.optim.lr 1', /has no effect on classifier/],
    ['stats --config digits --config.seed 1', /--config\.seed has no effect on stats/],
    [`pairs ${at('pairs')} --config digits --config.optim.lr 1`, /has no effect on pairs/],
    [`pairs ${at('pairs')} --config.data.image_size 16`, /--data and --config\.KEY require --config CONFIG/],
    ['tune --out x.json --config.seed 1', /tune has no option --config\.seed/],
    ['doctor --json', /doctor has no option --json/],
    [`chain ${tiny} --workdir w --price 2`, /--price requires --dry-run/],
    [`${sample} --out x.npy --sampler rk45 --steps 3`, /--steps has no effect with the sampler rk45; give --tol/],
    [`${elsewhere} --port NaN`, /--port expects a whole number from 0 to 65535, got "NaN"/],
    [`serve --model ${model} --partial`, /--partial has no effect with --model/],
    [`serve --model ${model} --checkpoint x`, /give --checkpoint FILE for samples, or --model DIR/],
    [`serve --model ${model} --config.seed 3`, /--config\.KEY has no effect with --model/],
    [`${elsewhere} --port -1`, /--port expects a whole number from 0 to 65535, got "-1"/],
    [`${elsewhere} --config.training.batch_size 4`, /--config\.training\.batch_size has no effect on serve/],
    [`${euler} --out x.npy --tol 1`, /--tol has no effect with the sampler euler; give --steps/],
    [`${euler} --out x.npy --latents ${at('z0.npy')} --seed 1`, /--seed has no effect with --latents/],
    [
      `${euler} --out x.npy --steps 2 --config.sampling.sample_N 3`,
      /--steps and --config\.sampling\.sample_N set the same key/,
    ],
    [`${euler} --out x.npy --seed 2 --config.seed 3`, /--seed and --config\.seed set the same key/],
    [`train ${tiny} --workdir w --device cpu --config.device wasm`, /--device and --config\.device set the same key/],
    [
      `train ${tiny} --workdir w --eval_folder a --config.eval.folder b`,
      /--eval_folder and --config\.eval\.folder set the same key/,
    ],
    [
      `${judged} --checkpoint ${checkpoint} --config.eval.end_ckpt 3`,
      /--config\.eval\.end_ckpt has no effect with --checkpoint/,
    ],
    [`${judged} --checkpoint ${checkpoint} --watch`, /--watch evaluates the snapshots/],
    [`${judged} --watch-timeout 3`, /--watch-timeout requires --watch/],
  ])('%s', async (line, says) => {
    const said = await rectiflow(line);
    expect(said).toMatch(says);
    expect(said).toContain('UsageError: ');
  });
});

describe('notes keys that have no effect with other keys', () => {
  const plan = `train ${tiny} --workdir w --dry-run`;
  it.each<[string, string[]]>([
    [
      `${plan} --config.sampling.use_ode_sampler euler --config.sampling.ode_tol 1`,
      ['sampling.ode_tol has no effect with sampling.use_ode_sampler euler'],
    ],
    [
      `${plan} --config.sampling.use_ode_sampler rk45 --config.sampling.sample_N 5`,
      ['sampling.sample_N has no effect with sampling.use_ode_sampler rk45'],
    ],
    [
      `${plan} --config.sampling.use_ode_sampler heun --config.sampling.sigma_variance 1`,
      ['sampling.sigma_variance has no effect with sampling.use_ode_sampler heun'],
    ],
    [`${plan} --config.sampling.sde_drift legacy`, ['sampling.sde_drift has no effect with sampling.sigma_variance 0']],
    [`${plan} --config.training.time_mean 1`, ['training.time_mean has no effect with training.time_law uniform']],
    [`${plan} --config.training.time_law logit_normal --config.training.time_mean 1`, []],
    [`${plan} --config.source.change bold`, ['source.change has no effect with sampling.init_type gaussian']],
    [`${plan} --config.reflow.vgg16 x.pth`, ['reflow.vgg16 has no effect with reflow.reflow_loss l2']],
    [
      `${plan} --config.chain.pair_sampler rk45 --config.chain.pair_steps 3`,
      ['chain.pair_steps has no effect with chain.pair_sampler rk45'],
    ],
    [`estimate ${tiny} --config.sampling.use_ode_sampler euler --config.sampling.ode_tol 1`, []],
    [
      `${euler} --steps 1 --out ${at('x.npy')} --config.sampling.snr 1`,
      ['sampling.snr has no effect, as in the official code'],
    ],
    [`quickstart --out ${nowhere} --config.sampling.snr 1`, ['sampling.snr has no effect, as in the official code']],
  ])(
    '%s',
    async (line, notes) => {
      const said = await rectiflow(line);
      expect([...said.matchAll(/^note: (.* no effect.*)$/gm)].map(([, text]) => text)).toEqual(notes);
    },
    60_000,
  );
});

describe('reports before any work that its results cannot be written', () => {
  it.each([
    `${euler} --steps 1 --out ${at('none')}/x.npy`,
    `${euler} --steps 1 --out ${nowhere}.png`,
    `classifier --config digits --steps 1000000 --out ${nowhere}.safetensors`,
    `stats --config digits --config.eval.features pixels --out ${nowhere}.npz`,
    `tune --out ${at('none')}/x.json`,
  ])('%s', async (line) => {
    expect(await rectiflow(line)).toMatch(
      /FileError: .*(no such file or folder|a file, not a folder|cannot make the folder)/,
    );
  });
});

describe('samples that are not finite', () => {
  it('are counted in an error, or left out and counted with sampling.not_finite', async () => {
    const z0 = new Float32Array(4 * 64).fill(0.5);
    z0[64] = 3e38;
    z0[65] = -3e38;
    await writeNpy(at('large.npy'), { shape: [4, 1, 8, 8], dtype: 'f32', data: z0 });
    const large = `${sample.replace('--num 2', '')} --sampler euler --steps 2 --latents ${at('large.npy')} --out ${at('some.npy')}`;
    expect(await rectiflow(large)).toMatch(/NonFiniteError: 1 of 4 samples are not finite/);
    const said = await rectiflow(`${large} --config.sampling.not_finite leave_out`);
    expect(said).toContain('note: 1 of 4 samples are not finite and were left out');
    expect(said).toContain('3 images in');
    expect((await readNpy(at('some.npy'))).shape).toEqual([3, 1, 8, 8]);
    await writeNpy(at('large.npy'), { shape: [4, 1, 8, 8], dtype: 'f32', data: new Float32Array(4 * 64).fill(3e38) });
    expect(await rectiflow(`${large} --config.sampling.not_finite leave_out`)).toMatch(/4 of 4 samples are not finite/);
  }, 60_000);
});

describe('report', () => {
  it('draws the requested number of samples with the requested seed into the requested folder', async () => {
    const keys = { num_samples: 16, batch_size: 10, straightness_samples: 2, features: 'pixels', folder: 'other' };
    const overrides = Object.entries(keys).map(([key, value]) => `--config.eval.${key} ${value}`);
    const said = await rectiflow(
      `report --workdir ${run} ${overrides.join(' ')} --config.seed 7 --config.sampling.ode_tol 0.1`,
    );
    expect(said).toContain('Frechet distance of 16 samples (pixels)');
    expect(JSON.parse(readFileSync(join(run, 'report.json'), 'utf8'))).toMatchObject({ samples: 16, seed: 8 });
    const drawn = join(run, 'other/ckpt_0');
    for (const name of ['euler-1-8', 'rk45-0.1-8']) {
      const counts = [0, 1].map(
        async (i) => (await readNpz(join(drawn, name, `samples_${i}.npz`))).get('samples')?.shape[0],
      );
      expect(await Promise.all(counts), name).toEqual([10, 6]);
    }
  }, 120_000);
});

it('sample uses its seed and the sampler of the configuration', async () => {
  const noise = async (more: string) => {
    await rectiflow(`${sample} --out ${at('s.npy')} ${more}`);
    return [...(await readNpy(at('s.npy'))).data].join();
  };
  const [one, other, again] = [
    await noise('--config.sampling.use_ode_sampler euler --steps 1 --seed 1'),
    await noise('--sampler euler --steps 1 --seed 2'),
    await noise('--sampler euler --config.sampling.sample_N 1 --config.seed 1'),
  ];
  expect(other).not.toBe(one);
  expect(again).toBe(one);
});
