// The command `serve`: draws images from a checkpoint, or makes pictures of texts, for requests over HTTP.
import { UsageError } from '../errors.ts';
import { keysReadBy } from '../run/config/explain.ts';
import { isHost, serveSamples } from '../run/serve/index.ts';
import { serveTextToImage } from '../run/serve/text.ts';
import { weightChoices } from '../run/text/match.ts';
import type { Command, Parsed } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import { startProgress } from './progress.ts';
import {
  checkDevice,
  checkpointOption,
  configHelp,
  configOfCheckpoint,
  deviceOf,
  deviceOptions,
  namedCheckpoint,
  note,
  partialOption,
} from './shared.ts';
import {
  changeOptions,
  loraOption,
  modelOf,
  modelOptions,
  noteWeights,
  precisionOf,
  textDeviceOptions,
  weightsOption,
} from './text_model.ts';

const LAST_PORT = 65535;
/** Seconds of a day. */
const LONGEST_TIMEOUT = 86_400;

/** Options that only one of the two kinds of server has. */
const ofSamples = ['config', 'partial'];
const ofPictures = ['variant', 'tokenizer', 'prediction', 'lora', 'tile', 'weights', 'precision'];

export const serveCommand: Command = {
  name: 'serve',
  details:
    'With --checkpoint: GET /healthz and POST /sample {count, seed, steps, sampler}. With --model: a page, and POST /text {prompt, seed, ...}.',
  overrides: keysReadBy('serve'),
  options: {
    checkpoint: { value: checkpointOption.value, help: checkpointOption.help },
    config: { value: 'CONFIG', help: `${configHelp}; default: the configuration in the checkpoint` },
    partial: partialOption,
    ...modelOptions,
    lora: changeOptions.lora,
    tile: changeOptions.tile,
    host: {
      value: 'HOST',
      help: 'address to listen on; default 127.0.0.1, reachable from this machine only. There is no password',
    },
    port: { value: 'PORT', help: 'port to listen on; default 8080, 0 for any free port' },
    queue: { value: 'N', help: 'requests that may wait; further ones get status 503; default 16' },
    timeout: { value: 'SECONDS', help: 'longest computation of one request, which then gets status 503; default 600' },
    ...deviceOptions,
    weights: { ...weightsOption, help: `with --model: ${weightsOption.help}` },
    precision: textDeviceOptions.precision,
  },
  async run(parsed) {
    if (parsed.has('checkpoint') === parsed.has('model'))
      throw new UsageError('give --checkpoint FILE for samples, or --model DIR for pictures of texts');
    const [other, inert] = parsed.has('model') ? ['--model', ofSamples] : ['--checkpoint', ofPictures];
    const useless = inert.find((name) => parsed.has(name));
    if (useless !== undefined) throw new UsageError(`--${useless} has no effect with ${other}`);
    const listening = listeningOptions(parsed);
    return parsed.has('model') ? servePictures(parsed, listening) : serveCheckpoint(parsed, listening);
  },
};

function listeningOptions(parsed: Parsed) {
  const host = parsed.text('host');
  if (host !== undefined && !isHost(host)) throw new UsageError(`--host expects a name or an address, got "${host}"`);
  const port = parsed.whole('port', 0, LAST_PORT);
  const queue = parsed.whole('queue', 1);
  const timeout = parsed.positive('timeout', LONGEST_TIMEOUT);
  return { host, port, queue, timeout };
}

async function serveCheckpoint(parsed: Parsed, listening: ReturnType<typeof listeningOptions>): Promise<number> {
  const path = await namedCheckpoint(parsed);
  const config = await configOfCheckpoint(parsed, path);
  const device = await deviceOf(parsed, config);
  const partial = parsed.has('partial');
  await runInterruptible(async (signal) => {
    const server = await serveSamples(path, config, { device, partial, ...listening, signal, onNotice: note });
    process.stdout.write(`listening on ${server.url}\n`);
    await server.closed;
  });
  return 0;
}

async function servePictures(parsed: Parsed, listening: ReturnType<typeof listeningOptions>): Promise<number> {
  if (parsed.overrides.length > 0) throw new UsageError('--config.KEY has no effect with --model');
  checkDevice(parsed);
  const { path, ...loading } = modelOf(parsed);
  const lora = loraOption(parsed);
  const progress = startProgress('load %', 100);
  await runInterruptible(async (signal) => {
    const server = await serveTextToImage(path, {
      ...loading,
      ...listening,
      lora,
      tile: parsed.whole('tile', 1),
      device: parsed.text('device'),
      threads: parsed.whole('threads', 1),
      precision: precisionOf(parsed),
      weights: parsed.oneOf('weights', weightChoices),
      signal,
      onLoading({ part, share, summary }) {
        if (summary) noteWeights(summary, loading.prediction);
        else progress.update(Math.floor(100 * share), part ?? '');
      },
      onNotice: note,
    }).finally(() => progress.stop());
    process.stdout.write(`listening on ${server.url}; open it in a browser\n`);
    await server.closed;
  });
  return 0;
}
