// `serve`: serves samples of a checkpoint over HTTP.
import { checkArgument, checkOptions, isWhole, kind, kinds, type OptionKinds } from '../../arguments.ts';
import { runOptions } from '../arguments.ts';
import type { LoadModelOptions } from '../checkpoints/open.ts';
import type { Config } from '../config/index.ts';
import { requireConfig } from '../config/require.ts';
import { isLoopback } from './request.ts';
import { openSampler } from './sampler.ts';
import { listenForSamples } from './samples.ts';

export interface ServeOptions extends Pick<LoadModelOptions, 'device' | 'partial'> {
  /** Name or address to listen on; default 127.0.0.1, which is reachable from this machine only. */
  host?: string;
  /** Port to listen on, 0 for any free port. Default 8080. */
  port?: number;
  /** Most requests that wait while one is computed; further ones get status 503. Default 16. */
  queue?: number;
  /** Most seconds to compute one request, which then gets status 503. Default 600. */
  timeout?: number;
  /** Closes the server when aborted. */
  signal?: AbortSignal;
  /** Reports that other machines can reach the server, that one evaluation takes long, or that a request failed. */
  onNotice?: (text: string) => void;
}

export interface SampleServer {
  /** http://HOST:PORT */
  readonly url: string;
  readonly port: number;
  /** Resolves when the server is closed, by `close` or by its signal. */
  readonly closed: Promise<void>;
  /**
   * Stops listening, answers pending requests with status 503, and frees the network. Resolves when that is done,
   * within a second or after the current evaluation of the network.
   */
  close(): Promise<void>;
}

/** Returns whether a value may be the name or the address of a machine. */
export function isHost(value: unknown): boolean {
  return typeof value === 'string' && /^[\w.:%-]+$/.test(value);
}

/** The options that servers share. */
export const servingOptions: OptionKinds<
  Required<Pick<ServeOptions, 'host' | 'port' | 'queue' | 'timeout' | 'signal' | 'onNotice'>>
> = {
  host: kind('a name or an address', isHost),
  port: kind('a port from 0 to 65535', (v) => isWhole(v, 0, 65535)),
  queue: kinds.count,
  timeout: kind(
    'a number of seconds, above 0 and at most 86400',
    (v) => kinds.positive.accepts(v) && (v as number) <= 86400,
  ),
  signal: runOptions.signal,
  onNotice: runOptions.onNotice,
};

const serveOptions: OptionKinds<ServeOptions> = {
  ...servingOptions,
  device: runOptions.device,
  partial: kinds.boolean,
};

/**
 * Serves samples of a checkpoint over HTTP, with its averaged weights: `GET /healthz` and `POST /sample`, see
 * docs/library.md. The images are bit-identical to those of `sampleFromCheckpoint` with the same options. They are
 * computed on this thread, one request at a time; other requests are handled between two evaluations of the network.
 *
 * ```js
 * const server = await serveSamples('checkpoint_1.safetensors', config, { device: await openDevice('cpu'), port: 0 });
 * const body = JSON.stringify({ count: 4, seed: 1, steps: 10, sampler: 'euler' });
 * const headers = { 'content-type': 'application/json' };
 * const png = await fetch(`${server.url}/sample`, { method: 'POST', headers, body });
 * await server.close();
 * ```
 *
 * @param reference a checkpoint of any kind
 * @returns a running server
 * @throws ValueError for a host or port on which this machine cannot listen; FileError for weights that do not fit the
 * configuration; the signal's reason if aborted before the server is ready
 * @example
 * const config = await loadConfig('runs/digits/config.json');
 * const checkpoint = 'runs/digits/checkpoints/checkpoint_1.safetensors';
 * const server = await serveSamples(checkpoint, config, { device: await openDevice('cpu'), port: 0 });
 * const body = JSON.stringify({ count: 4, seed: 1, steps: 10, sampler: 'euler' });
 * const headers = { 'content-type': 'application/json' };
 * const answer = await fetch(`${server.url}/sample`, { method: 'POST', headers, body });
 * answer.headers.get('content-type'); // 'image/png'
 * await server.close();
 */
export async function serveSamples(reference: string, config: Config, options: ServeOptions): Promise<SampleServer> {
  checkArgument('serveSamples', 'reference', reference, kinds.path);
  requireConfig('serveSamples', config);
  const checked = checkOptions('serveSamples', options, serveOptions, ['device']);
  const { host = '127.0.0.1', port = 8080, queue = 16, timeout, signal, onNotice, ...loading } = checked;
  signal?.throwIfAborted();
  const onFailure = (error: unknown) => onNotice?.(`a request failed: ${(error as Error)?.message ?? error}`);
  // Listens first, because loading the network may take minutes.
  const http = await listenForSamples({ host, port, queue, timeout, onFailure });
  const { address } = http.address;
  if (!isLoopback(address))
    onNotice?.(`${http.url} may be reachable from other machines, and this server has no password`);
  const sampler = await openSampler(reference, config, { ...loading, onNotice }).catch(async (error) => {
    await http.close();
    throw error;
  });
  let tell = () => {};
  const closed = new Promise<void>((resolve) => {
    tell = resolve;
  });
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= (async () => {
      signal?.removeEventListener('abort', close);
      await http.close();
      sampler[Symbol.dispose]();
      tell();
    })();
    return closing;
  };
  if (signal?.aborted) {
    await close();
    throw signal.reason;
  }
  signal?.addEventListener('abort', close);
  http.begin(sampler);
  if (sampler.blocking > 1)
    onNotice?.(
      `one evaluation of the network takes ${sampler.blocking.toFixed(1)} s per image, and other requests wait that long`,
    );
  return { url: http.url, port: http.address.port, closed, close };
}
