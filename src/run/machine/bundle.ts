// `doctor --bundle`: one text file with what a report of a fault needs, without personal paths, names and secrets.
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { join } from 'node:path';
import { cpuIdentity } from '../../device/cc.ts';
import { variablesInUse } from '../../device/environment.ts';
import { openDevice } from '../../device/open.ts';
import { FileError } from '../../errors.ts';
import { isFolder } from '../../io/file.ts';
import { writeFileAtomic } from '../../io/index.ts';
import { escapeText } from '../../text.ts';
import type { Finding } from './doctor.ts';
import { gitRevision, NUMERICS, packageVersion } from './provenance.ts';
import { identityOf, redact } from './redact.ts';
import { machineMemory, megabytes } from './resources.ts';
import { tuningIdentity, useNamedTuning } from './tuning.ts';

const MOST_BYTES = 2 ** 16;
const LOG_LINES = 20;
const MOST_STAGES = 20;

/** @throws FileError unless it is a folder, whose files the report can hold */
export function requireFolder(workdir: string): void {
  if (!isFolder(workdir)) throw new FileError(workdir, 'is not a folder of a run or a chain');
}

/**
 * Writes the report.
 * @param workdir the folder of a run or a chain, whose configuration and last log lines are included
 * @throws FileError if the file cannot be written
 */
export async function writeBundle(path: string, findings: readonly Finding[], workdir?: string): Promise<void> {
  const text = [
    'Report of `rectiflow doctor --bundle`. Paths, the names of user and machine, and what looks like a secret are',
    'replaced. Please read it before you send it.',
    section('Versions', versions()),
    section('System', system()),
    section(
      'Findings',
      findings.flatMap(({ state, what, detail, remedy }) => [
        `${state.padEnd(8)}${what}: ${detail}`,
        ...(remedy ? [`        -> ${remedy}`] : []),
      ]),
    ),
    // No other variable is looked at.
    section('Environment', variablesInUse()),
    section('Convolution algorithms', await tuning()),
    ...(workdir === undefined ? [] : folders(workdir).map(([title, lines]) => section(title, lines))),
    '',
  ].join('\n');
  await writeFileAtomic(path, [Buffer.from(redact(text, identityOf(workdir)))]);
}

function section(title: string, lines: readonly string[]): string {
  return `\n## ${title}\n\n${escapeText(lines.length > 0 ? lines : ['none'])}`;
}

function versions(): string[] {
  const { node, v8, uv, modules } = process.versions;
  return [
    `rectiflow ${packageVersion()}, ${gitRevision() ?? 'installed package'}, arithmetic ${NUMERICS}`,
    `Node ${node}, V8 ${v8}, libuv ${uv}, ABI ${modules}`,
  ];
}

function system(): string[] {
  const [{ model } = { model: 'unknown processor' }] = cpus();
  const flags = cpuIdentity().split(/\s+/);
  const vector = /^(sse4|ssse3|avx|fma|f16c|bmi|amx|asimd|neon|sve|fphp|i8mm|bf16)/;
  return [
    `${process.platform} ${release()} ${process.arch}, ${distribution()}, C library: ${cLibrary()}`,
    `${model.trim()}, ${availableParallelism()} threads granted of ${cpus().length}`,
    `instruction sets: ${flags.filter((flag) => vector.test(flag)).join(' ') || 'unknown'}`,
    `memory: ${megabytes(machineMemory())} granted, ${megabytes(process.availableMemory())} free`,
  ];
}

function distribution(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown distribution';
  } catch {
    return 'unknown distribution';
  }
}

function cLibrary(): string {
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime === undefined ? 'not glibc' : `glibc ${header.glibcVersionRuntime}`;
}

/** The table that each device uses, and the hash of it that checkpoints hold. */
async function tuning(): Promise<string[]> {
  const named = await useNamedTuning().catch((error: Error) => error.message);
  const lines = [named === undefined ? "the package's tables" : `RECTIFLOW_TUNING: ${named}`];
  for (const name of ['cpu', 'wasm'])
    lines.push(
      await openDevice(name).then(
        (device) => `${name}: ${tuningIdentity(device)}`,
        () => `${name}: cannot be opened, see the findings`,
      ),
    );
  return lines;
}

/** What is in the folder and in those of its stages: names and sizes, configuration, the end of the log. */
function folders(workdir: string): [title: string, lines: string[]][] {
  const names = listed(workdir);
  const stages = names.filter((name) => name.endsWith('/')).slice(0, MOST_STAGES);
  return [
    ['Work directory', names],
    ...['.', ...stages].flatMap((stage) =>
      ['chain.json', 'config.json', 'log.jsonl'].flatMap((name): [string, string[]][] => {
        const lines = linesOf(join(workdir, stage, name), name === 'log.jsonl');
        return lines === undefined ? [] : [[`Work directory: ${stage === '.' ? '' : stage}${name}`, lines]];
      }),
    ),
  ];
}

/** "name  bytes", folders with a slash. */
function listed(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .map((entry) => {
      if (entry.isDirectory()) return `${entry.name}/`;
      const size = statSync(join(folder, entry.name), { throwIfNoEntry: false })?.size;
      return `${entry.name}  ${size ?? 'a broken link'}`;
    })
    .sort()
    .slice(0, 100);
}

/** The beginning of a file, or its last lines; undefined if there is none, or it is not a regular file. */
function linesOf(path: string, isLog: boolean): string[] | undefined {
  try {
    if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return undefined;
    const file = openSync(path, 'r');
    try {
      const { size } = fstatSync(file);
      const bytes = Buffer.alloc(Math.min(size, MOST_BYTES));
      readSync(file, bytes, 0, bytes.length, isLog ? size - bytes.length : 0);
      const lines = bytes.toString('utf8').trimEnd().split('\n');
      return isLog ? lines.slice(-LOG_LINES) : lines;
    } finally {
      closeSync(file);
    }
  } catch (error) {
    return [`cannot be read: ${(error as Error).message}`];
  }
}
