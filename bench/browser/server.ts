// A server for pages of this machine, isolated, so that they may share memory between threads.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname } from 'node:path';

const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };

/** Serves files by address: a path on disk, or a text that begins with a line break. */
export async function serveIsolated(files: Record<string, string>): Promise<{ url: string; close: () => void }> {
  const server = createServer(({ url = '' }, response) => {
    const file = files[url.replace(/[?#].*/s, '')];
    if (file === undefined) return void response.writeHead(404).end();
    const text = file.startsWith('\n');
    const type = types[text ? extname(url) || '.html' : extname(file)] ?? 'application/octet-stream';
    response.writeHead(200, {
      'content-type': type,
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    });
    response.end(text ? file : readFileSync(file));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
