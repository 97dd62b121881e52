// The engine in a browser: a program that is bundled for browsers reaches nothing of Node, and computes the bits of Node's device wasm in
// pages and in workers, with threads where the page is cross-origin isolated.
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import * as esbuild from 'esbuild';
import { type Browser, chromium } from 'playwright-core';
import * as vite from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import webpack from 'webpack';
import { withoutSharing } from '../../src/device/wasm_sharing.ts';
import { browserPath } from '../support/browser.ts';
import { buildWasm } from '../support/wasm.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A convolution, the README's flow of two moons for 20 steps, samples of it, and those of a copy of its weights. */
const program = `
import { concat, conv2d, openDevice, randn, reshape, sum, tensor } from 'rectiflow';
import { samplePoints } from 'rectiflow/data';
import { decodeSafetensors, encodeSafetensors, loadModule } from 'rectiflow/io';
import { energyDistance, rectifiedFlowLoss, sample } from 'rectiflow/flow';
import { Adam, MLP } from 'rectiflow/nn';

export async function compute(name, threads) {
  const device = await openDevice(name, threads ? { threads } : {});
  const x = randn([2, 8, 8, 16], { seed: 1 });
  const values = [sum(conv2d(x, randn([16, 3, 3, 16], { seed: 2 }), { padding: 1 })).item()];
  const network = new MLP([3, 64, 64, 2]);
  const velocity = (x, t) => network.forward(concat([x, reshape(t, [-1, 1])], 1));
  const optimizer = new Adam(network, { learningRate: 3e-3, emaRate: 0.995 });
  for (let step = 0; step < 20; step++) {
    const x1 = tensor(samplePoints('two_moons', 256, step), { shape: [256, 2] });
    values.push(optimizer.minimize(() => rectifiedFlowLoss(velocity, x1, { seed: 0, first: 256 * step })).item());
  }
  const { samples } = await optimizer.withEma(() => sample(velocity, { shape: [2], count: 500, seed: 1, solver: 'rk45' }));
  values.push(energyDistance(samples, samplePoints('two_moons', 500, 1e6), 2));
  const weights = {};
  for (const [key, t] of network.stateDict()) weights[key] = { shape: t.shape, dtype: t.dtype, data: await t.data() };
  const bytes = encodeSafetensors(weights, { steps: '20' });
  const copy = await loadModule(bytes, new MLP([3, 64, 64, 2]));
  const points = randn([8, 3], { seed: 5 });
  values.push(bytes.length, Number(decodeSafetensors(bytes).metadata.steps));
  for (const net of [network, copy]) values.push(sum(net.forward(points)).item());
  return { description: device.description, values };
}
`;
const inPage = `${program}\nglobalThis.compute = compute;`;
const inWorker = `${program}
onmessage = async ({ data }) => postMessage(await compute(...data).catch((error) => ({ error: error.message })));`;

let browser: Browser;
let server: Server;
let expected: number[];
const files: Record<string, string> = {
  '/page.html':
    '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>test</title><script type="module" src="page.js"></script>',
};

/** One file for browsers, built without configuration. */
async function bundle(contents: string): Promise<string> {
  const { outputFiles, warnings } = await esbuild.build({
    stdin: { contents, resolveDir: root },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    minify: true,
    write: false,
    logLevel: 'silent',
  });
  expect(warnings).toEqual([]);
  return outputFiles[0].text;
}

