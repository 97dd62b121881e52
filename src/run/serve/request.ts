// What a client asks for, checked: headers, body, and the order for samples in it.
import type { IncomingMessage } from 'node:http';
import { checkOptions, kinds, type OptionKinds, oneOf, wholeFrom } from '../../arguments.ts';
import { ArgumentError } from '../../errors.ts';
import { type SolverName, solverNames } from '../../flow/index.ts';

/** A request that is refused: its status, a text for the client, and headers that belong to it. */
export class HttpError extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** Samples that a client orders. */
export interface Order {
  count: number;
  seed: number;
  sampler: SolverName;
  /** Undefined for rk45, which chooses its own. */
  steps: number | undefined;
}

/** What an order may ask for, and what it means where it leaves something out. */
export interface OrderRules {
  mostCount: number;
  mostSteps: number;
  seed: number;
  sampler: SolverName;
  steps: number;
}

/** Without "count", as many as this or as the limit allows. */
const DEFAULT_COUNT = 16;

/** The longest body in bytes; an order has less than 100. */
const MOST_BODY = 16 * 1024;

/** @returns the path that is asked for, and the query behind it. @throws HttpError 400 for a target that is no path */
export function targetOf({ url = '' }: IncomingMessage): { path: string; query: string } {
  // A second slash would begin a host's name; proxies send whole URLs, which servers must take.
  if (url === '*') return { path: url, query: '' };
  if (!url.startsWith('//') && URL.canParse(url, 'http://localhost')) {
    const { pathname, search } = new URL(url, 'http://localhost');
    return { path: pathname, query: search };
  }
  throw new HttpError(400, 'the request target is not a path');
}

/**
 * Refuses what other web pages send through the browser of a user of this machine. A browser names the page in Origin, and the name
 * under which it has found the server in Host; a page may have had its own name resolve to this machine.
 * @param ownNames what Host may be where the server listens on the loopback interface alone; undefined: anything
 * @throws HttpError 400, 403, 421
 */
export function refuseForeignPages({ headers, httpVersion }: IncomingMessage, ownNames?: readonly string[]): void {
  const { host, origin } = headers;
  if (host === undefined) {
    if (httpVersion === '1.1') throw new HttpError(400, 'a request of HTTP/1.1 needs the header Host');
  } else {
    if (!URL.canParse(`http://${host}`)) throw new HttpError(400, 'the header Host is not a host');
    const { hostname } = new URL(`http://${host}`);
    if (ownNames && !isLoopback(hostname) && !ownNames.includes(hostname))
      throw new HttpError(421, 'this server listens on the loopback interface and answers to localhost alone');
  }
  if (origin !== undefined && !(URL.canParse(origin) && new URL(origin).host === host))
    throw new HttpError(403, 'requests of web pages of other origins are not served');
}

/** Whether a name or an address, IPv6 in brackets or not, is this machine's own, which others cannot reach. */
export function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost|(::ffff:)?127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host);
}

const types = ['image/png', 'application/json'] as const;
export type AnswerType = (typeof types)[number];

/** The type that a client likes best, by RFC 9110, 12.5.1. @throws HttpError 406 where it takes neither */
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
  throw new HttpError(406, `samples come as ${types.join(' or ')}`);
}

const tooLong = () => new HttpError(413, `a body has at most ${MOST_BODY} bytes`);

/** Refuses a body by its headers, before it is read. @throws HttpError 413, 415 */
export function checkBody({ headers }: IncomingMessage): void {
  const length = Number(headers['content-length'] ?? 0);
  // Without a body, all is left to the defaults.
  if (length === 0 && headers['transfer-encoding'] === undefined) return;
  if (length > MOST_BODY) throw tooLong();
  const [type, ...parameters] = (headers['content-type'] ?? '').split(';').map((part) => part.trim().toLowerCase());
  const charset = parameters.find((parameter) => parameter.startsWith('charset='))?.slice('charset='.length);
  if (type !== 'application/json' || (charset !== undefined && !/^("?)utf-?8\1$/.test(charset)))
    throw new HttpError(415, 'the body must be of the Content-Type application/json, in UTF-8');
  if ((headers['content-encoding'] ?? 'identity') !== 'identity')
    throw new HttpError(415, 'the body must not be compressed');
}

/**
 * The body of a request. What comes beyond `MOST_BODY` bytes is not kept.
 * @throws HttpError 413; the signal's reason when aborted
 */
export function readBody(request: IncomingMessage, signal: AbortSignal): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      request.off('data', onData).off('end', onEnd);
      signal.removeEventListener('abort', onAbort);
      // What still comes is read and forgotten, so that the client gets to its answer.
      request.resume();
      settle();
    };
    const onData = (chunk: Uint8Array) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MOST_BODY) end(() => reject(tooLong()));
    };
    const onEnd = () => end(() => resolve(Buffer.concat(chunks)));
    const onAbort = () => end(() => reject(signal.reason));
    request.on('data', onData).on('end', onEnd);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** @throws HttpError 400 for what is not JSON in UTF-8. Nothing at all is taken for {} */
export function parseBody(body: Uint8Array): unknown {
  if (body.length === 0) return {};
  let text: string;
  try {
    // A byte order mark is passed over.
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

/** The order that a body is. @throws HttpError 400 that names the key which is unknown, of a wrong type or out of its range */
export function orderOf(body: unknown, rules: OrderRules): Order {
  const known: OptionKinds<Partial<Order>> = {
    count: wholeFrom(1, rules.mostCount),
    seed: kinds.whole,
    steps: wholeFrom(1, rules.mostSteps),
    sampler: oneOf(solverNames),
  };
  try {
    const { count, seed, steps, sampler } = checkOptions('sample', body as Partial<Order>, known);
    // Steps belong to the samplers of equal steps.
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
