// Every file in examples/ runs as its first lines describe.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { decodePng, readPng } from '../../src/io/index.ts';
import type { ReportFigures } from '../../src/run/index.ts';

const folder = fileURLToPath(new URL('../../examples/', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'rectiflow-examples-'));

function run(name: string, ...args: string[]) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(folder, name), ...args], {
    cwd: work,
    encoding: 'utf8',
    timeout: 170_000,
  });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return stdout;
}

it('the folder holds these files', () => {
  expect(readdirSync(folder).sort()).toEqual([
    'custom_op.mjs',
    'digits.mjs',
    'domain_adaptation.mjs',
    'flow_2d.mjs',
    'flow_in_worker.mjs',
    'flow_of_digits.ipynb',
    'mlflow.mjs',
    'reflow_2d.mjs',
    'sampling_server.mjs',
  ]);
});

it('digits: the loss falls, and samples are written as a grid', async () => {
  const printed = run('digits.mjs', '21', 'grid.png');
  const [first, last] = [...printed.matchAll(/^step \d+ {2}loss ([\d.]+)$/gm)].map(([, loss]) => Number(loss));
  expect(last).toBeLessThan(0.9 * first);
  expect(printed).toMatch(/64 samples of 50 evaluations each: grid\.png\n$/);
  const { width, height, channels, data } = await readPng(join(work, 'grid.png'));
  expect([width, height, channels]).toEqual([8 * 34 + 2, 8 * 34 + 2, 1]);
  expect(new Set(data).size).toBeGreaterThan(100);
}, 170_000);

it('domain_adaptation: a classifier of thin digits reads far more bold digits that a flow has carried back', () => {
  const shares = [...run('domain_adaptation.mjs', '60').matchAll(/([\d.]+) %/g)].map(([, share]) => Number(share));
  const [thin, bold, oneStep, tenSteps] = shares;
  expect(thin).toBeGreaterThan(90);
  expect(bold).toBeLessThan(60);
  // 20 points are five standard errors of a share of 199 digits.
  for (const carried of [oneStep, tenSteps]) expect(carried).toBeGreaterThan(bold + 20);
}, 170_000);

it.each(['cpu', 'wasm'])('custom_op computes its value and its gradient on %s', (device) => {
  expect(run('custom_op.mjs', device)).toBe(
    'tensor of softsign f32 [3]\n[-0.75000, 0, 0.50000]\ntensor f32 [3]\n[0.062500, 1, 0.25000]\n',
  );
});

it('flow_of_digits.ipynb: its cells run from top to bottom, and pictures appear', () => {
  const notebook = JSON.parse(readFileSync(join(folder, 'flow_of_digits.ipynb'), 'utf8'));
  expect([notebook.nbformat, notebook.metadata.kernelspec.name]).toEqual([4, 'deno']);
  const cells: string[] = notebook.cells
    .filter(({ cell_type: type }: { cell_type: string }) => type === 'code')
    .map(({ source }: { source: string[] }) => source.join(''));
  // A notebook shows the value of a cell's last line. It trains for longer.
  const shown = cells.map((cell) => cell.replace(/^(displayImage\(.*\))$(?![\s\S])/m, 'await show($1);'));
  const program = `const show = async (value) => {
    const { 'image/png': png } = await value[Symbol.for('Jupyter.display')]();
    console.log('picture', png);
  };
  ${shown
    .join('\n')
    .replace('const steps = 2000;', 'const steps = 21;')
    .replaceAll("'../dist/", `'${new URL('../../dist/', import.meta.url)}`)}`;
  const words = ['--input-type=module', '-e', program];
  const { stdout, stderr } = spawnSync(process.execPath, words, { cwd: work, encoding: 'utf8' });
  expect(stderr).toBe('');
  const pictures = [...stdout.matchAll(/^picture (.*)$/gm)].map(([, text]) => Buffer.from(text, 'base64'));
  expect(pictures).toHaveLength(3);
  return Promise.all(
    pictures.map(async (png) => {
      const { width, height, channels, data } = await decodePng(png);
      expect([width, height, channels]).toEqual([16 * 34 + 2, 2 * 34 + 2, 1]);
      expect(new Set(data).size).toBeGreaterThan(10);
    }),
  );
}, 60_000);

it('flow_2d runs', () => {
  const printed = run('flow_2d.mjs');
  expect(printed).toMatch(/^step 0 {2}loss [\d.]+\nstep 500 {2}loss [\d.]+\n/);
  expect(Number(/energy distance ([\d.]+)/.exec(printed)?.[1])).toBeLessThan(0.02);
}, 120_000);

it('reflow_2d: reflow straightens paths, and one step of the distilled flow matches a hundred of the first flow', () => {
  run('reflow_2d.mjs', 'report');
  const { stages } = JSON.parse(readFileSync(join(work, 'report/report.json'), 'utf8')) as ReportFigures;
  const [first, second, oneStep] = stages;
  expect(second.straightness).toBeLessThan(first.straightness / 50);
  expect(first.fd[1]).toBeGreaterThan(0.5);
  expect(oneStep.fd[1]).toBeLessThan(0.02);
  const html = readFileSync(join(work, 'report/report.html'), 'utf8');
  expect(html.match(/<polyline[^>]* opacity/g)).toHaveLength(3 * 200);
}, 180_000);

it('flow_in_worker runs, then sampling_server on its checkpoint', async () => {
  expect(run('flow_in_worker.mjs', '20')).toMatch(
    /step 0 {2}loss .*\nstep 20 {2}loss .*\ndone: .*checkpoint_0\.safetensors; the main thread ticked all the while/,
  );
  const checkpoint = join(work, 'runs/worker/checkpoints/checkpoint_0.safetensors');
  expect(existsSync(checkpoint)).toBe(true);
  const server = spawn(process.execPath, [join(folder, 'sampling_server.mjs'), checkpoint, '0'], { cwd: work });
  const ended = new Promise((resolve) => server.on('close', resolve));
  const line = await new Promise<string>((resolve) => server.stdout.once('data', (data) => resolve(String(data))));
  const address = /^listening on (\S+)\n$/.exec(line)?.[1];
  const headers = { 'content-type': 'application/json' };
  const draw = async (body: object) => {
    const answer = await fetch(`${address}/sample`, { method: 'POST', headers, body: JSON.stringify(body) });
    return new Uint8Array(await answer.arrayBuffer());
  };
  const [a, b, c] = await Promise.all([1, 1, 2].map((seed) => draw({ count: 4, seed })));
  expect(await decodePng(a, 'answer')).toMatchObject({ channels: 1 });
  expect(b).toEqual(a);
  expect(c).not.toEqual(a);
  server.kill('SIGTERM');
  expect(await ended).toBe(0);
}, 120_000);
