// Runs after training: run.json, new folders, the list of runs, the comparison, and figures with the report's numbers; and
// folders that are damaged or hostile.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { writeNpz } from '../../../src/io/index.ts';
import { compareRuns, listRuns, loadConfig } from '../../../src/run/index.ts';
import type { Drawing } from '../../../src/run/plot/index.ts';
import type { ReportFigures } from '../../../src/run/report/index.ts';
import { drawFigure } from '../../../src/run/runs/figure.ts';
import { folderName, namedFolder } from '../../../src/run/workdir/new_folder.ts';
import { readSessions } from '../../../src/run/workdir/record.ts';
import { configWith } from '../../support/config.ts';

const bin = fileURLToPath(new URL('../../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-runs-'));
const runs = join(folder, 'runs');

function cli(...words: string[]) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [bin, ...words], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { stdout, stderr, status };
}

const report: ReportFigures = {
  version: '0.1.0',
  revision: 'r',
  created: '2026-01-01',
  device: 'cpu',
  seed: 43,
  samples: 64,
  features: 'classifier x',
  heldOut: { images: 64, fd: 0.2 },
  stages: [
    {
      name: 'flow',
      checkpoint: 'checkpoints/checkpoint_1.safetensors',
      steps: 5,
      straightness: 0.14,
      straightness_steps: 100,
      fd: { 1: 26.123, 2: 3.5, 10: 0.43, rk45: 0.38 },
      nfe: 34,
    },
  ],
};

/** A run as training leaves it. */
async function makeRun(name: string, changes: Record<string, unknown> = {}, steps = 6) {
  const path = join(runs, name);
  mkdirSync(join(path, 'eval', 'ckpt_1'), { recursive: true });
  writeFileSync(
    join(path, 'config.json'),
    JSON.stringify(await configWith('digits', { 'training.n_iters': 5, ...changes })),
  );
  const lines = Array.from({ length: steps }, (_, step) =>
    JSON.stringify({
      step,
      loss: 1 / (step + 1),
      images_per_s: 10,
      ...(step % 2 === 0 && { eval_loss: 2 / (step + 1), straightness: 0.1 }),
    }),
  );
  writeFileSync(join(path, 'log.jsonl'), `${lines.join('\n')}\n`);
  return path;
}

let [a, b, c] = ['', '', ''];
beforeAll(async () => {
  a = await makeRun('a');
  b = await makeRun('b', { 'optim.lr': 0.004 });
  c = await makeRun('c', { 'optim.lr': 0.008, 'training.batch_size': 64 }, 3);
  writeFileSync(join(a, 'report.json'), JSON.stringify(report));
  writeFileSync(join(a, 'eval', 'best.json'), JSON.stringify({ checkpoint: 'x', step: 5, score: 'loss', value: 0.25 }));
  const shape = [12, 8, 8, 1];
  const data = Uint8Array.from({ length: 12 * 64 }, (_, i) => i % 256);
  for (const name of ['euler-1-43', 'euler-10-43', 'rk45-0.00001-43', 'euler-1-7']) {
    mkdirSync(join(a, 'eval', 'ckpt_1', name));
    await writeNpz(join(a, 'eval', 'ckpt_1', name, 'samples_0.npz'), { samples: { shape, dtype: 'u8', data } });
  }
  const paths = { shape: [3, 4, 8, 8, 1], dtype: 'u8' as const, data };
  await writeNpz(join(a, 'eval', 'ckpt_1', 'paths.npz'), { points: paths, ends: paths });
});

const textsOf = ({ shapes }: Drawing) => shapes.flatMap((shape) => (shape.kind === 'text' ? [shape.text] : []));
const hintsOf = ({ shapes }: Drawing) =>
  shapes.flatMap((shape) => (shape.kind === 'marker' && shape.hint ? [shape.hint] : []));

