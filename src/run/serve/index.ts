// `serve`: samples of a checkpoint over HTTP.
import { checkArgument, checkOptions, isWhole, kind, kinds, type OptionKinds } from '../../arguments.ts';
import { runOptions } from '../arguments.ts';
import type { LoadModelOptions } from '../checkpoints/open.ts';
import type { Config } from '../config/index.ts';
import { requireConfig } from '../config/require.ts';
import { listen } from './http.ts';
import { isLoopback } from './request.ts';
import { openSampler } from './sampler.ts';

export interface ServeOptions extends Pick<LoadModelOptions, 'device' | 'partial'> {
  /** A name or an address of this machine; default 127.0.0.1, which only programs of this machine reach. */
  host?: string;
  /** 0: any that is free. Default 8080. */
  port?: number;
  /** How many requests wait while one is computed; more are refused with 503. Default 16. */
  queue?: number;
  /** Seconds that one request may be computed, after which it is answered with 503. Default 600. */
  timeout?: number;
  /** Closes the server when aborted. */
  signal?: AbortSignal;
  /** Told what is worth knowing: that others reach the server, that an evaluation takes long, that a request has failed. */
  onNotice?: (text: string) => void;
}

export interface SampleServer {
  /** http://HOST:PORT */
  readonly url: string;
  readonly port: number;
  /** Resolves when the server has been closed, by `close` or by its signal. */
  readonly closed: Promise<void>;
  /**
   * Stops listening, answers what waits and what is computed with 503, and frees the network. Resolves when all that is done:
   * within a second, or after the evaluation of the network that is running.
   */
  close(): Promise<void>;
}

const serveOptions: OptionKinds<ServeOptions> = {
  device: runOptions.device,
  partial: kinds.boolean,
  host: kind('a name or an address', (v) => typeof v === 'string' && /^[\w.:%-]+$/.test(v)),
  port: kind('a port from 0 to 65535', (v) => isWhole(v, 0, 65535)),
  queue: kinds.count,
  timeout: kind(
    'a number of seconds, above 0 and at most 86400',
    (v) => kinds.positive.accepts(v) && (v as number) <= 86400,
  ),
  signal: runOptions.signal,
  onNotice: runOptions.onNotice,
};

/**
 * Serves samples of a checkpoint over HTTP, with its averaged weights: `GET /healthz`, `POST /sample`; docs/library.md describes both.
 * Images are those of `sampleFromCheckpoint` with the same numbers. They are computed on this thread, one request at a time; between
 * two evaluations of the network other requests have their turn.
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
 * @returns a server that answers
 * @throws ValueError for a host or a port on which this machine cannot listen; FileError for weights that do not fit the
 * configuration; the signal's reason when aborted before the server answers
 */
export async function serveSamples(reference: string, config: Config, options: ServeOptions): Promise<SampleServer> {
  checkArgument('serveSamples', 'reference', reference, kinds.path);
  requireConfig('serveSamples', config);
  const checked = checkOptions('serveSamples', options, serveOptions, ['device']);
  const { host = '127.0.0.1', port = 8080, queue = 16, timeout, signal, onNotice, ...loading } = checked;
  signal?.throwIfAborted();
  const onFailure = (error: unknown) => onNotice?.(`a request failed: ${(error as Error)?.message ?? error}`);
  // The port is taken first: a network may take minutes to be read.
  const http = await listen({ host, port, queue, timeout, onFailure });
  const { address } = http.address;
  if (!isLoopback(address))
    onNotice?.(
      `${http.url} is not of this machine alone: anyone who reaches it may use this server, without a password`,
    );
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
      `one image takes the network ${sampler.blocking.toFixed(1)} s, for which other requests wait: they are read between two images`,
    );
  return { url: http.url, port: http.address.port, closed, close };
}
