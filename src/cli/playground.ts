// The command `playground`: serves the page that draws clouds and trains flows between them, to this machine alone. The page computes in
// the browser; the headers isolate it, so that it may share memory between threads.
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { UsageError, ValueError } from '../errors.ts';
import type { Command } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import { openAddress } from './open_file.ts';

const PAGE = fileURLToPath(new URL('../../dist/playground/index.html', import.meta.url));
const HOST = '127.0.0.1';
const DEFAULT_PORT = 8090;
const LAST_PORT = 65535;

/** Headers of the page: it loads nothing from elsewhere, and starts workers from its own text. */
const headers = {
  'content-type': 'text/html; charset=utf-8',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
};

export const playgroundCommand: Command = {
  name: 'playground',
  details:
    'The page is one file, dist/playground/index.html in the package, which also works from disk and from any web server.',
  overrides: 'none',
  options: {
    port: { value: 'PORT', help: `port to listen on; default ${DEFAULT_PORT}, 0 for any free port` },
    open: { help: 'open the page in the browser' },
  },
  async run(parsed) {
    const port = parsed.whole('port', 0, LAST_PORT) ?? DEFAULT_PORT;
    const page = readPage();
    await runInterruptible(async (signal) => {
      const server = createServer((request, response) => answer(request, response, page));
      const address = await listen(server, port);
      const closed = new Promise<void>((resolve) => server.once('close', resolve));
      const close = () => {
        server.close();
        server.closeAllConnections();
      };
      signal.addEventListener('abort', close);
      if (signal.aborted) close();
      process.stdout.write(`listening on ${address}\n`);
      if (parsed.has('open')) openAddress(address);
      await closed;
    });
    return 0;
  },
};

/** @throws UsageError where the page was not built */
function readPage(): Buffer {
  try {
    return readFileSync(PAGE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new UsageError('the page of the playground is not built; run `npm run build:playground` in the repository');
  }
}

function answer({ method, url = '' }: IncomingMessage, response: ServerResponse, page: Buffer): void {
  const path = url.replace(/[?#].*/s, '');
  if (method !== 'GET' && method !== 'HEAD') return void response.writeHead(405, { allow: 'GET, HEAD' }).end();
  if (path !== '/' && path !== '/index.html') return void response.writeHead(404).end();
  response.writeHead(200, { ...headers, 'content-length': page.length }).end(method === 'HEAD' ? undefined : page);
}

/** @returns the address @throws ValueError for a port that is in use or not allowed */
function listen(server: Server, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', ({ code }: NodeJS.ErrnoException) =>
      reject(new ValueError(`cannot listen on ${HOST} port ${port} (${code}); choose another --port, or 0 for any`)),
    );
    server.listen(port, HOST, () => resolve(`http://${HOST}:${(server.address() as AddressInfo).port}/`));
  });
}
