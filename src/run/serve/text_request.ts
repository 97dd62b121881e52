// Validation of orders for pictures of texts.
import { createHash } from 'node:crypto';
import {
  checkOptions,
  either,
  kind,
  kinds,
  listOf,
  type OptionKinds,
  oneOf,
  refuseInert,
  wholeFrom,
} from '../../arguments.ts';
import { ArgumentError, RectiflowError, ValueError } from '../../errors.ts';
import { type SolverName, solverNames } from '../../flow/index.ts';
import { megabytes } from '../machine/resources.ts';
import { pictureMemory } from '../text/costs.ts';
import { HttpError } from './request.ts';
import type { PaintOrder, Ready } from './text_painter.ts';

/** Pictures of one order. */
export const MOST_PICTURES = 16;
export const MOST_STEPS = 1000;
/** Pixels of an edge. */
export const MOST_EDGE = 2048;
/** Characters of a text; a text network reads 75 tokens. */
const MOST_CHARACTERS = 2000;

/** Bytes of a body: latents of pictures of 512 x 512, 64 kB each in base64 of f32, are the largest part. */
export const MOST_TEXT_BODY = 2 ** 21;
/** Characters of latents in it. */
const MOST_LATENTS = MOST_TEXT_BODY - 2 ** 16;

/** The body of `POST /text`. */
interface TextBody {
  prompt: string | readonly string[];
  negative?: string;
  steps?: number;
  sampler?: SolverName;
  guidance?: number;
  seed?: number;
  noise?: 'torch' | 'own';
  /** Base64 of f32, little endian, [N, C, h, w]: one latent for each picture in place of noise. */
  latents?: string;
  count?: number;
  size?: number | readonly [number, number];
}

const text = kind(
  `a text of at most ${MOST_CHARACTERS} characters`,
  (value) => typeof value === 'string' && value.length <= MOST_CHARACTERS,
);
const edge = wholeFrom(8, MOST_EDGE);
const edges = listOf(edge, `whole numbers from 8 to ${MOST_EDGE}`, 2);

const bodyKinds: OptionKinds<TextBody> = {
  prompt: either(text, listOf(text, `texts of at most ${MOST_CHARACTERS} characters`)),
  negative: text,
  steps: wholeFrom(1, MOST_STEPS),
  sampler: oneOf(solverNames),
  guidance: kind('a number from 0 to 100', (value) => kinds.notNegative.accepts(value) && (value as number) <= 100),
  seed: kinds.whole,
  noise: oneOf(['torch', 'own']),
  latents: kind(
    `base64 of at most ${MOST_LATENTS} characters`,
    (value) => typeof value === 'string' && value.length <= MOST_LATENTS && /^[A-Za-z0-9+/]+={0,2}$/.test(value),
  ),
  count: wholeFrom(1, MOST_PICTURES),
  size: kind(
    `a whole number from 8 to ${MOST_EDGE}, or [height, width]`,
    (value) => edge.accepts(value) || edges.accepts(value),
  ),
};

/** Reads the order in a body. @throws HttpError 400 saying what is wrong with it */
export function paintOrderOf(body: unknown, ready: Ready): PaintOrder {
  try {
    return orderOf(body, ready);
  } catch (error) {
    if (error instanceof RectiflowError) throw new HttpError(400, error.message);
    throw error;
  }
}

function orderOf(body: unknown, { summary, available, device, tile }: Ready): PaintOrder {
  const checked = checkOptions('text', body as TextBody, bodyKinds, ['prompt']);
  const { prompt, negative, steps, sampler = 'euler', guidance = 0, seed = 0, noise = 'torch', count = 1 } = checked;
  const { size: asked = 64 * summary.factor } = checked;
  if (checked.latents !== undefined)
    refuseInert('text', checked, ['seed', 'noise'], 'with latents, which are the noise');
  const prompts = typeof prompt === 'string' ? [prompt] : [...prompt];
  const size = typeof asked === 'number' ? ([asked, asked] as const) : asked;
  const pictures = prompts.length * count;
  if (pictures < 1 || pictures > MOST_PICTURES)
    throw new ValueError(`[text] expected 1 to ${MOST_PICTURES} pictures, got ${pictures}`);
  if (size.some((length) => length % summary.factor !== 0))
    throw new ValueError(`[text] expected a size of multiples of ${summary.factor}, got ${size.join(' x ')}`);
  if (sampler === 'rk45' && steps !== undefined)
    throw new ArgumentError('text', 'no steps with the sampler rk45, which chooses its own', String(steps));
  if (negative !== undefined && guidance <= 1)
    throw new ArgumentError('text', 'no negative text without a guidance above 1', JSON.stringify(negative));
  const { peak } = pictureMemory(
    summary,
    { size, guidance, count: pictures, tile: tile && tile / summary.factor },
    device.startsWith('cuda') ? 'cuda' : 'cpu',
  );
  if (peak > available)
    throw new ValueError(
      `[text] a picture of ${size.join(' x ')} and the weights take ${megabytes(peak)}, which is more than there is`,
    );
  return {
    prompts,
    ...(guidance > 1 && { negative: negative ?? '' }),
    guidance,
    sampler,
    ...(sampler !== 'rk45' && { steps: steps ?? 1 }),
    ...(checked.latents === undefined ? { seed, noise } : startOf(checked.latents, [pictures, ...size], summary)),
    count,
    size,
  };
}

/** The latents of pictures from base64, and their record. @throws ArgumentError, ValueError */
function startOf(
  text: string,
  [pictures, height, width]: readonly number[],
  { factor, networks }: Ready['summary'],
): Pick<PaintOrder, 'latents' | 'start'> {
  const bytes = Buffer.from(text, 'base64');
  const shape = [pictures, networks.vae.latentChannels, height / factor, width / factor];
  const numbers = shape.reduce((product, size) => product * size, 1);
  if (bytes.length !== 4 * numbers)
    throw new ArgumentError('text', `latents f32 [${shape.join(', ')}], ${4 * numbers} bytes`, `${bytes.length} bytes`);
  const start = Float32Array.from({ length: numbers }, (_, i) => bytes.readFloatLE(4 * i));
  const wrong = start.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) throw new ValueError(`[text] expected finite latents, got ${start[wrong]} at ${wrong}`);
  const fingerprint = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  return { latents: { name: 'latents', fingerprint }, start };
}
