// The HTTP layer of the sampling server, over raw sockets, with a sampler that the test controls, so that no test
// depends on speed.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { NonFiniteError } from '../../../src/errors.ts';
import type { HttpServer } from '../../../src/run/serve/http.ts';
import type { AnswerType, Order } from '../../../src/run/serve/request.ts';
import { type Drawn, listenForSamples, type SampleHttpOptions, type Sampler } from '../../../src/run/serve/samples.ts';

/** An order received by the sampler, and the functions that end it. */
interface Held {
  order: Order;
  type: AnswerType;
  signal: AbortSignal;
  finish: (body: Uint8Array | string) => void;
  fail: (error: unknown) => void;
}

/** A sampler whose orders wait until the test ends them. */
class HeldSampler implements Sampler {
  rules = { mostCount: 20, mostSteps: 1000, seed: 7, sampler: 'euler' as const, steps: 10 };
  about = { version: '1.2.3', device: 'cpu', checkpoint: 'c.safetensors', shape: [8, 8, 1] };
  blocking = 0;
  readonly all: Held[] = [];
  /** Whether to answer immediately, with the order as JSON. */
  free = false;
  private readonly arrivals: ((held: Held) => void)[] = [];
  private taken = 0;

  draw = (order: Order, type: AnswerType, signal: AbortSignal): Promise<Drawn> => {
    if (this.free) return Promise.resolve({ body: JSON.stringify(order) });
    return new Promise((resolve, fail) => {
      const finish = (body: Uint8Array | string) => resolve({ body });
      const held = { order, type, signal, finish, fail };
      this.all.push(held);
      signal.addEventListener('abort', () => fail(signal.reason), { once: true });
      this.arrivals.shift()?.(held);
    });
  };

  /** Waits for the next order. */
  next(): Promise<Held> {
    const held = this.all[this.taken++];
    return held ? Promise.resolve(held) : new Promise((resolve) => this.arrivals.push(resolve));
  }
}

