// `serve --model`: pictures of texts over HTTP, and a page to ask for them.
import { checkArgument, checkOptions, kind, kinds, listOf, type OptionKinds, oneOf } from '../../arguments.ts';
import { deviceNames, type Precision, precisions } from '../../device/device.ts';
import { variantKind } from '../text/folder.ts';
import { type WeightChoice, weightChoices } from '../text/match.ts';
import type { TextToImageSummary } from '../text/survey.ts';
import type { Prediction } from '../text/text_to_image.ts';
import { type SampleServer, servingOptions } from './index.ts';
import { isLoopback } from './request.ts';
import { openPainter } from './text_painter.ts';
import { listenForTexts } from './text_service.ts';

export interface ServeTextToImageOptions {
  /** Name of the device: 'cpu' (default), 'wasm', 'cuda' or 'cuda:N'. The networks are loaded in a thread of their own, which opens it. */
  device?: string;
  /** Threads of the devices cpu and wasm; default: all. */
  threads?: number;
  /** Precision of the device cuda; default 'fp32'. */
  precision?: Precision;
  /** Weights of a variant, such as 'fp16'; default: the plain files, or the only variant in the folder. */
  variant?: string;
  /** Folder of the tokenizer; default: `tokenizer` in the model's folder. */
  tokenizer?: string;
  /** What the network predicts; default 'velocity'. */
  prediction?: Prediction;
  /** How weights are kept, as `loadTextToImage` takes it; default 'files', on cuda 'f32'. */
  weights?: WeightChoice;
  /** Low-rank changes of the weights, in kohya's layout; the factor is 1 by default. */
  lora?: readonly { path: string; factor?: number }[];
  /** Edge of a tile in pixels when decoding, which needs less memory; default: the whole picture at once. */
  tile?: number;
  /** Name or address to listen on; default 127.0.0.1, which is reachable from this machine only. */
  host?: string;
  /** Port to listen on, 0 for any free port. Default 8080. */
  port?: number;
  /** Most orders that wait while one is painted; further ones get status 503. Default 16. */
  queue?: number;
  /** Most seconds of one order, which then fails. Default 600. */
  timeout?: number;
  /** Closes the server when aborted. */
  signal?: AbortSignal;
  /** Called while the model loads, with the share of its bytes that is read, and when it is ready. */
  onLoading?: (progress: { part?: string; share: number; summary?: TextToImageSummary }) => void;
  /** Reports that other machines can reach the server, or that an order failed. */
  onNotice?: (text: string) => void;
}

const serveOptions: OptionKinds<ServeTextToImageOptions> = {
  ...servingOptions,
  device: kind('cpu, wasm, cuda or cuda:N', (v) => typeof v === 'string' && deviceNames.test(v)),
  threads: kinds.count,
  precision: oneOf(precisions),
  variant: variantKind,
  tokenizer: kinds.path,
  prediction: oneOf(['velocity', 'noise']),
  weights: oneOf(weightChoices),
  lora: listOf(
    kind('{ path, factor }', (v) => {
      const { path, factor = 1 } = (v ?? {}) as { path?: unknown; factor?: unknown };
      return kinds.path.accepts(path) && kinds.finite.accepts(factor);
    }),
    'low-rank changes { path, factor }',
  ),
  tile: kinds.count,
  onLoading: kinds.callback,
};

/**
 * Serves pictures of texts over HTTP: a page at `GET /`, and for programs `POST /text`, which answers with a job, `GET /jobs/ID`, which says
 * how far it is, `DELETE /jobs/ID`, which cancels it, and `GET /jobs/ID/0.png`; docs/text-to-image.md describes them. One order is painted at a
 * time. The networks run in a thread of their own, so that requests are answered meanwhile.
 * @param path a model as `loadTextToImage` takes it
 * @returns a running server
 * @throws ValueError for a host or port on which this machine cannot listen; RectiflowError for a model that cannot be loaded; the
 * signal's reason if aborted before the server is ready
 * @example
 * const server = await serveTextToImage('instaflow', { port: 0 });
 * const headers = { 'content-type': 'application/json' };
 * const body = JSON.stringify({ prompt: 'a cat', seed: 3, size: 64 });
 * const answer = await fetch(`${server.url}/text`, { method: 'POST', headers, body });
 * answer.status; // 202
 * const job = await fetch(`${server.url}${answer.headers.get('location')}`);
 * job.headers.get('content-type'); // 'application/json'
 * await server.close();
 */
export async function serveTextToImage(path: string, options: ServeTextToImageOptions = {}): Promise<SampleServer> {
  checkArgument('serveTextToImage', 'path', path, kinds.path);
  const checked = checkOptions('serveTextToImage', options, serveOptions);
  const { host = '127.0.0.1', port = 8080, queue = 16, timeout = 600, signal, onNotice = () => {} } = checked;
  const { device, threads, precision, variant, tokenizer, prediction, weights, lora = [], tile, onLoading } = checked;
  signal?.throwIfAborted();
  const onFailure = (error: unknown) => onNotice(`an order failed: ${(error as Error)?.message ?? error}`);
  // Listens first, because loading the networks may take minutes.
  const http = await listenForTexts({ host, port, queue, timeout, onFailure });
  if (!isLoopback(http.address.address))
    onNotice(`${http.url} may be reachable from other machines, and this server has no password`);
  const painter = await openPainter(path, {
    device,
    open: { threads, precision },
    load: { variant, tokenizer, prediction, weights },
    lora: lora.map(({ path: file, factor = 1 }) => ({ path: file, factor })),
    tile,
    signal,
    onNotice,
    onLoading(progress) {
      http.loading(progress.share);
      onLoading?.(progress);
    },
  }).catch(async (error) => {
    await http.close();
    throw error;
  });
  onLoading?.({ share: 1, summary: painter.ready.summary });
  let [tell, fail] = [() => {}, (_: Error) => {}];
  const closed = new Promise<void>((resolve, reject) => {
    [tell, fail] = [resolve, reject];
  });
  closed.catch(() => {});
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= (async () => {
      signal?.removeEventListener('abort', close);
      await http.close();
      await painter.close();
      tell();
    })();
    return closing;
  };
  // The networks are gone, and the server with them.
  painter.broken.then((error) => {
    fail(error);
    return close();
  });
  if (signal?.aborted) {
    await close();
    throw signal.reason;
  }
  signal?.addEventListener('abort', close);
  http.begin(painter);
  return { url: http.url, port: http.address.port, closed, close };
}
