// Validation of requests: headers, body, and the order for samples in it.
import type { IncomingMessage } from 'node:http';
import { checkOptions, kinds, type OptionKinds, oneOf, wholeFrom } from '../../arguments.ts';
import { ArgumentError } from '../../errors.ts';
import { type SolverName, solverNames } from '../../flow/index.ts';

/** A refused request: status, message for the client, and additional headers. */
export class HttpError extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** A client's order for samples. */
export interface Order {
  count: number;
  seed: number;
  sampler: SolverName;
  /** undefined for rk45, which chooses its own steps. */
  steps: number | undefined;
}

/** Limits and defaults of an order. */
export interface OrderRules {
  mostCount: number;
  mostSteps: number;
  seed: number;
  sampler: SolverName;
  steps: number;
}

/** Default of "count", unless the limit is lower. */
const DEFAULT_COUNT = 16;

/** Longest body in bytes; an order has less than 100. */
const MOST_BODY = 16 * 1024;

/** @returns path and query of a request. @throws HttpError 400 for a target that is not a path */
export function targetOf({ url = '' }: IncomingMessage): { path: string; query: string } {
  // After two slashes, a host name would follow. Proxies send absolute URLs, which servers must accept.
  if (url === '*') return { path: url, query: '' };
  if (!url.startsWith('//') && URL.canParse(url, 'http://localhost')) {
    const { pathname, search } = new URL(url, 'http://localhost');
    return { path: pathname, query: search };
  }
  throw new HttpError(400, 'the request target is not a path');
}

/**
 * Refuses requests of other web pages through the browser of a local user (CSRF, DNS rebinding). A browser sends the
 * page's origin in Origin and the server's name in Host; a page can make its own name resolve to this machine.
 * @param ownNames accepted values of Host if the server listens on the loopback interface only; undefined accepts any
 * @throws HttpError 400, 403, 421
 */
export function refuseForeignPages({ headers, httpVersion }: IncomingMessage, ownNames?: readonly string[]): void {
  const { host, origin } = headers;
  if (host === undefined) {
    if (httpVersion === '1.1') throw new HttpError(400, 'an HTTP/1.1 request requires the header Host');
  } else {
    if (!URL.canParse(`http://${host}`)) throw new HttpError(400, 'the header Host is not a host');
    const { hostname } = new URL(`http://${host}`);
    if (ownNames && !isLoopback(hostname) && !ownNames.includes(hostname))
      throw new HttpError(421, 'this server listens on the loopback interface and accepts only localhost as Host');
  }
  if (origin !== undefined && !(URL.canParse(origin) && new URL(origin).host === host))
    throw new HttpError(403, 'cross-origin requests are not allowed');
}

/** Whether a name or address, IPv6 with or without brackets, is a loopback one, which other machines cannot reach. */
export function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost|(::ffff:)?127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host);
}

const types = ['image/png', 'application/json'] as const;
export type AnswerType = (typeof types)[number];

/** The type that a client prefers, by RFC 9110, 12.5.1. @throws HttpError 406 if it accepts neither */
export function answerType({ headers }: IncomingMessage): AnswerType {
  const ranges = (headers.accept?.trim() || '*/*').split(',').map((text) => {
    const [range, ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
    const weight = parameters.find((parameter) => parameter.startsWith('q='));
    return { range, weight: weight === undefined ? 1 : Number(weight.slice(2)) };
  });
  const ranked = types.map((type) => {
    // The most specific range counts.
    const names = [type, `${type.slice(0, type.indexOf('/'))}/*`, '*/*'];
    const [found = { weight: 0, vague: names.length }] = names.flatMap((name, vague) =>
      ranges.filter(({ range }) => range === name).map(({ weight }) => ({ weight, vague })),
    );
    return { type, ...found };
  });
  const [best] = ranked.sort((a, b) => b.weight - a.weight || a.vague - b.vague);
  if (best.weight > 0) return best.type;
  throw new HttpError(406, `samples are available as ${types.join(' or ')}`);
}

const tooLong = (most: number) => new HttpError(413, `the body may have at most ${most} bytes`);

/** Checks the headers of a body before it is read. @param most bytes of it @throws HttpError 413, 415 */
export function checkBody({ headers }: IncomingMessage, most = MOST_BODY): void {
  const length = Number(headers['content-length'] ?? 0);
  // Without a body, all options have their defaults.
  if (length === 0 && headers['transfer-encoding'] === undefined) return;
  if (length > most) throw tooLong(most);
  const [type, ...parameters] = (headers['content-type'] ?? '').split(';').map((part) => part.trim().toLowerCase());
  const charset = parameters.find((parameter) => parameter.startsWith('charset='))?.slice('charset='.length);
  if (type !== 'application/json' || (charset !== undefined && !/^("?)utf-?8\1$/.test(charset)))
    throw new HttpError(415, 'the body must have the Content-Type application/json, in UTF-8');
  if ((headers['content-encoding'] ?? 'identity') !== 'identity')
    throw new HttpError(415, 'the body must not be compressed');
}

/**
 * Reads the body of a request. Bytes after the first `most` are discarded.
 * @throws HttpError 413; the signal's reason when aborted
 */
export function readBody(request: IncomingMessage, signal: AbortSignal, most = MOST_BODY): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      request.off('data', onData).off('end', onEnd);
      signal.removeEventListener('abort', onAbort);
      // The rest is read and discarded, so that the client receives its answer.
      request.resume();
      settle();
    };
    const onData = (chunk: Uint8Array) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > most) end(() => reject(tooLong(most)));
    };
    const onEnd = () => end(() => resolve(Buffer.concat(chunks)));
    const onAbort = () => end(() => reject(signal.reason));
    request.on('data', onData).on('end', onEnd);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** Parses a body; an empty one means {}. @throws HttpError 400 for anything but JSON in UTF-8 */
export function parseBody(body: Uint8Array): unknown {
  if (body.length === 0) return {};
  let text: string;
  try {
    // The decoder skips a byte order mark.
    text = new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    throw new HttpError(400, 'the body is not UTF-8');
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new HttpError(400, `the body is not JSON: ${(error as Error).message}`);
  }
}

/** Reads the order in a body. @throws HttpError 400 naming a key that is unknown, of the wrong type or out of range */
export function orderOf(body: unknown, rules: OrderRules): Order {
  const known: OptionKinds<Partial<Order>> = {
    count: wholeFrom(1, rules.mostCount),
    seed: kinds.whole,
    steps: wholeFrom(1, rules.mostSteps),
    sampler: oneOf(solverNames),
  };
  try {
    const { count, seed, steps, sampler } = checkOptions('sample', body as Partial<Order>, known);
    // Only fixed-step samplers take steps.
    const chosen = sampler ?? (steps !== undefined && rules.sampler === 'rk45' ? 'euler' : rules.sampler);
    if (chosen === 'rk45' && steps !== undefined)
      throw new ArgumentError('sample', 'no steps with the sampler rk45, which chooses its own', String(steps));
    return {
      count: count ?? Math.min(DEFAULT_COUNT, rules.mostCount),
      seed: seed ?? rules.seed,
      sampler: chosen,
      steps: chosen === 'rk45' ? undefined : (steps ?? rules.steps),
    };
  } catch (error) {
    if (error instanceof ArgumentError) throw new HttpError(400, error.message);
    throw error;
  }
}
