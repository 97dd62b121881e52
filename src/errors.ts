// The errors a user can meet. An op's error reads "[op] expected ..., got ..."; a file's error begins with its path.
import { shown } from './text.ts';

/** Base of every error this package throws on purpose. */
export class RectiflowError extends Error {
  /** @param message one line, or several: control characters and line breaks within a line are escaped, and it is shortened */
  constructor(message: string | readonly string[], options?: ErrorOptions) {
    super(shown(message), options);
    this.name = new.target.name;
  }
}

class OpError extends RectiflowError {
  readonly op: string;
  readonly expected: string;
  readonly got: string;

  constructor(op: string, expected: string, got: string) {
    super(`[${op}] expected ${expected}, got ${got}`);
    this.op = op;
    this.expected = expected;
    this.got = got;
  }
}

/** Shapes that do not fit together; the message holds both. */
export class ShapeError extends OpError {}

/** A tensor of a dtype that the op does not take. */
export class DtypeError extends OpError {}

/** Tensors of several devices in one op, or a device that cannot be opened or has no memory left. */
export class DeviceError extends RectiflowError {}

/** Memory that a device has not got; of a tensor's, with a table of what holds the rest. */
export class OutOfMemoryError extends DeviceError {}

/** Something that a recorded graph cannot hold: a value read back, an upload, a compilation. */
export class RecordingError extends DeviceError {}

/** A value outside its range: a negative learning rate, a label beyond the classes, an unknown name. */
export class ValueError extends RectiflowError {}

/** An argument of the wrong kind, a missing one, or an option that a function does not have. */
export class ArgumentError extends ValueError {
  readonly op: string;
  readonly expected: string;
  readonly got: string;

  constructor(op: string, expected: string, got: string) {
    super(`[${op}] expected ${expected}, got ${got}`);
    this.op = op;
    this.expected = expected;
    this.got = got;
  }
}

/** A kernel file that did not compile; the message holds the compiler's whole log. */
export class CompileError extends RectiflowError {
  constructor(message: string, options?: ErrorOptions) {
    super(message.split('\n'), options);
  }
}

/** A tensor used after it was disposed. */
export class UseAfterFreeError extends RectiflowError {}

/** A gradient asked through an op that has none. */
export class NotDifferentiableError extends RectiflowError {}

/** A NaN or an infinity, with the op that made it first. */
export class NonFiniteError extends RectiflowError {
  /** Numbers of the samples that are not finite, within the batch or the whole; empty where that is not known. */
  readonly samples: readonly number[];

  constructor(message: string, { samples = [], ...options }: ErrorOptions & { samples?: readonly number[] } = {}) {
    super(message, options);
    this.samples = samples;
  }
}

/** A file that is missing, damaged, or of another kind than it should be. */
export class FileError extends RectiflowError {
  readonly path: string;
  /** The message without the path, as it was given. */
  readonly problem: string;

  /** @param problem one line, or several */
  constructor(path: string, problem: string | readonly string[], options?: ErrorOptions) {
    const [first, ...more] = typeof problem === 'string' ? [problem] : problem;
    super([`${path}: ${first}`, ...more], options);
    this.path = path;
    this.problem = [first, ...more].join(' ');
  }
}

/** A folder that this process had locked and that another has taken over meanwhile: nothing is written there any more. */
export class LockLostError extends RectiflowError {}

/** A wrong configuration: every problem with its path, one a line. */
export class ConfigError extends RectiflowError {}

/** A wrong command line: the command exits with 2. */
export class UsageError extends RectiflowError {}

/** "[2, 3, 4]", as shapes are written in messages. */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

/** Longer ones are no slip of the pen, and comparing them takes time. */
const LONGEST_NAME = 100;

/** The candidate nearest to `name` by edit distance, if it is near enough to be a slip of the pen. */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > LONGEST_NAME) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substitution, previous[j] + 1, current[j - 1] + 1));
    }
    previous = current;
  }
  return previous[b.length];
}
