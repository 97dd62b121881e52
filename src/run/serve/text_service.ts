// The service of pictures of texts: a page, POST /text, and the jobs that it begins.
import type { IncomingMessage } from 'node:http';
import { packageVersion } from '../machine/provenance.ts';
import { type Answer, type HttpOptions, type HttpServer, jsonReply, listen, type Reply } from './http.ts';
import { checkBody, HttpError, parseBody, readBody, targetOf } from './request.ts';
import { TextJobs } from './text_jobs.ts';
import { pageHeaders, textPage } from './text_page.ts';
import type { Painter } from './text_painter.ts';
import { MOST_TEXT_BODY, paintOrderOf } from './text_request.ts';

export interface TextHttpOptions extends HttpOptions {
  /** Most orders that wait. */
  queue: number;
  /** Most seconds of one order. */
  timeout: number;
}

export interface TextHttpServer extends HttpServer {
  /** Says how far the networks are loaded, from 0 to 1. */
  loading(share: number): void;
  /** Starts to take orders; before this call, they get status 503. */
  begin(painter: Painter): void;
}

const job = /^\/jobs\/([0-9a-f]{32})$/;
const picture = /^\/jobs\/([0-9a-f]{32})\/(\d{1,3})\.png$/;

/** Starts to listen. @throws ValueError for a host or port on which this machine cannot listen */
export async function listenForTexts(options: TextHttpOptions): Promise<TextHttpServer> {
  let loaded = 0;
  let painter: Painter | undefined;
  let jobs: TextJobs | undefined;

  const routes: Record<string, Record<string, Answer>> = {
    '/': {
      GET: async () => ({ status: 200, type: 'text/html; charset=utf-8', body: textPage(), headers: pageHeaders() }),
    },
    '/healthz': { GET: health },
    '/text': { POST: order },
  };

  async function health(): Promise<Reply> {
    const { connections, uptime } = server.load();
    const about = painter && {
      model: painter.ready.summary.path.split(/[\\/]/).filter(Boolean).at(-1),
      parameters: painter.ready.summary.parameters,
      prediction: painter.ready.prediction,
      device: painter.ready.device,
      size: 64 * painter.ready.summary.factor,
      multiple: painter.ready.summary.factor,
    };
    return jsonReply(painter ? 200 : 503, {
      status: painter ? 'ok' : 'loading',
      version: packageVersion(),
      ...(painter ? about : { loaded: Math.round(100 * loaded) / 100 }),
      ...jobs?.load,
      connections,
      uptime,
    });
  }

  async function order(request: IncomingMessage, signal: AbortSignal, proceed: () => void): Promise<Reply> {
    if (targetOf(request).query !== '')
      throw new HttpError(400, '/text reads its options from a JSON body, not from a query');
    checkBody(request, MOST_TEXT_BODY);
    proceed();
    const body = parseBody(await readBody(request, signal, MOST_TEXT_BODY));
    if (!painter || !jobs) throw new HttpError(503, 'the model is still loading', { 'retry-after': '5' });
    if (server.load().clogged)
      throw new HttpError(503, 'too many answers are waiting to be read by their clients', { 'retry-after': '5' });
    const added = jobs.add(paintOrderOf(body, painter.ready));
    return jsonReply(202, added, { location: `/jobs/${added.id}` });
  }

  function methodsOf(path: string): Record<string, Answer> | undefined {
    if (Object.hasOwn(routes, path)) return routes[path];
    const [, id] = job.exec(path) ?? [];
    if (id !== undefined)
      return {
        GET: async () => jsonReply(200, known().get(id)),
        DELETE: async () => jsonReply(200, known().remove(id)),
      };
    const [, owner, index] = picture.exec(path) ?? [];
    if (owner === undefined) return undefined;
    const headers = { 'cross-origin-resource-policy': 'same-origin' };
    return {
      GET: async () => ({ status: 200, type: 'image/png', body: known().picture(owner, Number(index)), headers }),
    };
  }

  function known(): TextJobs {
    if (!jobs) throw new HttpError(404, 'no such job; it may have been dropped');
    return jobs;
  }

  const server = await listen(options, {
    paths: [...Object.keys(routes), '/jobs/ID', '/jobs/ID/N.png'],
    methodsOf,
    end: async () => jobs?.end(),
  });
  return {
    ...server,
    loading(share) {
      loaded = share;
    },
    begin(ready) {
      painter = ready;
      const { queue, timeout, onFailure = () => {} } = options;
      jobs = new TextJobs(ready, { queue, timeout }, onFailure);
    },
  };
}
