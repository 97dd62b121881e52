// The HTTP layer of the servers of samples and of pictures. Everything a client can send has a limit in time, bytes and number, and
// nothing is computed for clients that have disconnected.
import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { RectiflowError, ValueError } from '../../errors.ts';
import { HttpError, isLoopback, refuseForeignPages, targetOf } from './request.ts';

/** Time limits for clients, in milliseconds. */
export interface Times {
  /** Time to receive the headers of a request. */
  headers: number;
  /** Time to receive a whole request. */
  request: number;
  /** Time for which a connection may be idle between two requests. */
  idle: number;
  /** Time to send an answer, in addition to its size divided by `rate`. */
  send: number;
  /** Lowest rate at which a client may read an answer, in bytes per millisecond. */
  rate: number;
}

const TIMES: Times = { headers: 10_000, request: 20_000, idle: 5_000, send: 30_000, rate: 64 };
/** Most requests that a connection may pipeline without reading their answers. */
const MOST_PIPELINED = 64;

const MOST_CONNECTIONS = 512;
const MOST_HEADER_BYTES = 8 * 1024;
/** Bytes of unsent answers above which no further order is accepted. */
const MOST_UNSENT = 2 ** 27;
/** Milliseconds for which a refused connection is still read, so that its client receives the answer. */
const LINGER_MS = 1000;
/** Milliseconds to send the answers to interrupted requests when the server closes. */
const FAREWELL_MS = 500;

export interface HttpOptions {
  host: string;
  port: number;
  times?: Partial<Times>;
  /** Called with errors that the client did not cause. */
  onFailure?: (error: unknown) => void;
}

export interface HttpServer {
  url: string;
  /** The actual address and port, resolved from a name or port 0. */
  address: AddressInfo;
  /** The state of its connections. */
  load(): Load;
  /** Raises time limits for a server that blocks the event loop for that many seconds at once. */
  expectBlocking(seconds: number): void;
  /** Stops listening and ends all requests. Resolves when all connections are closed and nothing is being computed. */
  close(): Promise<void>;
}

/** The state of a server's connections. */
export interface Load {
  connections: number;
  /** Seconds since the server began to listen. */
  uptime: number;
  /** Whether the answers that wait to be read are too large for further work to begin. */
  clogged: boolean;
}

export interface Reply {
  status: number;
  type: 'image/png' | 'application/json' | 'text/plain; charset=utf-8' | 'text/html; charset=utf-8';
  body: Uint8Array | string;
  headers?: Record<string, string>;
}

/**
 * Answers a request.
 * @param proceed must be called before reading the body; sends "100 Continue" if the client expects it
 */
export type Answer = (request: IncomingMessage, signal: AbortSignal, proceed: () => void) => Promise<Reply>;

/** What a server answers. */
export interface Service {
  /** Its paths, for those who ask for another. */
  paths: readonly string[];
  /** The answers of a path by method, GET also for HEAD; undefined for a path that does not exist. */
  methodsOf(path: string): Readonly<Record<string, Answer>> | undefined;
  /** Called when the server closes. Resolves when nothing is being computed. */
  end(): Promise<void>;
}

/** A connection: its unanswered requests, and the bytes of its unsent answers. */
interface Connection {
  pending: Map<IncomingMessage, AbortController>;
  unsent: number;
}

export const jsonReply = (status: number, value: unknown, headers: Record<string, string> = {}): Reply => ({
  status,
  type: 'application/json',
  body: `${JSON.stringify(value)}\n`,
  headers,
});

const errorReply = (status: number, text: string, headers: Record<string, string> = {}): Reply =>
  jsonReply(status, { error: text }, headers);

