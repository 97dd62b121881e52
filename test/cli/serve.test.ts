// `rectiflow serve` as a process: its output, its answers, its end, and a load test with slow clients.
// RECTIFLOW_TEST_FULL=1 loads it for five minutes instead of four seconds.
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer, connect as dial, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { decodePng, readPng } from '../../src/io/index.ts';
import type { SampleAnswer } from '../../src/run/index.ts';
import { full } from '../support/devices.ts';

const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-serve-'));
const checkpoint = join(folder, 'run/checkpoints/checkpoint_0.safetensors');

function rectiflow(...args: string[]) {
  return spawnSync(process.execPath, [bin, ...args], { cwd: folder, encoding: 'utf8', timeout: 120_000 });
}

interface Running {
  url: string;
  child: ChildProcessWithoutNullStreams;
  said: () => string;
  /** Sends a signal, if given, and waits for the process to end. */
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

const running: ChildProcessWithoutNullStreams[] = [];
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
});

async function serve(...args: string[]): Promise<Running> {
  const child = spawn(process.execPath, [bin, 'serve', '--checkpoint', checkpoint, '--port', '0', ...args]);
  running.push(child);
  const ended = once(child, 'close') as Promise<[number | null]>;
  let [stdout, stderr] = ['', ''];
  child.stderr.on('data', (text) => (stderr += text));
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (text) => {
      stdout += text;
      const [, found] = /^listening on (\S+)\n$/.exec(stdout) ?? [];
      if (found) resolve(found);
    });
    ended.then(([code]) => reject(new Error(`ended with ${code}: ${stderr}`)));
  });
  const end = async (signal?: NodeJS.Signals) => {
    if (signal) child.kill(signal);
    return (await ended)[0];
  };
  return { url, child, said: () => stderr, end };
}

const order = (body: object, more: RequestInit = {}): RequestInit => ({
  method: 'POST',
  body: JSON.stringify(body),
  ...more,
  headers: { 'content-type': 'application/json', ...more.headers },
});
const bytesOf = async (response: Response) => new Uint8Array(await response.arrayBuffer());
const health = async (url: string) => (await fetch(`${url}/healthz`)).json() as Promise<Record<string, unknown>>;

async function untilHealth(url: string, wanted: Record<string, unknown>): Promise<void> {
  for (;;) {
    const found = await health(url);
    if (Object.entries(wanted).every(([key, value]) => found[key] === value)) return;
  }
}

/** An order that takes minutes to compute and is meant to be abandoned. */
const endless = { count: 256, steps: 1000, sampler: 'rk4' };

beforeAll(() => {
  const { status } = rectiflow(
    ...['train', '--config', 'digits', '--config.model.nf', '8', '--config.training.batch_size=16'],
    ...['--config.training.snapshot_sampling=false', '--workdir', 'run', '--config.training.n_iters', '2'],
  );
  expect(status).toBe(0);
}, 120_000);

describe('answers', () => {
  it('with the images that `sample` draws, as a grid or separately', async () => {
    const { url, end } = await serve('--config.sampling.sample_N', '3');
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(await health(url)).toMatchObject({ status: 'ok', device: 'cpu', checkpoint: 'checkpoint_0.safetensors' });

    const line = ['sample', '--checkpoint', checkpoint, '--out', 'grid.png', '--num', '6', '--seed', '5'];
    expect(rectiflow(...line, '--sampler', 'heun', '--steps', '3').status).toBe(0);
    const answer = await fetch(`${url}/sample`, order({ count: 6, seed: 5, sampler: 'heun' }));
    expect(answer.headers.get('content-type')).toBe('image/png');
    expect(await decodePng(await bytesOf(answer))).toEqual(await readPng(join(folder, 'grid.png')));

    const json = order({ count: 1, seed: 5, sampler: 'heun' }, { headers: { accept: 'application/json' } });
    const { images, ...rest } = (await (await fetch(`${url}/sample`, json)).json()) as SampleAnswer;
    expect(rest).toEqual({ shape: [1, 8, 8, 1], nfe: 6, count: 1, seed: 5, sampler: 'heun', steps: 3, leftOut: [] });
    const single = await bytesOf(await fetch(`${url}/sample`, order({ count: 1, seed: 5, sampler: 'heun' })));
    expect(await decodePng(Buffer.from(images[0], 'base64'))).toEqual(await decodePng(single));

    const rk45 = order({ count: 2, sampler: 'rk45' }, { headers: { accept: 'application/json' } });
    expect(await (await fetch(`${url}/sample`, rk45)).json()).toMatchObject({ steps: null, sampler: 'rk45', seed: 42 });
    const wrong = await fetch(`${url}/sample`, order({ count: 257 }));
    expect(wrong.status).toBe(400);
    expect(await wrong.json()).toEqual({
      error: '[sample] expected count to be a whole number from 1 to 256, got 257',
    });
    expect(await end('SIGTERM')).toBe(0);
  });

  it('other requests while it computes, and drops abandoned orders', async () => {
    const { url } = await serve('--queue', '1');
    const gone = new AbortController();
    const orders = [1, 2].map((seed) => fetch(`${url}/sample`, order({ ...endless, seed }, { signal: gone.signal })));
    const ends = Promise.allSettled(orders);
    await untilHealth(url, { busy: true, queue: 1 });
    const full_ = await fetch(`${url}/sample`, order({ count: 1 }));
    expect(full_.status).toBe(503);
    expect(Number(full_.headers.get('retry-after'))).toBeGreaterThan(0);
    gone.abort();
    await ends;
    await untilHealth(url, { busy: false, queue: 0 });
    expect((await fetch(`${url}/sample`, order({ count: 1 }))).status).toBe(200);
  });

  it('from the tensors that fit of another network with --partial', async () => {
    const { url, said } = await serve('--config.model.nf', '16', '--partial');
    expect(said()).toMatch(/^note: .* fits only in part/m);
    expect((await fetch(`${url}/sample`, order({ count: 1, steps: 1 }))).status).toBe(200);
  });

  it('with 500 if samples are not finite, and continues', async () => {
    const { url, said } = await serve('--config.sampling.init_noise_scale', '1e30');
    const answer = await fetch(`${url}/sample`, order({ count: 3 }));
    expect(answer.status).toBe(500);
    expect(await answer.json()).toEqual({ error: expect.stringMatching(/3 of 3 samples are not finite/) });
    expect((await health(url)).status).toBe('ok');
    expect(said()).toMatch(/^note: a request failed: 3 of 3 samples/m);
  });
});

