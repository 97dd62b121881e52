// Loggers: where a training run sends its figures besides log.jsonl. An adapter to a tracker is an object with the methods
// that the tracker has a use for; docs/loggers.md shows one.
import type { Image } from '../../io/png.ts';
import type { Config } from '../config/types.ts';

/** The start of a session: a run that was stopped and resumed has several. */
export interface LoggerSession {
  /** Folder of the run. */
  workdir: string;
  /** The first step. Earlier sessions may have logged steps from here on, which count no longer. */
  from: number;
  /** What the run computes on. */
  device: string;
  /** Version of this package. */
  version: string;
  /** Revision of its checkout, or `unknown`. */
  revision: string;
}

/** How a session ended: after the last step, by its signal, or by an error. */
export type SessionEnd = 'done' | 'stopped' | 'failed';

/**
 * Receives what a run logs, in the order of steps. Training waits for a promise that a method returns. An error, or a
 * promise that is not settled after half a minute, ends the logger with a notice; training continues.
 */
export interface RunLogger {
  /** Shown in notices. */
  readonly name?: string;
  /** Called once, before all others. */
  config?(config: Config, session: LoggerSession): void | Promise<void>;
  /** Values by tag, such as `{ 'train/loss': 0.3 }`. */
  scalars(step: number, values: Readonly<Record<string, number>>): void | Promise<void>;
  /** The grid of a snapshot's samples, u8. */
  images?(step: number, tag: string, image: Image): void | Promise<void>;
  /** A notice of the run. */
  text?(step: number, tag: string, text: string): void | Promise<void>;
  /** Called before a state is saved, from which the run may resume: what was given so far should last. */
  sync?(): void | Promise<void>;
  /** Called once, after all others. */
  close?(end: SessionEnd): void | Promise<void>;
}

/** Milliseconds that a logger may take for one call. */
const PATIENCE_MS = 30_000;

/** Several loggers as one. */
export class LoggerList implements RunLogger {
  private readonly loggers: Set<RunLogger>;
  private readonly own: ReadonlySet<RunLogger>;
  private readonly notice: (text: string) => void;
  private readonly patience: number;

  /**
   * @param own loggers of this package, which write files: their errors are the caller's, like those of other files
   * @param others loggers of the user, whose errors end the logger only
   */
  constructor(
    own: readonly RunLogger[],
    others: readonly RunLogger[],
    notice: (text: string) => void,
    patience = PATIENCE_MS,
  ) {
    this.loggers = new Set([...own, ...others]);
    this.own = new Set(own);
    this.notice = notice;
    this.patience = patience;
  }

  config(config: Config, session: LoggerSession): Promise<void> {
    return this.each((logger) => logger.config?.(config, session));
  }

  scalars(step: number, values: Readonly<Record<string, number>>): Promise<void> {
    return this.each((logger) => logger.scalars(step, values));
  }

  images(step: number, tag: string, image: Image): Promise<void> {
    return this.each((logger) => logger.images?.(step, tag, image));
  }

  text(step: number, tag: string, text: string): Promise<void> {
    return this.each((logger) => logger.text?.(step, tag, text));
  }

  sync(): Promise<void> {
    return this.each((logger) => logger.sync?.());
  }

  /** Closes all of them, even if one fails. */
  async close(end: SessionEnd): Promise<void> {
    const failures: unknown[] = [];
    for (const logger of this.loggers)
      await this.call(logger, (one) => one.close?.(end)).catch((error) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  }

  private async each(work: (logger: RunLogger) => void | Promise<void>): Promise<void> {
    for (const logger of this.loggers) await this.call(logger, work);
  }

  private async call(logger: RunLogger, work: (logger: RunLogger) => void | Promise<void>): Promise<void> {
    if (this.own.has(logger)) return work(logger);
    try {
      await withPatience(async () => work(logger), this.patience);
    } catch (error) {
      this.loggers.delete(logger);
      this.notice(
        `the logger ${logger.name ?? logger.constructor.name} failed and is not called again: ${messageOf(error)}`,
      );
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function withPatience(work: () => Promise<void>, patience: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it did not answer within ${patience / 1000} s`)), patience);
  });
  try {
    await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}
