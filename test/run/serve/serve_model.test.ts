// serveSamples on a small network: images, memory and closing.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { openDevice } from '../../../src/device/open.ts';
import { Tables } from '../../../src/device/tables.ts';
import { decodePng, imageGrid } from '../../../src/io/index.ts';
import { Adam } from '../../../src/nn/index.ts';
import { pixels } from '../../../src/run/data.ts';
import {
  buildModel,
  type SampleAnswer,
  type ServeOptions,
  sampleFromCheckpoint,
  saveCheckpoint,
  serveSamples,
} from '../../../src/run/index.ts';
import { configWith } from '../../support/config.ts';

const device = await openDevice('cpu');
const config = await configWith('digits', { 'model.nf': 8, 'model.ch_mult': [1], 'model.num_res_blocks': 1 });
const checkpoint = join(mkdtempSync(join(tmpdir(), 'rectiflow-serve-model-')), 'small.safetensors');

beforeAll(async () => {
  const model = buildModel(config, device);
  const optimizer = new Adam(model, { learningRate: 1e-3 });
  await saveCheckpoint(checkpoint, { model, optimizer, config, step: 0 });
  optimizer.dispose();
  model.dispose();
});

const start = (options: Partial<ServeOptions> = {}) =>
  serveSamples(checkpoint, config, { device, port: 0, ...options });

function draw(url: string, body: object, more: { accept?: string; signal?: AbortSignal } = {}): Promise<Response> {
  const { accept = '*/*', signal } = more;
  const headers = { 'content-type': 'application/json', accept };
  return fetch(`${url}/sample`, { method: 'POST', headers, body: JSON.stringify(body), signal });
}

describe('serveSamples', () => {
  it('draws what sampleFromCheckpoint draws, whole and in parts', async () => {
    const server = await start();
    for (const solver of ['euler', 'rk45'] as const) {
      const { images, shape, nfe } = await sampleFromCheckpoint(checkpoint, config, {
        num: 30,
        seed: 3,
        solver,
        device,
      });
      const expected = pixels(images, config, 'nearest');
      const answer = await draw(server.url, { count: 30, seed: 3, sampler: solver });
      const grid = await decodePng(new Uint8Array(await answer.arrayBuffer()));
      expect(grid).toEqual(imageGrid(expected, shape));
      const json = await draw(server.url, { count: 30, seed: 3, sampler: solver }, { accept: 'application/json' });
      const { images: parts, ...told } = (await json.json()) as SampleAnswer;
      expect(told).toMatchObject({ shape, nfe, count: 30, seed: 3, sampler: solver });
      const decoded = await Promise.all(parts.map((part) => decodePng(Buffer.from(part, 'base64'))));
      expect(Buffer.concat(decoded.map(({ data }) => data))).toEqual(Buffer.from(expected));
    }
    await server.close();
  });

  it('gives the same bits for any micro-batch', async () => {
    const request = { num: 30, seed: 3, device };
    const { images } = await sampleFromCheckpoint(checkpoint, config, request);
    expect((await sampleFromCheckpoint(checkpoint, config, { ...request, microBatch: 7 })).images).toEqual(images);
  });

  it('frees the device memory of answers, of abandoned orders, and of the server itself', async () => {
    // Tables of layers stay on the device. Which batches a long order is divided into depends on its speed, and so do their tables.
    let tables = 0;
    const prototype = Tables.prototype as unknown as { place(bytes: number): number };
    const { place } = prototype;
    vi.spyOn(prototype, 'place').mockImplementation(function (this: Tables, bytes) {
      const { live } = device.memory();
      const address = place.call(this, bytes);
      tables += device.memory().live - live;
      return address;
    });
    const live = () => device.memory().live - tables;
    const before = live();
    const server = await start();
    await draw(server.url, { count: 5 });
    const served = live();
    for (const sampler of ['heun', 'rk45', 'euler'])
      expect((await draw(server.url, { count: 5, sampler })).status).toBe(200);
    for (let i = 0; i < 3; i++) {
      const abandoned = new AbortController();
      const ended = draw(server.url, { count: 256, steps: 1000, sampler: 'rk4' }, abandoned).catch(() => {});
      while (!((await (await fetch(`${server.url}/healthz`)).json()) as { busy: boolean }).busy);
      abandoned.abort();
      await ended;
    }
    // Waits until the abandoned orders have ended.
    expect((await draw(server.url, { count: 5 })).status).toBe(200);
    expect(live()).toBe(served);
    await server.close();
    expect(live()).toBe(before);
  });

  it('closes on its signal, even while it computes', async () => {
    const controller = new AbortController();
    const server = await start({ signal: controller.signal });
    const order = draw(server.url, { count: 256, steps: 1000, sampler: 'rk4' });
    while (!((await (await fetch(`${server.url}/healthz`)).json()) as { busy: boolean }).busy);
    controller.abort();
    expect((await order).status).toBe(503);
    await server.closed;
    await expect(fetch(server.url)).rejects.toThrow();
  });

  it('does not start with an aborted signal', async () => {
    const reason = new Error('before');
    await expect(start({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const before = device.memory().live;
    const starting = start({ signal: controller.signal });
    controller.abort(reason);
    await expect(starting).rejects.toBe(reason);
    expect(device.memory().live).toBe(before);
  });

  it('reports that other machines can reach it', async () => {
    const notices: string[] = [];
    const onNotice = (text: string) => notices.push(text);
    await (await start({ onNotice })).close();
    expect(notices).toEqual([]);
    const open = await start({ onNotice, host: '0.0.0.0' });
    expect(notices).toEqual([expect.stringMatching(/^http:\/\/0\.0\.0\.0:\d+ .*this server has no password/)]);
    await open.close();
  });
});
