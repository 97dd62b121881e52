// The thread that holds the networks of the server of pictures. Kernels block the event loop of their thread for seconds; here they
// leave that of the server free, and a picture can be cancelled between two kernels.
import { parentPort, workerData } from 'node:worker_threads';
import { checkBetweenKernels } from '../../device/interruption.ts';
import { openDevice } from '../../device/open.ts';
import { openDefaultDevice } from '../../device/open_default.ts';
import { RectiflowError, ValueError } from '../../errors.ts';
import { encodePng } from '../../io/index.ts';
import { deviceMemory } from '../machine/resources.ts';
import type { TextToImageOptions } from '../text/generate_options.ts';
import { loadTextToImage } from '../text/load.ts';
import { type PictureRecord, pngTextsOf, type RecordedFile, recordFile } from '../text/record.ts';
import type { TextToImageSummary } from '../text/survey.ts';
import type { FromWorker, PaintOrder, ToWorker, WorkerStart } from './text_painter.ts';

const CANCELLED = 'cancelled';

async function serve(port: NonNullable<typeof parentPort>): Promise<void> {
  const { path, device: named, open, load, lora, tile, cancelled } = workerData as WorkerStart;
  const flag = new Int32Array(cancelled);
  const tell = (message: FromWorker, moved: ArrayBuffer[] = []) => port.postMessage(message, moved);
  const onNotice = (text: string) => tell({ kind: 'notice', text });
  const device = await (named === undefined ? openDefaultDevice('cpu', open, onNotice) : openDevice(named, open));
  let summary: TextToImageSummary | undefined;
  let bytes = 0;
  const model = await loadTextToImage(path, {
    ...load,
    weights: load.weights ?? (device.kind === 'cuda' ? 'f32' : 'files'),
    encoder: false,
    device,
    onFound: (found) => {
      requireTile(tile, found.factor);
      summary = found;
    },
    onProgress({ part, bytes: read }) {
      bytes += read;
      tell({ kind: 'loading', part, share: bytes / (summary as TextToImageSummary).loadedBytes });
    },
  });
  const found = summary as TextToImageSummary;
  const files = [...new Set(found.parts.flatMap((part) => part.files))];
  const name = await recordFile(path, files);
  const { prediction } = model;
  const changes: (RecordedFile & { factor: number })[] = [];
  for (const { path: file, factor } of lora) {
    onNotice(`${await model.addLora(file, factor)} weights changed by ${file}`);
    changes.push({ ...(await recordFile(file)), factor });
  }
  const available = deviceMemory(device);
  tell({
    kind: 'ready',
    summary: found,
    device: device.name,
    precision: device.precision,
    available,
    prediction,
    tile,
  });

  port.on('message', async ({ number, order }: ToWorker) => {
    const isCancelled = () => Atomics.load(flag, 0) === number;
    const check = checkBetweenKernels(() => {
      if (isCancelled()) throw CANCELLED;
    });
    try {
      const { images, shape, notes, seconds, nfe } = await model.generate({
        ...requestOf(order),
        tile: tile && tile / found.factor,
        onProgress: (progress) => {
          if (isCancelled()) throw CANCELLED;
          tell({ kind: 'progress', number, progress });
        },
      });
      const { start: _, ...recorded } = order;
      const record: PictureRecord = {
        model: name,
        prediction,
        ...(changes.length > 0 && { lora: changes }),
        ...recorded,
        ...(tile !== undefined && { tile }),
        device: device.name,
        precision: device.precision,
      };
      const [count, height, width, channels] = shape;
      const pictures: Uint8Array<ArrayBuffer>[] = [];
      for (let i = 0; i < count; i++) {
        const data = images.slice((i * images.length) / count, ((i + 1) * images.length) / count);
        const png = await encodePng({ width, height, channels, data }, { texts: pngTextsOf(record, i) });
        pictures.push(new Uint8Array(png));
      }
      tell(
        { kind: 'done', number, pictures, notes, seconds, nfe },
        pictures.map(({ buffer }) => buffer),
      );
    } catch (error) {
      if (error === CANCELLED) tell({ kind: 'cancelled', number });
      else tell({ kind: 'failed', number, ...describe(error) });
    } finally {
      check[Symbol.dispose]();
    }
  });
}

function requestOf({ prompts, size, negative, latents: _, start, ...order }: PaintOrder): TextToImageOptions {
  return {
    prompt: prompts,
    size,
    ...(negative !== undefined && { negative }),
    ...order,
    ...(start && { latents: start }),
  };
}

/** @throws ValueError for a tile that the decoder does not have */
function requireTile(tile: number | undefined, factor: number): void {
  if (tile !== undefined && (tile % factor !== 0 || tile < 8 * factor))
    throw new ValueError(`tile expects a multiple of ${factor} pixels, at least ${8 * factor}, got ${tile}`);
}

/** The message of an error, and whether it is one that this package expects. */
function describe(error: unknown): { text: string; known: boolean } {
  const known = error instanceof RectiflowError;
  return { text: known ? error.message : ((error as Error)?.stack ?? String(error)), known };
}

if (parentPort) {
  const port = parentPort;
  serve(port).catch((error) => port.postMessage({ kind: 'broken', ...describe(error) } satisfies FromWorker));
}