const servers: HttpServer[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function start(options: Partial<SampleHttpOptions> = {}) {
  const sampler = new HeldSampler();
  const failures: unknown[] = [];
  const onFailure = (error: unknown) => failures.push(error);
  const server = await listenForSamples({ host: '127.0.0.1', port: 0, queue: 2, onFailure, ...options });
  servers.push(server);
  server.begin(sampler);
  return { server, sampler, failures, port: server.address.port };
}

interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** A client that sends raw bytes and reads answers one at a time. */
class Client {
  readonly socket: Socket;
  private text = '';
  private ended = false;

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.setEncoding('latin1');
    this.socket.on('data', (text: string) => {
      this.text += text;
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.ended = true;
    });
    sockets.push(this.socket);
  }

  send(text: string): this {
    this.socket.write(text, 'latin1');
    return this;
  }

  /**
   * The next answer; undefined if the connection ends without one.
   * @param bodiless whether it answers a HEAD request
   */
  async answer(bodiless = false): Promise<Answer | undefined> {
    for (;;) {
      const [, head, rest] = /^(.*?)\r\n\r\n(.*)$/s.exec(this.text) ?? [];
      if (head !== undefined) {
        const [line, ...lines] = head.split('\r\n');
        const headers = Object.fromEntries(lines.map((text) => text.toLowerCase().split(/: (.*)/)));
        const length = bodiless ? 0 : Number(headers['content-length'] ?? 0);
        if (rest.length >= length) {
          this.text = rest.slice(length);
          return { status: Number(line.split(' ')[1]), headers, body: rest.slice(0, length) };
        }
      }
      if (this.ended) return undefined;
      await Promise.race([once(this.socket, 'data'), once(this.socket, 'close')]);
    }
  }

  async closed(): Promise<void> {
    if (!this.ended) await once(this.socket, 'close');
  }
}

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;
const post = (body: string, more = 'Content-Type: application/json\r\n', path = '/sample') =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${more}Content-Length: ${body.length}\r\n\r\n${body}`;

async function ask(port: number, text: string): Promise<Answer> {
  const client = new Client(port).send(text);
  const answer = await client.answer(text.startsWith('HEAD'));
  client.socket.destroy();
  if (!answer) throw new Error('the connection ended without an answer');
  return answer;
}

/** Polls until the server has the expected state, which it reaches at an unknown time. */
async function untilHealth(port: number, wanted: object): Promise<void> {
  for (;;) {
    const health = JSON.parse((await ask(port, get('/healthz'))).body) as Record<string, unknown>;
    if (Object.entries(wanted).every(([key, value]) => health[key] === value)) return;
  }
}

describe('GET', () => {
  it('/healthz reports the state of the server', async () => {
    const { port, sampler } = await start();
    const { status, headers, body } = await ask(port, get('/healthz'));
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('application/json');
    expect(JSON.parse(body)).toEqual({
      ...{ status: 'ok', version: '1.2.3', device: 'cpu', checkpoint: 'c.safetensors', shape: [8, 8, 1] },
      ...{ queue: 0, queueLimit: 2, busy: false, connections: 1, uptime: expect.any(Number) },
    });
    const clients = [1, 2].map((seed) => new Client(port).send(post(`{"seed": ${seed}}`)));
    await sampler.next();
    await untilHealth(port, { queue: 1, busy: true });
    for (const client of clients) client.socket.destroy();
  });

  it('/healthz answers 503 until the checkpoint is loaded, as does /sample', async () => {
    const server = await listenForSamples({ host: '127.0.0.1', port: 0, queue: 1 });
    servers.push(server);
    const { port } = server.address;
    expect(await ask(port, get('/healthz'))).toMatchObject({
      status: 503,
      body: expect.stringContaining('"status":"loading"'),
    });
    expect(await ask(port, post('{}'))).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
  });

  it('HEAD returns the headers of GET and no body', async () => {
    const { port } = await start();
    const client = new Client(port).send(get('/healthz').replace('GET', 'HEAD') + get('/'));
    const head = await client.answer(true);
    expect(head).toMatchObject({ status: 200, headers: { 'content-type': 'application/json' } });
    expect(Number(head?.headers['content-length'])).toBeGreaterThan(10);
    expect(await client.answer()).toMatchObject({
      status: 200,
      headers: { 'content-type': 'text/plain; charset=utf-8' },
      body: expect.stringMatching(/GET \/healthz .*POST \/sample .*count {4}images, 1 to 20/s),
    });
  });
});

describe('POST /sample', () => {
  const orders: [body: string, order: object][] = [
    ['', { count: 16, seed: 7, sampler: 'euler', steps: 10 }],
    ['{}', { count: 16, seed: 7, sampler: 'euler', steps: 10 }],
    ['{"count":1,"seed":0,"steps":1000,"sampler":"heun"}', { count: 1, seed: 0, sampler: 'heun', steps: 1000 }],
    ['{"sampler":"rk45","seed":9007199254740991}', { count: 16, seed: 9007199254740991, sampler: 'rk45' }],
    ['\u00ef\u00bb\u00bf{"count":2.0}', { count: 2, seed: 7, sampler: 'euler', steps: 10 }],
  ];
  it.each(orders)('takes %s', async (body, order) => {
    const { port, sampler } = await start();
    sampler.free = true;
    const answer = await ask(port, post(body));
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toEqual(order);
  });

  it('uses euler for steps if the sampler of the configuration is rk45', async () => {
    const { port, sampler } = await start();
    sampler.free = true;
    (sampler.rules as { sampler: string }).sampler = 'rk45';
    expect(JSON.parse((await ask(port, post('{"steps":3}'))).body)).toMatchObject({ sampler: 'euler', steps: 3 });
    expect(JSON.parse((await ask(port, post('{}'))).body)).toEqual({ count: 16, seed: 7, sampler: 'rk45' });
  });

  const wrong: [body: string, says: RegExp][] = [
    ...['0', '-1', '1.5', '21', '1e9', '1e999', '"4"', 'null', '[4]', 'true', '{}'].map((value): [string, RegExp] => [
      `{"count":${value}}`,
      /expected count to be a whole number from 1 to 20, got /,
    ]),
    ...['0', '1001', '-0.5', '"10"'].map((value): [string, RegExp] => [
      `{"steps":${value}}`,
      /expected steps to be a whole number from 1 to 1000, got /,
    ]),
    ...['-1', '0.5', '1e16', '"1"'].map((value): [string, RegExp] => [
      `{"seed":${value}}`,
      /expected seed to be a whole number >= 0, got /,
    ]),
    ['{"sampler":"eulr"}', /expected sampler to be one of "euler", .*"rk45", got "eulr"/],
    ['{"sampler":7}', /expected sampler to be one of .*, got 7/],
    ['{"sampler":"rk45","steps":3}', /expected no steps with the sampler rk45/],
    ['{"n":4}', /options among count, seed, steps, sampler, got "n"/],
    ['{"step":4}', /got "step" \(did you mean "steps"\?\)/],
    ['{"__proto__":{"count":3}}', /got "__proto__"/],
    ['{"constructor":1}', /got "constructor"/],
    ['{"\\u001b[31m\\n":1}', /got \\"\\\\u001b\[31m\\\\n\\"|got /],
    ['[]', /expected options \{ count, seed, steps, sampler \}, got \[\]/],
    ['5', /, got 5/],
    ['null', /, got null/],
    ['"count"', /, got "count"/],
    ['{"count":NaN}', /not JSON/],
    ['{"count":4', /not JSON/],
    ["{'count':4}", /not JSON/],
    ['count=4', /not JSON/],
    [' ', /not JSON/],
    [`${'['.repeat(8000)}${']'.repeat(8000)}`, /expected options .*, got a list of 1/],
    [`${'{"a":'.repeat(2500)}1${'}'.repeat(2500)}`, /got "a"/],
    ['{"count":"\u00ff"}', /not UTF-8/],
  ];
  it.each(wrong)('refuses %s', async (body, says) => {
    const { port, sampler } = await start();
    const answer = await ask(port, post(body));
    expect(answer.status).toBe(400);
    expect(answer.headers['content-type']).toBe('application/json');
    expect(Object.keys(JSON.parse(answer.body))).toEqual(['error']);
    expect(JSON.parse(answer.body).error).toMatch(says);
    // Answers contain no control characters, whatever was sent.
    expect(answer.body.trimEnd()).toMatch(/^[\x20-\x7e]*$/);
    expect(sampler.all).toEqual([]);
  });

  const json = 'Content-Type: application/json\r\n';
  const refused: [what: string, text: string, status: number, says: RegExp][] = [
    ['a form', post('a=1', 'Content-Type: application/x-www-form-urlencoded\r\n'), 415, /application\/json/],
    ['text', post('{}', 'Content-Type: text/plain\r\n'), 415, /application\/json/],
    ['no type', post('{}', ''), 415, /application\/json/],
    ['another charset', post('{}', 'Content-Type: application/json; charset=latin1\r\n'), 415, /UTF-8/],
    ['a compressed body', post('{}', `${json}Content-Encoding: gzip\r\n`), 415, /compressed/],
    ['an answer as text', post('{}', `${json}Accept: text/html, image/*;q=0\r\n`), 406, /image\/png or application/],
    ['a query', post('{}', json, '/sample?count=4'), 400, /from a JSON body, not from a query/],
    ['a long body', post(' '.repeat(16385), json), 413, /at most 16384 bytes/],
  ];
  it.each(refused)('refuses %s', async (_, text, status, says) => {
    const { port } = await start();
    const answer = await ask(port, text);
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body).error).toMatch(says);
  });

  it.each([
    ['', 'image/png'],
    ['Accept: */*\r\n', 'image/png'],
    ['Accept: image/*\r\n', 'image/png'],
    ['Accept: application/json\r\n', 'application/json'],
    ['Accept: application/json, text/plain, */*\r\n', 'application/json'],
    ['Accept: image/png;q=0.1, application/*;q=0.2\r\n', 'application/json'],
    ['Accept: application/json;q=0, */*\r\n', 'image/png'],
    ['Accept: IMAGE/PNG, application/json\r\n', 'image/png'],
  ])('answers "%s" with %s', async (accept, type) => {
    const { port, sampler } = await start();
    sampler.free = true;
    expect((await ask(port, post('{}', json + accept))).headers['content-type']).toBe(type);
  });

  it('accepts a chunked body up to the limit', async () => {
    const { port, sampler } = await start();
    sampler.free = true;
    const head = `POST /sample HTTP/1.1\r\nHost: localhost\r\n${json}Transfer-Encoding: chunked\r\n\r\n`;
    const client = new Client(port).send(`${head}5\r\n{"cou\r\n`).send('6\r\nnt":3}\r\n0\r\n\r\n');
    expect(JSON.parse((await client.answer())?.body ?? '')).toMatchObject({ count: 3 });
    // This body never ends, but the request is answered.
    client.send(head).send(`4000\r\n${' '.repeat(0x4000)}\r\n`.repeat(3));
    expect(await client.answer()).toMatchObject({ status: 413 });
  });

  it('sends 100 Continue only if it will read the body', async () => {
    const { port, sampler } = await start();
    sampler.free = true;
    const head = (length: number, path = '/sample', what = '100-continue') =>
      `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${json}Expect: ${what}\r\nContent-Length: ${length}\r\n\r\n`;
    const client = new Client(port).send(head(11));
    expect(await client.answer()).toMatchObject({ status: 100 });
    expect(await client.send('{"count":3}').answer()).toMatchObject({ status: 200 });
    for (const [text, status] of [
      [head(20_000), 413],
      [head(2, '/other'), 404],
      [head(2, '/sample', 'more'), 417],
    ] as const)
      expect(await new Client(port).send(text).answer()).toMatchObject({ status, headers: { connection: 'close' } });
  });
});

