// run.json: how a run was started and what it took. A run that was stopped and resumed has several sessions.
import { existsSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { FileError } from '../../errors.ts';
import { readWhole } from '../../io/file.ts';
import { parseJsonFile, writeJson } from '../../io/json.ts';
import { provenance } from '../machine/provenance.ts';

/** How a run was started. */
export interface RunOrigin {
  /** The configuration as it was named: "digits". */
  config?: string;
  /** The words of the command line. */
  command?: readonly string[];
}

export interface SessionRecord extends RunOrigin {
  version: string;
  revision: string;
  /** Version of Node. */
  node: string;
  /** The kind of machine: system, processor, cores, memory. It has no name, so that the file can be shared. */
  host: string;
  device: string;
  /** Time of day, as in ISO 8601. */
  started: string;
  /** The first step of the session, and the number of steps that the run has at its end. */
  from: number;
  steps: number;
  /** Seconds until the end, or until the last saved state of a session that was killed. */
  seconds: number;
  /** How it ended; absent while it runs, and for a session that was killed. */
  end?: 'done' | 'stopped' | 'failed';
}

const MAX_BYTES = 2 ** 22;
/** Sessions that are kept, the latest ones. */
const MOST_SESSIONS = 1000;

const pathOf = (workdir: string) => join(workdir, 'run.json');

/** The sessions of a run, in order. Empty for a missing or a damaged file, which holds nothing that a run needs. */
export async function readSessions(workdir: string): Promise<SessionRecord[]> {
  if (!existsSync(pathOf(workdir))) return [];
  try {
    const { sessions } = parseJsonFile(await readWhole(pathOf(workdir), MAX_BYTES), pathOf(workdir)) as {
      sessions?: unknown;
    };
    return Array.isArray(sessions) ? sessions.filter(isSession) : [];
  } catch (error) {
    if (!(error instanceof FileError) && !(error instanceof TypeError)) throw error;
    return [];
  }
}

function isSession(value: unknown): value is SessionRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { config = '', started, seconds, steps, host, node } = value as Partial<SessionRecord>;
  const texts = [config, started, host, node].every((text) => typeof text === 'string');
  return texts && Number.isFinite(seconds) && Number.isSafeInteger(steps);
}

/** The record of the session that runs. */
export class SessionWriter {
  private readonly workdir: string;
  private readonly before: readonly SessionRecord[];
  private readonly session: SessionRecord;
  private readonly start = performance.now();

  private constructor(workdir: string, before: readonly SessionRecord[], session: SessionRecord) {
    this.workdir = workdir;
    this.before = before;
    this.session = session;
  }

  /** Begins a session. @throws FileError if the file cannot be written */
  static async open(workdir: string, origin: RunOrigin, { device, from }: Pick<SessionRecord, 'device' | 'from'>) {
    const before = (await readSessions(workdir)).slice(1 - MOST_SESSIONS);
    const session = {
      ...origin,
      ...provenance(),
      node: process.version,
      host: hostClass(),
      device,
      started: new Date().toISOString(),
      from,
      steps: from,
      seconds: 0,
    };
    const writer = new SessionWriter(workdir, before, session);
    await writer.write();
    return writer;
  }

  /** Notes the number of steps so far and, at the end, how the session ended. */
  async update(steps: number, end?: SessionRecord['end']): Promise<void> {
    Object.assign(this.session, { steps, seconds: Math.round(performance.now() - this.start) / 1000, end });
    await this.write();
  }

  private write(): Promise<void> {
    return writeJson(pathOf(this.workdir), { sessions: [...this.before, this.session] });
  }
}

/** "linux x64, 16 x AMD EPYC 7B13, 63 GB". */
function hostClass(): string {
  const processors = cpus();
  const model = processors[0]?.model.replace(/\s+/g, ' ').trim() ?? 'unknown processor';
  return `${process.platform} ${process.arch}, ${processors.length} x ${model}, ${Math.round(totalmem() / 1e9)} GB`;
}