describe('the folder of a run', () => {
  it('is named by configuration and date, and numbered from the second of a day on', () => {
    const day = new Date(2026, 10, 9);
    expect(folderName('digits', day)).toBe('digits-2026-11-09');
    expect(folderName('configs/my digits.ts', day, 3)).toBe('my_digits-2026-11-09-3');
    expect(folderName('../..', day)).toBe('run-2026-11-09');
  });

  it.each(['..', 'a/b', '', '.hidden', 'x'.repeat(200), 'a\nb', 'end.'])('has no name such as %j', (name) => {
    expect(() => namedFolder(name)).toThrow('--name expects the name of a folder in runs');
  });

  it('train --config alone makes one, with run.json; a second run has another; --name resumes', async () => {
    const small = [
      '--config.model.nf',
      '4',
      '--config.model.ch_mult',
      '[1]',
      '--config.training.n_iters',
      '2',
      '--config.training.batch_size',
      '4',
      '--config.training.snapshot_sampling',
      'false',
    ];
    const first = cli('train', '--config', 'digits', ...small);
    expect(first).toMatchObject({ status: 0 });
    const made = /folder: (runs[\\/]digits-\d{4}-\d\d-\d\d)\n/.exec(first.stderr)?.[1] as string;
    expect(cli('train', '--config', 'digits', ...small).stderr).toContain(`folder: ${made}-2\n`);
    const [session] = await readSessions(join(folder, made));
    expect(session).toMatchObject({ config: 'digits', node: process.version, from: 0, steps: 3, end: 'done' });
    expect(session.command?.slice(0, 4)).toEqual(['rectiflow', 'train', '--config', 'digits']);
    expect(session.host).toMatch(/^\w+ \w+, \d+ x .+, \d+ GB$/);
    expect(cli('train', '--config', 'digits', '--name', 'mine', ...small).status).toBe(0);
    expect(cli('train', '--config', 'digits', '--name', 'mine', ...small).stderr).toContain('resuming from step 3');
    expect(await readSessions(join(runs, 'mine'))).toHaveLength(2);
    expect(cli('train', '--config', 'digits', '--name', 'x', '--workdir', 'y')).toMatchObject({ status: 2 });
    const broken = cli('train', '--config', 'cifar10_small', '--config.data.root_path', '/nowhere');
    expect(broken.status).toBe(1);
    expect(readdirSync(runs).filter((name) => name.startsWith('cifar10'))).toEqual([]);
  }, 120_000);
});

describe('runs', () => {
  it('lists state, steps, loss, score; a damaged run has a line, a symbolic link has none', async () => {
    const place = join(folder, 'listed');
    mkdirSync(join(place, 'damaged'), { recursive: true });
    writeFileSync(join(place, 'damaged', 'config.json'), '{"data":');
    mkdirSync(join(place, 'list'));
    writeFileSync(join(place, 'list', 'config.json'), '[]');
    symlinkSync(a, join(place, 'link'));
    mkdirSync(join(place, 'cut'));
    writeFileSync(join(place, 'cut', 'config.json'), JSON.stringify(await loadConfig('digits')));
    writeFileSync(join(place, 'cut', 'log.jsonl'), `${'x'.repeat(2 ** 17)}\n{"step":3,"loss":0.5}\n{"step":4,"lo`);
    const found = await listRuns(place);
    expect(found.map(({ name, state, steps, loss }) => [name, state, steps, loss])).toEqual([
      ['cut', 'stopped', 4, 0.5],
      ['damaged', 'damaged', undefined, undefined],
      ['list', 'damaged', undefined, undefined],
    ]);
    const [run] = await listRuns(a);
    expect(run).toMatchObject({ name: 'a', kind: 'run', state: 'done', steps: 6, total: 6, score: { value: 0.25 } });
    expect(run.bytes).toBeGreaterThan(1000);
    const { stdout, status } = cli('runs', place);
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /^run +state +config +steps +loss +best score +age +size\ncut +stopped +DIGITS +4\/501 +0\.5000/,
    );
    expect(cli('runs', 'nowhere')).toMatchObject({ status: 1, stderr: expect.stringContaining('no such folder') });
    expect(JSON.parse(cli('runs', place, '--json').stdout)).toHaveLength(3);
  });
});