describe('invalid requests are refused', () => {
  const long = 'x'.repeat(9000);
  it.each<[what: string, text: string, status: number, allow?: string]>([
    ['DELETE /sample', 'DELETE /sample HTTP/1.1\r\nHost: localhost\r\n\r\n', 405, 'post'],
    ['GET /sample', get('/sample'), 405, 'post'],
    ['HEAD /sample', get('/sample').replace('GET', 'HEAD'), 405, 'post'],
    ['POST /healthz', post('{}', '', '/healthz'), 405, 'get, head'],
    ['TRACE /', 'TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n', 405, 'get, head'],
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n', 405, ''],
    ['CONNECT', 'CONNECT example.org:80 HTTP/1.1\r\nHost: example.org:80\r\n\r\n', 405, 'get, head, post'],
    ['/favicon.ico', get('/favicon.ico'), 404],
    ['/__proto__', get('/__proto__'), 404],
    ['/healthz/', get('/healthz/'), 404],
    ['/../etc/passwd', get('/../etc/passwd'), 404],
    ['//', get('//'), 400],
    ['http://[', get('http://['), 400],
    ['a name of another host', get('/healthz').replace('localhost', 'example.org'), 421],
    ['a name that begins like ours', get('/healthz').replace('localhost', 'localhost.example.org'), 421],
    ['an invalid Host', get('/healthz').replace('localhost', 'a b'), 400],
    ['no Host', 'GET /healthz HTTP/1.1\r\n\r\n', 400],
    ['another web page', get('/healthz', 'Origin: https://example.org\r\n'), 403],
    ['a file as a web page', get('/healthz', 'Origin: null\r\n'), 403],
    ['bytes that are not HTTP', 'hello\r\n\r\n', 400],
    ['a TLS handshake', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
    ['another version', 'GET / HTTP/9.9\r\nHost: localhost\r\n\r\n', 400],
    [
      'two lengths',
      'POST /sample HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}',
      400,
    ],
    [
      'a length and chunks',
      'POST /sample HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['large headers', get('/healthz', `X: ${long}\r\n`), 431],
    ['a long target', get(`/${long}`), 431],
  ])('%s', async (_, text, status, allow) => {
    const { port } = await start();
    const answer = await ask(port, text);
    expect(answer.status).toBe(status);
    expect(answer.headers.allow).toBe(allow);
    if (!text.startsWith('HEAD'))
      expect(JSON.parse(answer.body)).toEqual({ error: expect.stringMatching(/^[\x20-\x7e]+$/) });
    expect((await ask(port, get('/healthz'))).status).toBe(200);
  });

  it.each([
    ['a whole URL', 'GET http://localhost:80/healthz?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['an address for a name', get('/healthz').replace('localhost', '127.0.0.1:8080')],
    ['a page of the same origin', get('/healthz', 'Origin: http://localhost\r\n')],
    ['HTTP/1.0 without Host', 'GET /healthz HTTP/1.0\r\n\r\n'],
    ['an upgrade to another protocol', get('/healthz', 'Connection: upgrade\r\nUpgrade: h2c\r\n')],
  ])('but %s is accepted', async (_, text) => {
    const { port } = await start();
    expect((await ask(port, text)).status).toBe(200);
  });
});

describe('the queue', () => {
  it('is processed in order; two clients each get their own order', async () => {
    const { port, sampler } = await start();
    const first = new Client(port).send(post('{"seed":1}'));
    const one = await sampler.next();
    const second = new Client(port).send(post('{"seed":2}'));
    await untilHealth(port, { queue: 1 });
    one.finish('first');
    const two = await sampler.next();
    two.finish('second');
    expect([one.order.seed, two.order.seed]).toEqual([1, 2]);
    expect((await second.answer())?.body).toBe('second');
    expect((await first.answer())?.body).toBe('first');
  });

  it('ends an order that exceeds the time limit, and computes the next', async () => {
    const { port, sampler } = await start({ timeout: 0.05 });
    const refused = await ask(port, post('{}'));
    expect([refused.status, JSON.parse(refused.body).error]).toEqual([
      503,
      'the samples took longer than 0.05 s; ask for fewer images or steps',
    ]);
    expect((await sampler.next()).signal.aborted).toBe(true);
    sampler.free = true;
    expect((await ask(port, post('{}'))).status).toBe(200);
  });

  it('refuses with 503 and Retry-After when full, and accepts orders again later', async () => {
    const { port, sampler } = await start();
    const clients = [1, 2, 3].map((seed) => new Client(port).send(post(`{"seed":${seed}}`)));
    const held = await sampler.next();
    await untilHealth(port, { queue: 2 });
    const refused = await ask(port, post('{}'));
    expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': expect.stringMatching(/^[1-9]\d*$/) } });
    expect(JSON.parse(refused.body).error).toMatch(/queue is full: 2 requests are waiting/);
    held.finish('');
    const next = await sampler.next();
    const late = new Client(port).send(post('{"seed":4}'));
    await untilHealth(port, { queue: 2 });
    next.finish('');
    for (const client of [clients[2], late]) {
      (await sampler.next()).finish('done');
      expect((await client.answer())?.status).toBe(200);
    }
  });

  it('drops the orders of disconnected clients, including the running one', async () => {
    const { port, sampler } = await start();
    const gone = new Client(port).send(post('{"seed":1}'));
    const held = await sampler.next();
    const waiting = new Client(port).send(post('{"seed":2}'));
    await untilHealth(port, { queue: 1 });
    waiting.socket.destroy();
    await untilHealth(port, { queue: 0, busy: true });
    const stopped = once(held.signal, 'abort');
    gone.socket.destroy();
    await stopped;
    await untilHealth(port, { busy: false });
    expect(sampler.all).toHaveLength(1);
  });

  it('treats a client that closes its half of the connection as disconnected', async () => {
    const { port, sampler } = await start();
    const client = new Client(port).send(post('{}'));
    const held = await sampler.next();
    const stopped = once(held.signal, 'abort');
    client.socket.end();
    await stopped;
  });

  it('does not begin the next order before the sampler has ended that of a disconnected client', async () => {
    const { port, sampler } = await start();
    let release = () => {};
    const begun = new Promise<void>((resolve) => {
      const { draw } = sampler;
      sampler.draw = async (...order) => {
        if (order[0].seed !== 1) return draw(...order);
        resolve();
        await new Promise<void>((let_) => (release = let_));
        return { body: 'for nobody' };
      };
    });
    const deaf = await listenForSamples({ host: '127.0.0.1', port: 0, queue: 1 });
    servers.push(deaf);
    deaf.begin(sampler);
    const gone = new Client(deaf.address.port).send(post('{"seed":1}'));
    await begun;
    gone.socket.destroy();
    const next = new Client(deaf.address.port).send(post('{"seed":2}'));
    await untilHealth(deaf.address.port, { queue: 1, busy: true });
    expect(sampler.all).toEqual([]);
    release();
    (await sampler.next()).finish('second');
    expect((await next.answer())?.body).toBe('second');
    expect(port).not.toBe(deaf.address.port);
  });

  it('survives 300 orders that are abandoned at the same time', async () => {
    const { port, sampler } = await start();
    const clients = Array.from({ length: 300 }, () => new Client(port).send(post('{}')));
    const held = await sampler.next();
    await untilHealth(port, { queue: 2 });
    for (const client of clients) client.socket.resetAndDestroy();
    if (!held.signal.aborted) await once(held.signal, 'abort');
    await untilHealth(port, { queue: 0, busy: false });
    sampler.free = true;
    expect((await ask(port, post('{}'))).status).toBe(200);
  });

  it('answers pipelined requests in order', async () => {
    const { port, sampler } = await start();
    const client = new Client(port).send(post('{"seed":1}') + post('{"seed":2}') + get('/healthz') + get('/none'));
    const one = await sampler.next();
    await untilHealth(port, { queue: 1 });
    one.finish('one');
    (await sampler.next()).finish('two');
    const answers = [await client.answer(), await client.answer(), await client.answer(), await client.answer()];
    expect(answers.map((answer) => answer?.status)).toEqual([200, 200, 200, 404]);
    expect(answers.slice(0, 2).map((answer) => answer?.body)).toEqual(['one', 'two']);
  });

  it('drops the orders of a connection that then sends an invalid request', async () => {
    const { port, sampler } = await start();
    const client = new Client(port).send(post('{"seed":1}'));
    const held = await sampler.next();
    client.send('rubbish\r\n\r\n');
    expect(await client.answer()).toBeUndefined();
    expect(held.signal.aborted).toBe(true);
  });
});

describe('failures', () => {
  it('are reported with status 500 and a message, and do not end the server', async () => {
    const { port, sampler, failures } = await start();
    const errors: [error: unknown, says: RegExp][] = [
      [new NonFiniteError('3 of 4 samples are not finite'), /^3 of 4 samples are not finite$/],
      [new TypeError('x is not a function at /home/somebody'), /^internal server error$/],
      [undefined, /^internal server error$/],
    ];
    for (const [error, says] of errors) {
      const client = new Client(port).send(post('{}'));
      (await sampler.next()).fail(error);
      const answer = await client.answer();
      expect(answer?.status).toBe(500);
      expect(JSON.parse(answer?.body ?? '').error).toMatch(says);
    }
    expect(failures).toEqual(errors.map(([error]) => error));
    expect((await ask(port, get('/healthz'))).status).toBe(200);
  });
});

describe('slow clients', () => {
  it.each([
    ['sends nothing', ''],
    ['sends half a line', 'GET /heal'],
    ['sends half of its headers', 'GET /healthz HTTP/1.1\r\nHost: loc'],
    ['sends half of its body', `${post('{"count":4}').slice(0, -3)}`],
  ])('a client that %s gets 408', async (_, text) => {
    const { port } = await start({ times: { headers: 100, request: 200 } });
    const client = new Client(port).send(text);
    expect(await client.answer()).toMatchObject({ status: 408, headers: { connection: 'close' } });
    await client.closed();
  });

  it('a client that sends byte by byte gets no extra time', async () => {
    const { port } = await start({ times: { headers: 100, request: 200 } });
    const client = new Client(port).send(get('/healthz').slice(0, -2));
    const timer = setInterval(() => client.send('a: b\r\n'), 20);
    expect(await client.answer()).toMatchObject({ status: 408 });
    clearInterval(timer);
  });

  it('a client that is idle after an answer is disconnected', async () => {
    const { port } = await start({ times: { idle: 50 } });
    const client = new Client(port).send(get('/healthz'));
    expect(await client.answer()).toMatchObject({ status: 200 });
    await client.closed();
  });

  it('a client that does not read its answer is disconnected', async () => {
    const { port, sampler } = await start({ times: { send: 50, rate: 1e6 } });
    const client = new Client(port).send(post('{}'));
    const held = await sampler.next();
    client.socket.pause();
    // More than the socket buffers hold for a client that does not read.
    held.finish(new Uint8Array(2 ** 25));
    await untilHealth(port, { busy: false, connections: 1 });
  });

  it('are refused while more than 128 MiB of answers are unread', async () => {
    const { port, sampler } = await start();
    const clients = Array.from({ length: 5 }, () => new Client(port));
    for (const client of clients) {
      client.send(post('{}'));
      const held = await sampler.next();
      client.socket.pause();
      held.finish(new Uint8Array(2 ** 25));
      await untilHealth(port, { busy: false });
    }
    const refused = await ask(port, post('{}'));
    expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    expect(JSON.parse(refused.body).error).toMatch(/answers are waiting/);
    clients[0].socket.destroy();
    await untilHealth(port, { connections: 5 });
    sampler.free = true;
    expect((await ask(port, post('{}'))).status).toBe(200);
  });

  it('200 slow clients do not block another client', async () => {
    const { port, sampler } = await start();
    sampler.free = true;
    const slow = Array.from({ length: 200 }, (_, i) => new Client(port).send(post('{"count":4}').slice(0, i % 120)));
    await Promise.all(slow.map(({ socket }) => (socket.connecting ? once(socket, 'connect') : undefined)));
    expect((await ask(port, post('{"count":4}'))).status).toBe(200);
    expect((await ask(port, get('/healthz'))).status).toBe(200);
  });
});

describe('closing', () => {
  it('is reported to all waiting clients, and the port is free afterwards', async () => {
    const { port, server, sampler } = await start();
    const [solved, waiting] = [1, 2].map((seed) => new Client(port).send(post(`{"seed":${seed}}`)));
    await sampler.next();
    await untilHealth(port, { queue: 1 });
    const half = new Client(port).send(get('/healthz') + post('{"count":4}').slice(0, -2));
    expect(await half.answer()).toMatchObject({ status: 200 });
    const idle = new Client(port).send(get('/healthz'));
    expect(await idle.answer()).toMatchObject({ status: 200 });
    const closing = server.close();
    for (const client of [solved, waiting, half]) {
      expect(await client.answer()).toMatchObject({ status: 503, headers: { connection: 'close' } });
      await client.closed();
    }
    await idle.closed();
    await closing;
    await server.close();
    const refused = connect(port, '127.0.0.1');
    const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
  });

  it('does not wait for clients that neither read nor write', async () => {
    const { port, server, sampler } = await start();
    const client = new Client(port).send(post('{}'));
    client.socket.pause();
    (await sampler.next()).finish(new Uint8Array(2 ** 24));
    await untilHealth(port, { busy: false });
    const dumb = new Client(port).send('GET /');
    await once(dumb.socket, 'connect');
    await server.close();
  });
});

describe('listening', () => {
  it.each([
    [
      'a port in use',
      async () => ({ port: (await start()).port }),
      /^cannot listen on 127\.0\.0\.1:\d+: the port is in use/,
    ],
    [
      'an address of another machine',
      async () => ({ host: '192.0.2.1' }),
      /192\.0\.2\.1:0: this machine does not have that/,
    ],
  ])('refuses %s', async (_, options, says) => {
    await expect(listenForSamples({ host: '127.0.0.1', port: 0, queue: 1, ...(await options()) })).rejects.toThrow(
      says,
    );
  });

  it('accepts any Host if it listens for other machines', async () => {
    const { port } = await start({ host: '0.0.0.0' });
    expect((await ask(port, get('/healthz').replace('localhost', 'example.org'))).status).toBe(200);
  });

  it('writes an IPv6 address in brackets', async (context) => {
    const server = await listenForSamples({ host: '::1', port: 0, queue: 1 }).catch(() =>
      context.skip('this machine has no IPv6'),
    );
    servers.push(server);
    expect(server.url).toBe(`http://[::1]:${server.address.port}`);
  });
});
