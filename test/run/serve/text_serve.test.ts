// The server of pictures with a painter that the test controls: jobs, their order, their end, and requests that are refused.
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { RectiflowError } from '../../../src/errors.ts';
import type { TextJob } from '../../../src/run/serve/text_jobs.ts';
import type { Painted, Painter, PaintOrder, Ready } from '../../../src/run/serve/text_painter.ts';
import { listenForTexts, type TextHttpOptions, type TextHttpServer } from '../../../src/run/serve/text_service.ts';
import type { TextToImageProgress } from '../../../src/run/text/generate_options.ts';
import { pipelineShapes } from '../../support/instaflow.ts';

const { networks } = pipelineShapes();
const ready: Ready = {
  kind: 'ready',
  summary: {
    path: '/somewhere/instaflow/',
    parts: [],
    parameters: 5,
    bytes: 10,
    loadedBytes: 9,
    memory: 20,
    factor: 8,
    networks: { unet: networks.unet.options, vae: networks.vae.options, text_encoder: networks.text_encoder.options },
  },
  device: 'cpu',
  precision: 'fp32',
  available: 2 ** 30,
  prediction: 'velocity',
};

/** An order that the painter has begun, and the functions that end it. */
interface Held {
  order: PaintOrder;
  signal: AbortSignal;
  progress: (progress: TextToImageProgress) => void;
  finish: (pictures: Uint8Array<ArrayBuffer>[]) => void;
  fail: (error: unknown) => void;
}

class HeldPainter implements Painter {
  ready = ready;
  broken = new Promise<Error>(() => {});
  readonly all: Held[] = [];

  paint: Painter['paint'] = (order, signal, progress) =>
    new Promise<Painted>((resolve, fail) => {
      const finish = (pictures: Held['finish'] extends (p: infer P) => void ? P : never) =>
        resolve({ pictures, notes: ['noted'], seconds: { text: 0, network: 0, decoding: 0 }, nfe: 1 });
      this.all.push({ order, signal, progress, finish, fail });
      signal.addEventListener('abort', () => fail(signal.reason), { once: true });
    });

  async close() {}
}

const servers: TextHttpServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function start(options: Partial<TextHttpOptions> = {}) {
  const painter = new HeldPainter();
  const failures: unknown[] = [];
  const onFailure = (error: unknown) => failures.push(error);
  const server = await listenForTexts({ host: '127.0.0.1', port: 0, queue: 2, timeout: 60, onFailure, ...options });
  servers.push(server);
  server.begin(painter);
  return { server, painter, failures, url: server.url };
}

/** Latents of pictures of 64 x 64: 0.5, and a last number. */
function base64Of(pictures: number, last: number): string {
  const values = new Float32Array(256 * pictures).fill(0.5);
  values[values.length - 1] = last;
  return Buffer.from(values.buffer).toString('base64');
}