beforeAll(async () => {
  buildWasm();
  const words = ['--input-type=module', '-e', `${program}\nconsole.log(JSON.stringify(await compute('wasm', 1)));`];
  const { stdout, stderr } = spawnSync(process.execPath, words, { cwd: root, encoding: 'utf8' });
  expected = JSON.parse(stdout || stderr).values;
  files['/page.js'] = await bundle(inPage);
  files['/worker.js'] = await bundle(inWorker);
  server = createServer(({ url = '' }, response) => {
    const path = url.replace('/isolated', '');
    if (files[path] === undefined) return response.writeHead(404).end();
    response.setHeader('content-type', path.endsWith('.js') ? 'text/javascript' : 'text/html');
    if (path !== url) {
      response.setHeader('cross-origin-opener-policy', 'same-origin');
      response.setHeader('cross-origin-embedder-policy', 'require-corp');
    }
    return response.end(files[path]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  browser = await chromium.launch({ executablePath: browserPath(), args: ['--no-sandbox', '--disable-gpu'] });
}, 120_000);

afterAll(async () => {
  await browser?.close();
  server?.close();
});

interface Computed {
  description: string;
  values: number[];
  error?: string;
}

/** Runs compute() in a page, or in a worker of it; messages of the console are collected. */
async function run(folder: '' | '/isolated', where: 'page' | 'worker', args: [name?: string, threads?: number]) {
  const page = await browser.newPage();
  const messages: string[] = [];
  page.on('console', (message) => messages.push(message.text()));
  page.on('pageerror', (error) => messages.push(error.message));
  try {
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}${folder}/page.html`);
    await page.waitForFunction('globalThis.compute !== undefined');
    const work = `compute(...${JSON.stringify(args)}).catch((error) => ({ error: error.message }))`;
    const inWorker = `new Promise((resolve) => {
      const worker = new Worker('worker.js', { type: 'module' });
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => resolve({ error: message });
      worker.postMessage(${JSON.stringify(args)});
    })`;
    const result = (await page.evaluate(where === 'page' ? work : inWorker)) as Computed;
    return { ...result, messages };
  } finally {
    await page.close();
  }
}

it('the bundle names no module and no global of Node', () => {
  const names = /["'`]node:\w+|\bBuffer\b|\bprocess\.\w+|\brequire\(/g;
  expect(files['/page.js'].match(names) ?? []).toEqual([]);
});

it('the engine with all ops, nn and flow is below 300 kB after gzip, kernels included', async () => {
  const all = ['', '/nn', '/flow'].map((entry, i) => `export * as part${i} from 'rectiflow${entry}';`).join('\n');
  expect(gzipSync(await bundle(all)).length).toBeLessThan(300_000);
});

describe.each(['page', 'worker'] as const)('in a %s', (where) => {
  it('with cross-origin isolation: threads, and the bits of Node', async () => {
    const { description, ...rest } = await run('/isolated', where, ['wasm', 2]);
    expect(rest).toEqual({ values: expected, messages: [] });
    expect(description).toBe('2 threads, 128-bit SIMD');
  }, 60_000);

  it('without isolation: one thread, and the bits of Node', async () => {
    const { description, ...rest } = await run('', where, []);
    expect(rest).toEqual({ values: expected, messages: [] });
    expect(description).toBe('1 thread, 128-bit SIMD, memory not shared');
  }, 60_000);

  it('refuses threads without isolation, and other devices', async () => {
    expect((await run('', where, ['wasm', 2])).error).toMatch(
      /^expected 1 thread, got 2: memory can be shared only in a page/,
    );
    expect((await run('', where, ['cpu'])).error).toBe('the device cpu needs Node; a browser has the device wasm');
  }, 60_000);
});

describe('the worker of docs/library.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-page-'));
  const page = readFileSync(join(root, 'docs/library.md'), 'utf8');
  const worker = /```js\n(\/\/ worker\.js\n.*?)```/s.exec(page)?.[1] as string;
  const sources: Record<string, string> = {
    'worker.js': worker,
    'page.js': `globalThis.messages = [];
      const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
      worker.onmessage = ({ data }) => messages.push(data);
      worker.onerror = ({ message }) => messages.push({ error: message });`,
    'index.html': '<!doctype html><link rel="icon" href="data:,"><script type="module" src="./page.js"></script>',
  };
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/rectiflow'));
  for (const [name, text] of Object.entries(sources)) writeFileSync(join(folder, name), text);
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Each bundler writes index.html and what it needs. */
  const bundlers: Record<string, (out: string) => Promise<unknown>> = {
    async esbuild(out) {
      const entryPoints = ['worker.js', 'page.js'].map((name) => join(folder, name));
      await esbuild.build({
        entryPoints,
        outdir: out,
        bundle: true,
        format: 'esm',
        splitting: true,
        logLevel: 'silent',
      });
      writeFileSync(join(out, 'index.html'), sources['index.html']);
    },
    vite: (outDir) =>
      vite.build({
        ...{ configFile: false, root: folder, base: './', logLevel: 'silent', build: { outDir } },
        worker: { format: 'es' },
      }),
    async webpack(path) {
      const options = { mode: 'development', devtool: false, context: folder, entry: './page.js' } as const;
      const errors = await new Promise((resolve, reject) => {
        webpack({ ...options, output: { path, filename: 'page.js' } }, (error, stats) =>
          error ? reject(error) : resolve(stats?.toJson({ all: false, errors: true }).errors),
        );
      });
      expect(errors).toEqual([]);
      writeFileSync(join(path, 'index.html'), sources['index.html']);
    },
  };

  it.each(Object.keys(bundlers))(
    'trains two moons, bundled by %s',
    async (name) => {
      const out = join(folder, 'out', name);
      mkdirSync(out, { recursive: true });
      await bundlers[name](out);
      for (const file of readdirSync(out, { recursive: true, encoding: 'utf8' }))
        if (statSync(join(out, file)).isFile()) files[`/${name}/${file}`] = readFileSync(join(out, file), 'utf8');
      const page = await browser.newPage();
      try {
        await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/isolated/${name}/index.html`);
        await page.waitForFunction('globalThis.messages?.some(({ samples, error }) => samples || error)', null, {
          timeout: 50_000,
        });
        const messages = (await page.evaluate('messages')) as Record<string, unknown>[];
        expect(messages[0].device).toMatch(/^\d+ threads?, 128-bit SIMD$/);
        expect(messages.slice(1, -1).map(({ step }) => step)).toEqual(Array.from({ length: 11 }, (_, i) => 100 * i));
        const losses = messages.slice(1, -1).map(({ loss }) => loss as number);
        expect(losses.at(-1)).toBeLessThan(0.8 * losses[0]);
        expect(Object.keys(messages.at(-1)?.samples as object)).toHaveLength(2000);
      } finally {
        await page.close();
      }
    },
    120_000,
  );
});

it('only a module that imports one memory loses the flag of sharing', () => {
  const binary = readFileSync(new URL('../../wasm/kernels.wasm', import.meta.url));
  const changed = withoutSharing(binary);
  const differing = [...binary.keys()].filter((i) => binary[i] !== changed[i]);
  expect(differing).toHaveLength(1);
  expect([binary[differing[0]], changed[differing[0]]]).toEqual([3, 1]);
  expect(() => withoutSharing(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0))).toThrow(/does not import one memory/);
});