describe('compare', () => {
  it('shows the changed keys only, losses, scores and times of three runs, and a table', async () => {
    const { stdout, status } = cli('compare', 'runs/a', 'runs/b', 'runs/c', '--csv');
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /changed key +a +b +c\noptim\.lr +0\.002 +0\.004 +0\.008\ntraining\.batch_size +128 +128 +64\npage: compare\.html\ntable: compare\.csv\n$/,
    );
    const html = readFileSync(join(folder, 'compare.html'), 'utf8');
    for (const text of ['Training loss', 'Loss of held-out images', 'optim.lr', '26.1', '3 of 6'])
      expect(html).toContain(text);
    expect(html).not.toContain('model.nf');
    const [header, first] = readFileSync(join(folder, 'compare.csv'), 'utf8')
      .split('\n')
      .map((line) => line.split(','));
    expect(Object.fromEntries(header.map((name, i) => [name, first[i]]))).toMatchObject({
      run: 'a',
      steps: '6',
      straightness: '0.14',
      fd_1: '26.123',
      fd_rk45: '0.38',
      'optim.lr': '0.002',
      'training.batch_size': '128',
    });
  });

  it('takes less than two seconds of processor time for three runs of a thousand steps', async () => {
    const long = await Promise.all([1, 2, 3].map((i) => makeRun(`long${i}`, { 'optim.lr': i / 1000 }, 1000)));
    const before = process.cpuUsage();
    await compareRuns(long, { out: join(folder, 'long.html'), csv: join(folder, 'long.csv') });
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1e6).toBeLessThan(2);
  });

  it('escapes what a file may contain, and reads no more than the files of a run', async () => {
    const evil = await makeRun('<img src=x onerror=alert(1)>');
    writeFileSync(join(evil, 'run.json'), '{"sessions":[{"command":["<script>"],"started":1}, 5]}');
    writeFileSync(
      join(evil, 'log.jsonl'),
      `{"step":0,"loss":1e308}\n{"step":1,"loss":null}\n{"step":2,"loss":"x"}\n[]\n{"st`,
    );
    await compareRuns([evil, b], { out: join(folder, 'evil.html') });
    const html = readFileSync(join(folder, 'evil.html'), 'utf8');
    expect(html).not.toContain('<img src=x');
    expect(html).not.toContain('<script>');
  });

  it.each([
    [[], 2, 'compare needs the folders of runs'],
    [['runs/nothing'], 1, 'no such folder'],
    [['.'], 1, 'holds neither config.json nor chain.json'],
    [['runs/a', '--out', '/nowhere/x.html'], 1, 'no such file or folder'],
    [['runs/a', '--out', 'x.txt'], 2, 'ending in .html'],
    [Array<string>(25).fill('runs/a'), 1, 'rectiflow: a page compares at most 24 runs, got 25\n'],
  ])('compare %j ends with %i: %s', (words, status, message) => {
    expect(cli('compare', ...words)).toMatchObject({ status, stderr: expect.stringContaining(message) });
  });
});

describe('figure', () => {
  it('nfe has the numbers of the report, with the reference of real images', async () => {
    const drawing = await drawFigure(a, { kind: 'nfe' });
    expect(hintsOf(drawing)).toEqual(['flow, 1: 26.12', 'flow, 2: 3.5', 'flow, 10: 0.43', 'flow, RK45: 0.38']);
    expect(textsOf(drawing)).toEqual(expect.arrayContaining(['real images', '1', '2', '10']));
    expect(drawing.width).toBeCloseTo(238.11, 2);
  });

  it('loss draws the log and the held-out loss', async () => {
    const drawing = await drawFigure(c, { kind: 'loss', width: 480 });
    expect(textsOf(drawing)).toEqual(expect.arrayContaining(['mean of 25 steps', 'held-out images']));
  });

  it('grid has a row for each sampler of the report, paths two for each path', async () => {
    const grid = await drawFigure(a, { kind: 'grid', columns: 5 });
    expect(textsOf(grid)).toEqual(['flow', '1 step', '10 steps', 'RK45']);
    expect(grid.shapes.filter(({ kind }) => kind === 'image')).toHaveLength(15);
    const paths = await drawFigure(a, { kind: 'paths' });
    expect(textsOf(paths).slice(0, 4)).toEqual(['flow', 't = 0', '0.5', '1']);
    expect(paths.shapes.filter(({ kind }) => kind === 'image')).toHaveLength(12);
  });

  it('paths of a report in the plane are plots with equal axes', async () => {
    const place = join(folder, 'plane');
    mkdirSync(place);
    const flow = {
      name: '1-rectified flow',
      points: [
        [0, 0, 1, 1],
        [1, 0, 1, 2],
      ],
    };
    writeFileSync(
      join(place, 'paths.json'),
      JSON.stringify({ flows: [flow, { ...flow, name: 'other' }], data: [0, 1] }),
    );
    const drawing = await drawFigure(place, { kind: 'paths' });
    expect(textsOf(drawing)).toEqual(['1-rectified flow', 'other']);
    for (const damaged of [
      '{}',
      '{"flows":[{"name":"a","points":[[1],[2]]}],"data":[]}',
      '{"flows":[null],"data":[]}',
    ]) {
      writeFileSync(join(place, 'paths.json'), damaged);
      await expect(drawFigure(place, { kind: 'paths' })).rejects.toThrow('does not hold the paths of a report');
    }
  });

  it.each(['svg', 'pdf', 'png'])('is written as %s', (ending) => {
    const out = `figure.${ending}`;
    expect(cli('figure', 'runs/a', '--kind', 'nfe', '--out', out, '--width', '84mm')).toMatchObject({ status: 0 });
    const bytes = readFileSync(join(folder, out));
    if (ending === 'svg') expect(bytes.toString()).toMatch(/width="238\.1pt"[\s\S]*>flow<\/text>|>real images<\/text>/);
    else expect(bytes.subarray(ending === 'pdf' ? 0 : 1, 4).toString()).toBe(ending === 'pdf' ? '%PDF' : 'PNG');
  });

  it('a PNG has 600 dots per inch, and says so', () => {
    expect(cli('figure', 'runs/a', '--kind', 'nfe', '--out', 'dots.png', '--width', '84mm')).toMatchObject({
      status: 0,
    });
    const bytes = readFileSync(join(folder, 'dots.png'));
    expect(bytes.readUInt32BE(16)).toBe(Math.round((84 / 25.4) * 600));
    // The chunk pHYs: dots per metre in both directions, and 1 for the unit.
    const at = bytes.indexOf('pHYs') + 4;
    expect([bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4), bytes[at + 8]]).toEqual([23622, 23622, 1]);
    const poster = cli('figure', 'runs/a', '--kind', 'nfe', '--out', 'poster.png', '--width', '100in');
    expect(poster).toMatchObject({ status: 2, stdout: '' });
    expect(poster.stderr).toMatch(/^rectiflow: a PNG of 60000 x \d+ dots is too large .*\n$/);
  });

  it('names the command that is missing as a shell reads it', async () => {
    const path = await makeRun("it's mine");
    await expect(drawFigure(path, { kind: 'nfe' })).rejects.toThrow(
      `write it first: rectiflow report --workdir '${path.replace("'", "'\\''")}'`,
    );
  });

  it.each([
    [['runs/a', '--kind', 'nfe', '--out', '/nowhere/x.svg'], 1, 'no such file or folder'],
    [['runs/a', '--kind', 'nfe', '--out', 'x.jpg'], 2, 'ending in .svg, .pdf, .png'],
    [['runs/a', '--kind', 'fid', '--out', 'x.svg'], 2, '--kind expects one of nfe, loss, grid, paths'],
    [['runs/a', '--kind', 'nfe', '--out', 'x.svg', '--width', '84'], 2, '--width expects a length such as 84mm'],
    [['runs/b', '--kind', 'nfe', '--out', 'x.svg'], 1, 'has no report.json; write it first'],
    [['runs/b', '--kind', 'grid', '--out', 'x.svg'], 1, 'has no samples of a report'],
    [['nowhere', '--kind', 'loss', '--out', 'x.svg'], 1, 'no such folder'],
  ])('figure %j ends with %i: %s', (words, status, message) => {
    expect(cli('figure', ...words)).toMatchObject({ status, stderr: expect.stringContaining(message) });
    expect(existsSync(join(folder, 'x.svg'))).toBe(false);
  });
});