const json = { 'content-type': 'application/json' };
const order = (url: string, body: unknown, headers: Record<string, string> = json) =>
  fetch(`${url}/text`, { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
const begin = async (url: string, body: unknown) => (await (await order(url, body)).json()) as TextJob;
const see = async (url: string, { id }: TextJob) => (await (await fetch(`${url}/jobs/${id}`)).json()) as TextJob;
const remove = (url: string, { id }: TextJob) => fetch(`${url}/jobs/${id}`, { method: 'DELETE' });

async function until(url: string, job: TextJob, state: TextJob['state']): Promise<TextJob> {
  for (;;) {
    const seen = await see(url, job);
    if (seen.state === state) return seen;
    expect(['waiting', 'running']).toContain(seen.state);
  }
}

describe('a job', () => {
  it('waits, runs, and is done', async () => {
    const { url, painter } = await start();
    const answer = await order(url, { prompt: 'a cat', steps: 4, seed: 2, size: [64, 128] });
    const job = (await answer.json()) as TextJob;
    expect([answer.status, answer.headers.get('location')]).toEqual([202, `/jobs/${job.id}`]);
    expect(job.id).toMatch(/^[0-9a-f]{32}$/);
    const expected = { prompts: ['a cat'], guidance: 0, sampler: 'euler', steps: 4, seed: 2, noise: 'torch', count: 1 };
    expect(job.order).toEqual({ ...expected, size: [64, 128] });
    const other = await begin(url, { prompt: ['x', 'y'], count: 2, guidance: 3 });
    expect(other).toMatchObject({
      state: 'waiting',
      before: 1,
      pictures: 4,
      order: { negative: '', size: [512, 512] },
    });
    const [first] = painter.all;
    first.progress({ stage: 'network', first: 0, count: 1, done: 0.5, of: 1 });
    const running = await see(url, job);
    expect(running).toMatchObject({ state: 'running', stage: 'network', picture: 1, done: 0.5, files: [] });
    expect(running.share).toBeGreaterThan(0);
    expect(running.share).toBeLessThan(0.5);
    expect(running.seconds).toBeGreaterThanOrEqual(0);
    first.finish([Uint8Array.of(1, 2, 3)]);
    const done = await until(url, job, 'done');
    expect(done).toMatchObject({ share: 1, notes: ['noted'], files: [`/jobs/${job.id}/0.png`] });
    expect(done).not.toHaveProperty('stage');
    const picture = await fetch(url + done.files[0]);
    expect([picture.headers.get('content-type'), [...new Uint8Array(await picture.arrayBuffer())]]).toEqual([
      'image/png',
      [1, 2, 3],
    ]);
    expect((await fetch(`${url}/jobs/${job.id}/1.png`)).status).toBe(404);
    await until(url, other, 'running');
    // Dropping one that has ended.
    expect((await remove(url, job)).status).toBe(200);
    expect((await fetch(`${url}/jobs/${job.id}`)).status).toBe(404);
  });

  it('is cancelled while it waits and while it runs', async () => {
    const { url, painter } = await start();
    const [running, waiting, last] = [
      await begin(url, { prompt: 'a' }),
      await begin(url, { prompt: 'b' }),
      await begin(url, { prompt: 'c' }),
    ];
    const full = await order(url, { prompt: 'd' });
    expect([full.status, await full.json()]).toEqual([503, { error: 'the queue is full: 2 orders are waiting' }]);
    expect(Number(full.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await (await remove(url, waiting)).json()).toMatchObject({ state: 'cancelled' });
    expect(await see(url, last)).toMatchObject({ before: 1 });
    expect(await (await remove(url, running)).json()).toMatchObject({ state: 'cancelled' });
    expect(painter.all[0].signal.aborted).toBe(true);
    await until(url, last, 'running');
    expect(painter.all.map((held) => held.order.prompts)).toEqual([['a'], ['c']]);
    expect((await fetch(`${url}/jobs/${waiting.id}`)).status).toBe(200);
  });

  it('fails by an error, which a client sees as far as it concerns it, or by its time', async () => {
    const { url, painter, failures } = await start({ timeout: 0.05 });
    const late = await begin(url, { prompt: 'late' });
    expect((await until(url, late, 'failed')).error).toMatch(/took longer than 0\.05 s/);
    const known = await begin(url, { prompt: 'known' });
    painter.all[1].fail(new RectiflowError('latents are not finite'));
    expect((await until(url, known, 'failed')).error).toBe('latents are not finite');
    const unknown = await begin(url, { prompt: 'unknown' });
    painter.all[2].fail(new Error('a secret'));
    expect((await until(url, unknown, 'failed')).error).toBe('internal server error');
    expect(failures).toHaveLength(2);
  });

  it('that has ended is kept until 64 others have', async () => {
    const { url, painter } = await start();
    const finish = async (prompt: string) => {
      const job = await begin(url, { prompt });
      painter.all.at(-1)?.finish([new Uint8Array(8)]);
      return until(url, job, 'done');
    };
    const first = await finish('first');
    for (let i = 0; i < 64; i++) await finish(`${i}`);
    expect((await fetch(`${url}/jobs/${first.id}`)).status).toBe(404);
  });
});

it('health, and what is answered while the model loads', async () => {
  const server = await listenForTexts({ host: '127.0.0.1', port: 0, queue: 2, timeout: 60 });
  servers.push(server);
  server.loading(0.25);
  const loading = await fetch(`${server.url}/healthz`);
  expect([loading.status, await loading.json()]).toMatchObject([503, { status: 'loading', loaded: 0.25 }]);
  expect((await order(server.url, { prompt: 'x' })).status).toBe(503);
  const page = await fetch(server.url);
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
  expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'sha256-/);
  server.begin(new HeldPainter());
  // The name of the folder, not where it is.
  expect(await (await fetch(`${server.url}/healthz`)).json()).toMatchObject({
    status: 'ok',
    model: 'instaflow',
    queueLimit: 2,
    busy: false,
  });
});

describe('refused requests', () => {
  const long = 'x'.repeat(2001);
  it.each<[body: unknown, says: RegExp]>([
    [{}, /prompt/],
    [[], /options/],
    ['{', /the body is not JSON/],
    [{ prompt: 7 }, /expected prompt to be a text of at most 2000 characters/],
    [{ prompt: long }, /expected prompt to be a text of at most 2000 characters/],
    [{ prompt: [] }, /expected 1 to 16 pictures, got 0/],
    [{ prompt: ['a', 'b', 'c'], count: 6 }, /expected 1 to 16 pictures, got 18/],
    [{ prompt: 'x', count: 17 }, /count/],
    [{ prompt: 'x', steps: 1001 }, /steps/],
    [{ prompt: 'x', steps: 1.5 }, /steps/],
    [{ prompt: 'x', size: 100 }, /expected a size of multiples of 8, got 100 x 100/],
    [{ prompt: 'x', size: 4096 }, /size/],
    [{ prompt: 'x', size: [64] }, /size/],
    [
      { prompt: 'x', size: 2048, guidance: 2 },
      /a picture of 2048 x 2048 and the weights take .*, which is more than there is/,
    ],
    [{ prompt: 'x', guidance: -1 }, /guidance/],
    [{ prompt: 'x', guidance: 1e9 }, /guidance/],
    [{ prompt: 'x', seed: -1 }, /seed/],
    [{ prompt: 'x', negative: 'y' }, /no negative text without a guidance above 1/],
    [{ prompt: 'x', sampler: 'rk45', steps: 3 }, /no steps with the sampler rk45/],
    [{ prompt: 'x', sampler: '__proto__' }, /sampler/],
    [{ prompt: 'x', latents: [1] }, /latents/],
    [{ prompt: 'x', latents: 'no base64!' }, /expected latents to be base64/],
    [{ prompt: 'x', size: 64, latents: 'AAAA' }, /expected latents f32 \[1, 4, 8, 8\], 1024 bytes, got 3 bytes/],
    [{ prompt: 'x', size: 64, latents: base64Of(1, Number.NaN) }, /expected finite latents, got NaN at 255/],
    [{ prompt: 'x', size: 64, seed: 1, latents: base64Of(1, 0) }, /no seed with latents, which are the noise/],
    [{ prompt: 'x', model: '/etc/passwd' }, /model/],
  ])('%j', async (body, says) => {
    const { url, painter } = await start({});
    const answer = await order(url, body);
    const { error } = (await answer.json()) as { error: string };
    expect([answer.status, error]).toEqual([400, expect.stringMatching(says)]);
    expect(painter.all).toEqual([]);
  });

  it('latents start a picture, and the order shows their fingerprint', async () => {
    const { url, painter } = await start();
    const job = await begin(url, { prompt: ['x', 'y'], size: 64, latents: base64Of(2, -3) });
    expect(job.order).toMatchObject({
      latents: { name: 'latents', fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/) },
    });
    expect(Object.keys(job.order)).not.toContain('start');
    expect(Object.keys(job.order)).not.toContain('seed');
    const { order: painted } = painter.all[0];
    expect([painted.start?.length, painted.start?.[0], painted.start?.[511]]).toEqual([512, 0.5, -3]);
  });

  it('other types, sizes, methods, paths and origins', async () => {
    const { url, painter } = await start();
    const status = async (answer: Promise<Response>) => (await answer).status;
    expect(await status(order(url, 'prompt=x', { 'content-type': 'application/x-www-form-urlencoded' }))).toBe(415);
    expect(await status(order(url, JSON.stringify({ prompt: 'x', y: 'z'.repeat(2 ** 21) })))).toBe(413);
    expect(await status(order(url, { prompt: 'x' }, { ...json, origin: 'http://example.com' }))).toBe(403);
    expect(await status(order(url, { prompt: 'x' }, { ...json, origin: 'null' }))).toBe(403);
    expect(await status(fetch(`${url}/text`))).toBe(405);
    expect(await status(fetch(`${url}/text?prompt=x`, { method: 'POST', headers: json, body: '{}' }))).toBe(400);
    expect(await status(fetch(`${url}/sample`, { method: 'POST' }))).toBe(404);
    for (const path of [
      '',
      '/../healthz',
      '0'.repeat(31),
      `${'0'.repeat(32)}/`,
      `${'0'.repeat(32)}/-1.png`,
      'constructor',
    ])
      expect([path, await status(fetch(`${url}/jobs/${path}`))]).toEqual([path, path === '/../healthz' ? 404 : 404]);
    expect(await status(fetch(`${url}/jobs/${'0'.repeat(32)}`, { method: 'PUT' }))).toBe(405);
    expect(await status(fetch(`${url}/jobs/${'0'.repeat(32)}`, { method: 'DELETE' }))).toBe(404);
    const job = await begin(url, { prompt: 'mine' });
    expect(
      await status(fetch(`${url}/jobs/${job.id}`, { method: 'DELETE', headers: { origin: 'http://example.com' } })),
    ).toBe(403);
    expect(await see(url, job)).toMatchObject({ state: 'running' });
    expect(painter.all).toHaveLength(1);
    // A name that resolves to this machine is that of a page elsewhere.
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write('GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n');
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    expect(bytes.toString()).toMatch(/^HTTP\/1\.1 421 /);
    socket.destroy();
  });
});

it('closing cancels what runs and what waits', async () => {
  const { server, url, painter } = await start();
  await begin(url, { prompt: 'a' });
  await begin(url, { prompt: 'b' });
  await server.close();
  expect(painter.all.map((held) => [held.order.prompts[0], held.signal.aborted])).toEqual([['a', true]]);
});