describe('ends', () => {
  it.each<NodeJS.Signals>(['SIGINT', 'SIGTERM'])('immediately on %s, even while it computes', async (signal) => {
    const { url, end } = await serve();
    const orders = [1, 2].map((seed) => fetch(`${url}/sample`, order({ ...endless, seed })));
    await untilHealth(url, { busy: true, queue: 1 });
    const code = end(signal);
    for (const answer of await Promise.all(orders)) {
      expect(answer.status).toBe(503);
      expect(await answer.json()).toEqual({ error: 'the server is shutting down' });
    }
    expect(await code).toBe(0);
  });
});

describe('reports where it cannot listen, and who can reach it', () => {
  const line = ['serve', '--checkpoint', checkpoint];

  it('a port in use', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    const { status, stdout, stderr } = rectiflow(...line, '--port', String(port));
    other.close();
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(`rectiflow: cannot listen on 127.0.0.1:${port}: the port is in use by another program\n`);
  });

  it('notes only addresses that other machines can reach', async () => {
    const open = await serve('--host', '0.0.0.0');
    expect(open.said()).toMatch(/^note: .*0\.0\.0\.0:\d+ .*this server has no password/m);
    expect(await open.end('SIGTERM')).toBe(0);
    const own = await serve();
    expect(own.said()).not.toMatch(/^note: /m);
  });
});

/** Sends a byte from time to time forever, and reconnects when it is disconnected. */
class SlowClient {
  private readonly text = 'POST /sample HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n{"count":4}';
  private readonly port: number;
  private readonly timer: NodeJS.Timeout;
  private socket: Socket | undefined;
  private sent = 0;

  constructor(port: number, pause: number) {
    this.port = port;
    this.timer = setInterval(() => this.step(), pause);
  }

  private step(): void {
    if (!this.socket || this.socket.destroyed) {
      this.sent = 0;
      this.socket = dial(this.port, '127.0.0.1')
        .on('error', () => {})
        .resume();
    }
    this.socket.write(this.text[this.sent++ % this.text.length]);
  }

  end(): void {
    clearInterval(this.timer);
    this.socket?.destroy();
  }
}

const seconds = full ? 300 : 4;

it.runIf(process.platform === 'linux')(
  `stands a load of ${seconds} s among 200 slow clients with flat memory`,
  async () => {
    const { url, child, end, said } = await serve();
    const slow = Array.from({ length: 200 }, (_, i) => new SlowClient(Number(new URL(url).port), 100 + i));
    const statuses = new Map<number | string, number>();
    const stop = Date.now() + 1000 * seconds;
    const resident = () => 4096 * Number(readFileSync(`/proc/${child.pid}/statm`, 'utf8').split(' ')[1]);
    const json = { headers: { accept: 'application/json' } };
    const asks: ((seed: number) => [path: string, init?: RequestInit])[] = [
      (seed) => ['/sample', order({ count: 4, seed, steps: 2 })],
      (seed) => ['/sample', order({ count: 9, seed, steps: 3, sampler: 'rk4' }, json)],
      (seed) => ['/sample', order({ ...endless, seed }, { signal: AbortSignal.timeout(seed % 50) })],
      () => ['/sample', order({ count: 'x'.repeat(20_000) })],
      () => ['/sample', order({ count: -1 })],
      () => ['/healthz'],
      () => ['/none'],
    ];
    const ask = async (from: number) => {
      for (let seed = from; Date.now() < stop; seed += 7) {
        const [path, init] = asks[seed % asks.length](seed);
        const status = await fetch(url + path, init).then(
          (response) => response.arrayBuffer().then(() => response.status),
          ({ name }: Error) => name,
        );
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    };
    const figures: number[] = [];
    const watch = async () => {
      while (Date.now() < stop) {
        figures.push(resident());
        await new Promise((resolve) => setTimeout(resolve, 10 * seconds));
      }
    };
    await Promise.all([watch(), ...asks.map((_, i) => ask(i))]);
    for (const client of slow) client.end();
    // Disconnected clients fail with "TimeoutError"; no other request fails.
    expect(
      [...statuses.keys()].filter((status) => ![200, 400, 404, 413, 503, 'TimeoutError'].includes(status)),
    ).toEqual([]);
    expect(statuses.get(200)).toBeGreaterThan(10);
    await untilHealth(url, { busy: false, queue: 0 });
    expect((await fetch(`${url}/sample`, order({ count: 4 }))).status).toBe(200);
    const between = (a: number, b: number) => Math.max(...figures.slice(a * figures.length, b * figures.length));
    expect(between(0.7, 1) - between(0.3, 0.6)).toBeLessThan(32 * 2 ** 20);
    expect(said()).not.toMatch(/failed|fault|Warning/);
    expect(await end('SIGTERM')).toBe(0);
  },
  (seconds + 60) * 1000,
);
