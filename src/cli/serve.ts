// The command `serve`: draws images from a checkpoint for requests over HTTP.
import { UsageError } from '../errors.ts';
import { keysReadBy } from '../run/config/explain.ts';
import { isHost, serveSamples } from '../run/serve/index.ts';
import type { Command } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import {
  checkpointOption,
  configHelp,
  configOfCheckpoint,
  deviceOf,
  deviceOptions,
  namedCheckpoint,
  note,
  partialOption,
} from './shared.ts';

const LAST_PORT = 65535;
/** Seconds of a day. */
const LONGEST_TIMEOUT = 86_400;

export const serveCommand: Command = {
  name: 'serve',
  details: 'Answers GET /healthz and POST /sample {count, seed, steps, sampler}.',
  overrides: keysReadBy('serve'),
  options: {
    checkpoint: checkpointOption,
    config: { value: 'CONFIG', help: `${configHelp}; default: the configuration in the checkpoint` },
    partial: partialOption,
    host: {
      value: 'HOST',
      help: 'address to listen on; default 127.0.0.1, reachable from this machine only. There is no password',
    },
    port: { value: 'PORT', help: 'port to listen on; default 8080, 0 for any free port' },
    queue: { value: 'N', help: 'requests that may wait; further ones get status 503; default 16' },
    timeout: { value: 'SECONDS', help: 'longest computation of one request, which then gets status 503; default 600' },
    ...deviceOptions,
  },
  async run(parsed) {
    const host = parsed.text('host');
    if (host !== undefined && !isHost(host)) throw new UsageError(`--host expects a name or an address, got "${host}"`);
    const port = parsed.whole('port', 0, LAST_PORT);
    const queue = parsed.whole('queue', 1);
    const timeout = parsed.positive('timeout', LONGEST_TIMEOUT);
    const path = await namedCheckpoint(parsed);
    const config = await configOfCheckpoint(parsed, path);
    const device = await deviceOf(parsed, config);
    const partial = parsed.has('partial');
    await runInterruptible(async (signal) => {
      const listening = { host, port, queue, timeout };
      const server = await serveSamples(path, config, { device, partial, ...listening, signal, onNotice: note });
      process.stdout.write(`listening on ${server.url}\n`);
      await server.closed;
    });
    return 0;
  },
};
