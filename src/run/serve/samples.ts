// The service of samples of a checkpoint: GET /healthz and POST /sample.
import type { IncomingMessage } from 'node:http';
import { type Answer, type HttpOptions, type HttpServer, jsonReply, listen, type Reply } from './http.ts';
import { JobQueue } from './queue.ts';
import {
  type AnswerType,
  answerType,
  checkBody,
  HttpError,
  type Order,
  type OrderRules,
  orderOf,
  parseBody,
  readBody,
  targetOf,
} from './request.ts';

/** The source of the server's samples. */
export interface Sampler {
  rules: OrderRules;
  /** Reported by /healthz. */
  about: { version: string; device: string; checkpoint: string; shape: readonly number[] };
  /** Longest time for which it blocks the event loop at once, in seconds. */
  blocking: number;
  /** Computes an answer of the given type. @throws the signal's reason soon after it is aborted */
  draw(order: Order, type: AnswerType, signal: AbortSignal): Promise<Drawn>;
}

/** Body and additional headers of an answer. */
export type Drawn = Pick<Reply, 'body' | 'headers'>;

export interface SampleHttpOptions extends HttpOptions {
  /** Most requests that wait. */
  queue: number;
  /** Seconds that the samples of one request may take; default 600. */
  timeout?: number;
}

export interface SampleHttpServer extends HttpServer {
  /** Starts to serve samples; before this call, orders get status 503. */
  begin(sampler: Sampler): void;
}

/** Starts to listen. @throws ValueError for a host or port on which this machine cannot listen */
export async function listenForSamples(options: SampleHttpOptions): Promise<SampleHttpServer> {
  const { timeout = 600 } = options;
  const queue = new JobQueue(options.queue);
  let sampler: Sampler | undefined;

  const busy = (text: string) => new HttpError(503, text, { 'retry-after': String(queue.retrySeconds) });
  const routes: Record<string, Record<string, Answer>> = {
    '/': { GET: async () => ({ status: 200, type: 'text/plain; charset=utf-8', body: usage(sampler?.rules) }) },
    '/healthz': { GET: health },
    '/sample': { POST: sample },
  };

  async function health(): Promise<Reply> {
    const { connections, uptime } = server.load();
    return jsonReply(sampler ? 200 : 503, {
      status: sampler ? 'ok' : 'loading',
      ...sampler?.about,
      queue: queue.waiting,
      queueLimit: queue.limit,
      busy: queue.busy,
      connections,
      uptime,
    });
  }

  async function sample(request: IncomingMessage, signal: AbortSignal, proceed: () => void): Promise<Reply> {
    const type = answerType(request);
    if (targetOf(request).query !== '')
      throw new HttpError(400, '/sample reads its options from a JSON body, not from a query');
    checkBody(request);
    proceed();
    const body = parseBody(await readBody(request, signal));
    if (!sampler) throw busy('the checkpoint is still loading');
    const order = orderOf(body, sampler.rules);
    if (queue.full) throw busy(`the queue is full: ${queue.limit} requests are waiting`);
    if (server.load().clogged) throw busy('too many answers are waiting to be read by their clients');
    const { draw } = sampler;
    const work = () => withinTime(signal, (limited) => draw(order, type, limited));
    return { status: 200, type, ...(await queue.run(work, signal)) };
  }

  /** Runs work with a signal that also aborts after `timeout`. @throws HttpError 503 */
  async function withinTime<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const limit = new AbortController();
    const text = `the samples took longer than ${timeout} s; ask for fewer images or steps`;
    const timer = setTimeout(() => limit.abort(new HttpError(503, text)), 1000 * timeout);
    try {
      return await work(AbortSignal.any([signal, limit.signal]));
    } finally {
      clearTimeout(timer);
    }
  }

  const server = await listen(options, {
    paths: Object.keys(routes),
    methodsOf: (path) => (Object.hasOwn(routes, path) ? routes[path] : undefined),
    end: () => queue.idle(),
  });
  return {
    ...server,
    begin(ready) {
      sampler = ready;
      server.expectBlocking(ready.blocking);
    },
  };
}

function usage(rules: OrderRules | undefined): string {
  const orders = rules
    ? `  count    images, 1 to ${rules.mostCount}\n  seed     a whole number; default ${rules.seed}\n` +
      `  steps    1 to ${rules.mostSteps}\n  sampler  default ${rules.sampler}\n`
    : '';
  return (
    'rectiflow: samples of a rectified flow\n\n' +
    'GET /healthz  the state of this server, as JSON\n' +
    'POST /sample  a PNG grid, or JSON for Accept: application/json; the body is a JSON object with the optional keys\n' +
    orders
  );
}
