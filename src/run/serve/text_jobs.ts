// The orders of the server of pictures: those that wait, the one that is being painted, and those that are done, which stay for
// their clients to fetch.
import { randomBytes } from 'node:crypto';
import { RectiflowError } from '../../errors.ts';
import { shareOf } from '../text/costs.ts';
import type { TextToImageProgress } from '../text/generate_options.ts';
import { JobQueue } from './queue.ts';
import { HttpError } from './request.ts';
import type { Painted, Painter, PaintOrder } from './text_painter.ts';

/** Jobs that have ended and can still be asked for. */
const MOST_ENDED = 64;
/** Bytes of their pictures. */
const MOST_BYTES = 2 ** 28;

/** The state of an order, as `GET /jobs/ID` answers it. */
export interface TextJob {
  id: string;
  state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';
  /** Orders before this one, the running one included. */
  before: number;
  /** What it does now; absent unless it runs. */
  stage?: 'text' | 'network' | 'decoding';
  /** The picture that it is at, from 1, and how many there are. */
  picture: number;
  pictures: number;
  /** How far the stage is, from 0 to 1. */
  done: number;
  /** How much of all work is done, from 0 to 1. */
  share: number;
  /** Seconds since it began; absent while it waits. */
  seconds?: number;
  /** Why it failed. */
  error?: string;
  /** What a user should know, such as the end of a prompt that was left out. */
  notes: string[];
  /** Paths of the pictures, PNG files; empty until all are done. */
  files: string[];
  order: Omit<PaintOrder, 'start'>;
}

interface Job {
  view: TextJob;
  order: PaintOrder;
  controller: AbortController;
  began?: number;
  painted: Painted['pictures'];
}

export class TextJobs {
  private readonly queue: JobQueue;
  private readonly jobs = new Map<string, Job>();
  private readonly painter: Painter;
  private readonly timeout: number;
  private readonly onFailure: (error: unknown) => void;

  /** @param timeout most seconds of one order */
  constructor(painter: Painter, limits: { queue: number; timeout: number }, onFailure: (error: unknown) => void) {
    this.painter = painter;
    this.queue = new JobQueue(limits.queue);
    this.timeout = limits.timeout;
    this.onFailure = onFailure;
  }

  /** The state of the queue, for /healthz. */
  get load(): { queue: number; queueLimit: number; busy: boolean } {
    const { waiting, limit, busy } = this.queue;
    return { queue: waiting, queueLimit: limit, busy };
  }

  /** Takes an order. @throws HttpError 503 if the queue is full */
  add(order: PaintOrder): TextJob {
    if (this.queue.full)
      throw new HttpError(503, `the queue is full: ${this.queue.limit} orders are waiting`, {
        'retry-after': String(this.queue.retrySeconds),
      });
    const id = randomBytes(16).toString('hex');
    const { start: _, ...shown } = order;
    const view: TextJob = {
      id,
      state: 'waiting',
      before: 0,
      picture: 1,
      pictures: order.prompts.length * order.count,
      done: 0,
      share: 0,
      notes: [],
      files: [],
      order: shown,
    };
    const job: Job = { view, order, controller: new AbortController(), painted: [] };
    this.jobs.set(id, job);
    this.queue
      .run(() => this.paint(job), job.controller.signal)
      .catch((error) => this.fail(job, error))
      .finally(() => this.forget());
    return this.see(job);
  }

  /** @throws HttpError 404 for an order that is unknown or was dropped */
  get(id: string): TextJob {
    return this.see(this.find(id));
  }

  /** A picture of an order. @throws HttpError 404 */
  picture(id: string, index: number): Uint8Array {
    const png = this.find(id).painted[index];
    if (!png) throw new HttpError(404, 'no such picture');
    return png;
  }

  /** Cancels an order, or drops one that has ended. @throws HttpError 404 */
  remove(id: string): TextJob {
    const job = this.find(id);
    const { state } = job.view;
    if (state === 'waiting' || state === 'running') {
      job.view.state = 'cancelled';
      job.controller.abort(new HttpError(410, 'cancelled'));
    } else this.jobs.delete(id);
    return this.see(job);
  }

  /** Cancels all. Resolves when nothing is being painted. */
  async end(): Promise<void> {
    for (const { controller } of this.jobs.values())
      controller.abort(new HttpError(503, 'the server is shutting down'));
    await this.queue.idle();
  }

  private find(id: string): Job {
    const job = this.jobs.get(id);
    if (!job) throw new HttpError(404, 'no such job; it may have been dropped');
    return job;
  }

  private see({ view, began }: Job): TextJob {
    const active = [...this.jobs.values()].filter((one) => ['waiting', 'running'].includes(one.view.state));
    const before = view.state === 'waiting' ? active.findIndex((one) => one.view === view) : 0;
    const seconds = view.state === 'running' && began !== undefined ? (performance.now() - began) / 1000 : view.seconds;
    return { ...view, before, ...(seconds !== undefined && { seconds: Math.round(100 * seconds) / 100 }) };
  }

  private async paint(job: Job): Promise<void> {
    const { view, controller } = job;
    view.state = 'running';
    job.began = performance.now();
    const late = new HttpError(503, `the pictures took longer than ${this.timeout} s; ask for fewer or smaller ones`);
    const timer = setTimeout(() => controller.abort(late), 1000 * this.timeout);
    const { summary, tile } = this.painter.ready;
    const work = { ...view.order, count: view.pictures, tile: tile && tile / summary.factor };
    const share = shareOf(summary.networks, work);
    const onProgress = (progress: TextToImageProgress) => {
      const { stage, first, done, of } = progress;
      Object.assign(view, { stage, picture: first + 1, done: done / of, share: share(progress) });
    };
    try {
      const { pictures, notes } = await this.painter.paint(job.order, controller.signal, onProgress);
      controller.signal.throwIfAborted();
      job.painted = pictures;
      const files = pictures.map((_, i) => `/jobs/${view.id}/${i}.png`);
      Object.assign(view, {
        state: 'done',
        stage: undefined,
        done: 1,
        share: 1,
        notes,
        files,
        seconds: secondsSince(job.began),
      });
    } finally {
      clearTimeout(timer);
    }
  }

  private fail({ view, began }: Job, error: unknown): void {
    view.stage = undefined;
    if (began !== undefined) view.seconds = secondsSince(began);
    if (view.state === 'cancelled') return;
    const told = error instanceof HttpError || error instanceof RectiflowError;
    view.state = 'failed';
    view.error = told ? (error as Error).message.split('\n')[0] : 'internal server error';
    if (!(error instanceof HttpError)) this.onFailure(error);
  }

  /** Drops the oldest jobs that have ended while there are too many, or too many bytes. */
  private forget(): void {
    const ended = [...this.jobs].filter(([, { view }]) => view.state !== 'waiting' && view.state !== 'running');
    const size = (job: Job) => job.painted.reduce((sum, { length }) => sum + length, 0);
    let bytes = ended.reduce((sum, [, job]) => sum + size(job), 0);
    let left = ended.length;
    for (const [id, job] of ended) {
      if (left <= MOST_ENDED && bytes <= MOST_BYTES) return;
      this.jobs.delete(id);
      bytes -= size(job);
      left--;
    }
  }
}

const secondsSince = (began: number) => (performance.now() - began) / 1000;