describe('sample', () => {
  const checkpoint = join(runs, 'mine', 'checkpoints', 'checkpoint_0.safetensors');

  it('takes the newest snapshot of a run, or the best one, and says which', () => {
    const words = ['sample', '--checkpoint', 'runs/mine', '--num', '3', '--sampler', 'euler', '--steps', '1'];
    const grid = cli(...words, '--out', 'grid.png', '--columns', '3', '--scale', '4', '--labels');
    expect(grid).toMatchObject({ status: 0, stderr: expect.stringContaining('checkpoint_0.safetensors') });
    // Three images of 8 x 8 at scale 4, 2 pixels around them, and a number of 5 + 2 dots of 2 pixels above each.
    const png = readFileSync(join(folder, 'grid.png'));
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([3 * 34 + 2, 14 + 34 + 2]);
    expect(cli(...words, '--out', 'images/')).toMatchObject({ status: 0 });
    expect(readdirSync(join(folder, 'images')).sort()).toEqual(['00000.png', '00001.png', '00002.png']);
    expect(cli(...words, '--out', 'images/')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('holds images already'),
    });
    expect(cli(...words, '--out', 'x.png', '--best')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('evaluate the run first'),
    });
    mkdirSync(join(runs, 'mine', 'eval'), { recursive: true });
    const best = (path: string) =>
      writeFileSync(
        join(runs, 'mine', 'eval', 'best.json'),
        JSON.stringify({ checkpoint: path, step: 3, score: 's', value: 1 }),
      );
    best('checkpoints/checkpoint_0.safetensors');
    expect(cli(...words, '--out', 'x.png', '--best').stderr).toContain(checkpoint.slice(folder.length + 1));
    best('../../../etc/passwd');
    expect(cli(...words, '--out', 'x.png', '--best')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('outside of the run'),
    });
  }, 60_000);

  it('checks --out before the checkpoint is read', () => {
    const words = ['sample', '--checkpoint', 'none.safetensors', '--out', '/nowhere/a.png'];
    expect(cli(...words)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('/nowhere/a.png: no such file or folder'),
    });
  });
});
