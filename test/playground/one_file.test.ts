// The engine as one module, dist/playground/rectiflow.mjs, in a page without a bundler: a plain <script type="module"> trains, and reads a
// NumPy file from an ArrayBuffer.
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readNpz } from '../../src/io/index.ts';
import { browserPath } from '../support/browser.ts';
import { builtPage } from '../support/playground.ts';

const npz = new URL('../fixtures/io/deflated.npz', import.meta.url);
const page = `<!doctype html><link rel="icon" href="data:,"><script type="module">
import { Adam, concat, decodeNpz, MLP, openDevice, rectifiedFlowLoss, reshape, samplePoints, tensor } from './rectiflow.mjs';

const { description } = await openDevice();
const network = new MLP([3, 32, 2]);
const velocity = (x, t) => network.forward(concat([x, reshape(t, [-1, 1])], 1));
const optimizer = new Adam(network, { learningRate: 1e-2 });
const losses = [];
for (let step = 0; step < 200; step++) {
  const x1 = tensor(samplePoints('two_moons', 64, step), { shape: [64, 2] });
  losses.push(optimizer.minimize(() => rectifiedFlowLoss(velocity, x1, { seed: 0, first: 64 * step })).item());
}
const response = await fetch('arrays.npz');
const arrays = await decodeNpz(new Uint8Array(await response.arrayBuffer()));
globalThis.result = { description, losses, pool: [...arrays.get('pool_3').data], names: [...arrays.keys()] };
</script>`;

let browser: Browser;
let server: Server;
let module: Buffer;

beforeAll(async () => {
  module = readFileSync(new URL('rectiflow.mjs', builtPage()));
  const files: Record<string, [type: string, body: string | Buffer]> = {
    '/': ['text/html', page],
    '/rectiflow.mjs': ['text/javascript', module],
    '/arrays.npz': ['application/octet-stream', readFileSync(npz)],
  };
  server = createServer(({ url = '' }, response) => {
    const [type, body] = files[url] ?? [];
    response.writeHead(type ? 200 : 404, { 'content-type': type ?? 'text/plain' }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  browser = await chromium.launch({ executablePath: browserPath(), args: ['--no-sandbox', '--disable-gpu'] });
}, 120_000);

afterAll(async () => {
  await browser?.close();
  server?.close();
});

it('trains and reads a NumPy file', async () => {
  const page = await browser.newPage();
  const messages: string[] = [];
  page.on('console', (message) => messages.push(message.text()));
  page.on('pageerror', (error) => messages.push(error.message));
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  await page.waitForFunction('globalThis.result', null, { timeout: 30_000 }).catch(() => {});
  expect(messages).toEqual([]);
  const result = (await page.evaluate('result')) as {
    description: string;
    losses: number[];
    pool: number[];
    names: string[];
  };
  expect(result.description).toBe('1 thread, 128-bit SIMD, memory not shared');
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  expect(mean(result.losses.slice(-40))).toBeLessThan(0.9 * mean(result.losses.slice(0, 5)));
  const expected = await readNpz(npz.pathname);
  expect(result.names).toEqual([...expected.keys()]);
  expect(result.pool).toEqual(Array.from(expected.get('pool_3')?.data as Float32Array));
}, 60_000);

it('names nothing of Node, and is below 320 kB after gzip', () => {
  expect(module.toString().match(/["'`]node:\w+|\bBuffer\b|\bprocess\.\w+|\brequire\(/g) ?? []).toEqual([]);
  expect(gzipSync(module).length).toBeLessThan(320_000);
});
