// The networks of the server of pictures, in a thread of their own.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Precision } from '../../device/device.ts';
import type { OpenOptions } from '../../device/open.ts';
import { RectiflowError } from '../../errors.ts';
import type { TextToImageProgress } from '../text/generate_options.ts';
import type { LoadTextToImageOptions } from '../text/load.ts';
import type { PictureRecord } from '../text/record.ts';
import type { TextToImageSummary } from '../text/survey.ts';
import type { Pictures, Prediction } from '../text/text_to_image.ts';

/** What pictures are asked for. */
export type PaintOrder = Pick<
  PictureRecord,
  | 'prompts'
  | 'negative'
  | 'guidance'
  | 'sampler'
  | 'steps'
  | 'tolerance'
  | 'seed'
  | 'noise'
  | 'latents'
  | 'count'
  | 'size'
> & {
  /** The noise that `latents` names, [N, C, h, w] as in PyTorch. */
  start?: Float32Array;
};

/** What the thread is started with. */
export interface WorkerStart {
  path: string;
  /** The name of a device; default: the processor. */
  device?: string;
  open: OpenOptions;
  load: Pick<LoadTextToImageOptions, 'variant' | 'tokenizer' | 'prediction' | 'weights'>;
  /** Low-rank changes of the weights, in order. */
  lora: readonly { path: string; factor: number }[];
  /** Edge of a tile of the decoder, in pixels. */
  tile?: number;
  /** One i32: the number of the order that is cancelled. */
  cancelled: SharedArrayBuffer;
}

export interface ToWorker {
  number: number;
  order: PaintOrder;
}

export type FromWorker =
  | { kind: 'notice'; text: string }
  | { kind: 'loading'; part: string; share: number }
  | {
      kind: 'ready';
      summary: TextToImageSummary;
      device: string;
      precision: Precision;
      /** Bytes of memory of the device. */
      available: number;
      prediction: Prediction;
      /** Edge of a tile of the decoder, in pixels. */
      tile?: number;
    }
  | { kind: 'progress'; number: number; progress: TextToImageProgress }
  | ({ kind: 'done'; number: number } & Painted)
  | { kind: 'cancelled'; number: number }
  | { kind: 'failed'; number: number; text: string; known: boolean }
  | { kind: 'broken'; text: string; known: boolean };

/** PNG files, and how they were made. */
export interface Painted extends Pick<Pictures, 'notes' | 'seconds' | 'nfe'> {
  pictures: Uint8Array<ArrayBuffer>[];
}

/** What is known about the networks once they are loaded. */
export type Ready = Extract<FromWorker, { kind: 'ready' }>;

export interface Painter {
  ready: Ready;
  /** Makes the pictures of one order at a time. @throws the signal's reason soon after it is aborted */
  paint(order: PaintOrder, signal: AbortSignal, onProgress: (progress: TextToImageProgress) => void): Promise<Painted>;
  /** Resolves with the reason if the thread ends by itself. */
  broken: Promise<Error>;
  close(): Promise<void>;
}

export interface OpenPainterOptions extends Pick<WorkerStart, 'device' | 'open' | 'load' | 'lora' | 'tile'> {
  onNotice: (text: string) => void;
  onLoading: (progress: { part: string; share: number }) => void;
  signal?: AbortSignal;
}

/** The program of the thread: a file next to this one, in TypeScript where this one is. */
function program(): { url: URL; execArgv: string[] } {
  const source = import.meta.url.endsWith('.ts');
  // A variable, because bundlers would take the file into their output.
  const name = `./text_worker.${source ? 'ts' : 'js'}`;
  return { url: new URL(name, import.meta.url), execArgv: source ? ['--import', compiler()] : [] };
}

/** What lets Node read TypeScript, in a checkout of this project. */
function compiler(): string {
  const { resolve } = createRequire(import.meta.url);
  return new URL('jiti-register.mjs', pathToFileURL(resolve('jiti'))).href;
}

/** Loads the networks. @throws what loadTextToImage throws; the signal's reason when aborted */
export async function openPainter(path: string, options: OpenPainterOptions): Promise<Painter> {
  const { device, open, load, lora, tile, onNotice, onLoading, signal } = options;
  const cancelled = new SharedArrayBuffer(4);
  const flag = new Int32Array(cancelled);
  const { url, execArgv } = program();
  const worker = new Worker(url, {
    workerData: { path, device, open, load, lora, tile, cancelled } satisfies WorkerStart,
    execArgv,
  });
  let number = 0;
  let current: { onMessage: (message: FromWorker) => void; fail: (error: Error) => void } | undefined;
  let closing = false;
  let tellBroken: (error: Error) => void = () => {};
  const broken = new Promise<Error>((resolve) => {
    tellBroken = resolve;
  });
  const fail = (error: Error) => {
    if (closing) return;
    tellBroken(error);
    current?.fail(error);
  };
  worker.on('error', fail);
  worker.on('exit', (code) => fail(new RectiflowError(`the thread of the networks ended with ${code}`)));
  const close = async () => {
    closing = true;
    await worker.terminate();
  };
  const ready = await new Promise<Ready>((resolve, reject) => {
    const abort = () => reject(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    broken.then(reject);
    worker.on('message', (message: FromWorker) => {
      if (message.kind === 'notice') onNotice(message.text);
      else if (message.kind === 'loading') onLoading(message);
      else if (message.kind === 'broken') reject(errorOf(message));
      else if (message.kind === 'ready') {
        signal?.removeEventListener('abort', abort);
        resolve(message);
      } else current?.onMessage(message);
    });
    if (signal?.aborted) abort();
  }).catch(async (error) => {
    await close();
    throw error;
  });
  return {
    ready,
    broken,
    close,
    paint(order, jobSignal, onProgress) {
      const own = ++number;
      return new Promise<Painted>((resolve, reject) => {
        jobSignal.throwIfAborted();
        const cancel = () => Atomics.store(flag, 0, own);
        jobSignal.addEventListener('abort', cancel, { once: true });
        const end = (settle: () => void) => {
          jobSignal.removeEventListener('abort', cancel);
          current = undefined;
          settle();
        };
        current = {
          fail: (error) => end(() => reject(error)),
          onMessage(message) {
            if (message.kind === 'progress') onProgress(message.progress);
            else if (message.kind === 'done') end(() => resolve(message));
            else if (message.kind === 'cancelled') end(() => reject(jobSignal.reason));
            else if (message.kind === 'failed') end(() => reject(errorOf(message)));
          },
        };
        worker.postMessage({ number: own, order } satisfies ToWorker);
      });
    },
  };
}

function errorOf({ text, known }: { text: string; known: boolean }): Error {
  return known ? new RectiflowError(text) : new Error(text);
}