/** Starts to listen. @throws ValueError for a host or port on which this machine cannot listen */
export async function listen(options: HttpOptions, service: Service): Promise<HttpServer> {
  const { host, port, onFailure } = options;
  const times = { ...TIMES, ...options.times };
  const began = performance.now();
  const connections = new Map<Socket, Connection>();
  let ownNames: string[] | undefined;
  let unsent = 0;
  let closed: Promise<void> | undefined;

  const ending = () => new HttpError(503, 'the server is shutting down', { connection: 'close' });

  function refusal(error: unknown): Reply {
    if (error instanceof HttpError) return errorReply(error.status, error.message, error.headers);
    onFailure?.(error);
    return errorReply(500, error instanceof RectiflowError ? error.message.split('\n')[0] : 'internal server error');
  }

  async function answer(...[request, signal, proceed]: Parameters<Answer>): Promise<Reply> {
    if (closed) throw ending();
    const { expect = '100-continue' } = request.headers;
    if (expect.toLowerCase() !== '100-continue')
      throw new HttpError(417, 'the only supported expectation is 100-continue');
    refuseForeignPages(request, ownNames);
    const { path } = targetOf(request);
    const methods = path === '*' ? {} : service.methodsOf(path);
    if (!methods) throw new HttpError(404, `not found; the paths are ${service.paths.join(', ')}`);
    const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '');
    if (Object.hasOwn(methods, method)) return methods[method](request, signal, proceed);
    const allowed = Object.keys(methods).flatMap((name) => (name === 'GET' ? ['GET', 'HEAD'] : [name]));
    throw new HttpError(405, `method not allowed; this path allows ${allowed.join(', ') || 'none'}`, {
      allow: allowed.join(', '),
    });
  }

  function take(request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void {
    handle(request, response, awaitsContinue).catch((error) => {
      request.socket.destroy();
      onFailure?.(error);
    });
  }

  async function handle(request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): Promise<void> {
    const { socket } = request;
    const connection = connections.get(socket);
    // The client disconnected while its request was parsed.
    if (!connection || socket.destroyed) return;
    if (connection.pending.size >= MOST_PIPELINED) {
      socket.destroy();
      return;
    }
    const controller = new AbortController();
    connection.pending.set(request, controller);
    // The socket's close event handles a client that disconnects.
    request.on('error', () => {});
    response.on('error', () => {});
    let continued = !awaitsContinue;
    const proceed = () => {
      if (!continued) response.writeContinue();
      continued = true;
    };
    const reply = await answer(request, controller.signal, proceed).catch(refusal);
    connection.pending.delete(request);
    if (response.destroyed || !connections.has(socket)) return;
    const { status, type, headers } = reply;
    const body = typeof reply.body === 'string' ? Buffer.from(reply.body) : reply.body;
    response.writeHead(status, {
      'content-type': type,
      'content-length': body.length,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      // A client that received no "100 Continue" may or may not send its body.
      ...((closed || !continued) && { connection: 'close' }),
      ...headers,
    });
    response.end(request.method === 'HEAD' ? undefined : body);
    unsent += body.length;
    connection.unsent += body.length;
    const limitSending = () => {
      const timer = setTimeout(() => socket.destroy(), times.send + body.length / times.rate);
      response.once('close', () => {
        clearTimeout(timer);
        // The close of the connection already subtracted all of its answers.
        if (!connections.has(socket)) return;
        unsent -= body.length;
        connection.unsent -= body.length;
      });
    };
    // A pipelined answer has no socket until those before it are sent.
    if (response.socket) limitSending();
    else response.once('socket', limitSending);
  }

  /** Answers a request that the HTTP parser rejects, and ends the connection. */
  function refuseRaw(socket: Socket, status: number, text: string, headers = ''): void {
    if (socket.writableEnded) return;
    const body = errorReply(status, text).body;
    socket.end(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/json\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\n${headers}connection: close\r\n\r\n${body}`,
    );
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
  }

  const server = createServer(
    {
      maxHeaderSize: MOST_HEADER_BYTES,
      headersTimeout: times.headers,
      requestTimeout: times.request,
      keepAliveTimeout: times.idle,
      connectionsCheckingInterval: Math.min(1000, times.headers),
      // refuseForeignPages checks it and answers in JSON.
      requireHostHeader: false,
    },
    (request, response) => take(request, response, false),
  );
  server.maxConnections = MOST_CONNECTIONS;
  server.on('checkContinue', (request, response) => take(request, response, true));
  server.on('checkExpectation', (request, response) => take(request, response, true));
  server.on('connect', (_, socket) =>
    refuseRaw(socket as Socket, 405, 'this server is not a proxy', 'allow: GET, HEAD, POST\r\n'),
  );
  server.on('connection', (socket) => {
    const connection: Connection = { pending: new Map(), unsent: 0 };
    connections.set(socket, connection);
    socket.on('error', () => {});
    socket.once('close', () => {
      connections.delete(socket);
      unsent -= connection.unsent;
      for (const controller of connection.pending.values())
        controller.abort(new HttpError(499, 'the client disconnected'));
    });
  });
  server.on('clientError', (error: NodeJS.ErrnoException, duplex) => {
    const socket = duplex as Socket;
    const pending = [...(connections.get(socket)?.pending.keys() ?? [])];
    // Otherwise the client would take this answer for that of an earlier request.
    const foremost = pending.length === 0 || (pending.length === 1 && !pending[0].complete);
    if (!socket.writable || error.code === 'ECONNRESET' || !foremost) socket.destroy();
    else if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') refuseRaw(socket, 408, 'the request was not received in time');
    else if (error.code === 'HPE_HEADER_OVERFLOW')
      refuseRaw(socket, 431, `the headers of a request may have at most ${MOST_HEADER_BYTES} bytes`);
    else refuseRaw(socket, 400, 'not an HTTP/1.1 request');
  });

  await new Promise<void>((resolve, reject) => {
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (server.listening) return onFailure?.(error);
      const why = reasons[error.code ?? ''] ?? error.message;
      reject(new ValueError(`cannot listen on ${addressText(host, port)}: ${why}`, { cause: error }));
    });
    server.listen({ host, port }, resolve);
  });
  const address = server.address() as AddressInfo;
  if (isLoopback(address.address)) ownNames = [host.toLowerCase()];

  return {
    url: `http://${addressText(host, address.port)}`,
    address,
    load: () => ({
      connections: connections.size,
      uptime: Math.round(performance.now() - began) / 1000,
      clogged: unsent > MOST_UNSENT,
    }),
    expectBlocking(seconds) {
      // Requests that are received while the event loop is blocked do not count as late.
      const least = 4000 * seconds;
      server.headersTimeout = Math.max(times.headers, least);
      server.requestTimeout = Math.max(times.request, least);
      server.keepAliveTimeout = Math.max(times.idle, least);
    },
    close() {
      closed ??= (async () => {
        const ended = new Promise<void>((resolve) => server.close(() => resolve()));
        for (const { pending } of connections.values())
          for (const controller of pending.values()) controller.abort(ending());
        server.closeIdleConnections();
        const timer = setTimeout(() => server.closeAllConnections(), FAREWELL_MS);
        await ended;
        clearTimeout(timer);
        await service.end();
      })();
      return closed;
    },
  };
}

const reasons: Record<string, string> = {
  EADDRINUSE: 'the port is in use by another program',
  EACCES: 'permission denied',
  EADDRNOTAVAIL: 'this machine does not have that address',
  ENOTFOUND: 'unknown host',
};

function addressText(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
