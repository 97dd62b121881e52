// The errors that the public API throws. An op's message reads "[op] expected ..., got ..."; a file error's message
// begins with the path.
import { escapeText } from './text.ts';

/**
 * Base class of every error that this package throws on purpose.
 * @example
 * try {
 *   reshape(zeros([2, 3]), [4]);
 * } catch (error) {
 *   error instanceof RectiflowError; // true
 *   error.name; // 'ShapeError'
 * }
 */
export class RectiflowError extends Error {
  /**
   * @param message one line, or several; control characters and line breaks within a line are escaped, long lines
   * shortened
   */
  constructor(message: string | readonly string[], options?: ErrorOptions) {
    super(escapeText(message), options);
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

/**
 * Shapes that do not fit together; the message holds both.
 * @example
 * try {
 *   matmul(zeros([2, 3]), zeros([4, 5]));
 * } catch (error) {
 *   error instanceof ShapeError; // true
 *   error.op; // 'matmul'
 * }
 */
export class ShapeError extends OpError {}

/**
 * A tensor whose dtype the op does not support.
 * @example
 * try {
 *   exp(tensor([1, 2], { dtype: 'i32' }));
 * } catch (error) {
 *   error instanceof DtypeError; // true
 *   error.op; // 'exp'
 * }
 */
export class DtypeError extends OpError {}

/**
 * Tensors of different devices in one op, or a device that cannot be opened or has no memory left.
 * @example
 * const wasm = await openDevice('wasm');
 * try {
 *   add(ones([2]), ones([2], { device: wasm }));
 * } catch (error) {
 *   error instanceof DeviceError; // true
 * }
 */
export class DeviceError extends RectiflowError {}

/**
 * A device allocation that failed. If it was for a tensor, the message lists what holds the rest of the memory.
 * @example
 * // At most 4 GiB.
 * const device = await openDevice('wasm');
 * try {
 *   zeros([2 ** 15, 2 ** 15], { device });
 * } catch (error) {
 *   error instanceof OutOfMemoryError; // true
 * }
 */
export class OutOfMemoryError extends DeviceError {}

/**
 * An action that a recorded graph cannot contain: reading a value back, an upload, a compilation.
 * @example
 * const firstRow = compile((x) => noGrad(() => mul(x, x.item())));
 * try {
 *   for (let i = 0; i < 3; i++) firstRow(ones([1]));
 * } catch (error) {
 *   error instanceof RecordingError; // true
 * }
 */
export class RecordingError extends DeviceError {}

/**
 * A value outside its range: a negative learning rate, a label that is not a class, an unknown name.
 * @example
 * try {
 *   take(tensor([10, 20]), tensor([2], { dtype: 'i32' }));
 * } catch (error) {
 *   error instanceof ValueError; // true
 * }
 */
export class ValueError extends RectiflowError {}

/**
 * An argument of the wrong type, a missing argument, or an unknown option.
 * @example
 * const options = JSON.parse('{ "axes": "rows" }');
 * try {
 *   sum(ones([2, 3]), options);
 * } catch (error) {
 *   error instanceof ArgumentError; // true
 *   error.expected; // 'axes to be a whole number or a list of whole numbers'
 * }
 */
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

/**
 * A kernel file that did not compile; the message contains the compiler's full log.
 * @example
 * const broken = defineOp({
 *   name: 'broken',
 *   kernels: { broken: 'ptr' },
 *   c: '#include "pool.h"\nKERNEL void broken(float *y) { y[0] = nonsense; }',
 *   forward({ empty, launch }, [x]) {
 *     const y = empty(x.shape);
 *     launch('broken', [y], { threads: 1 });
 *     return y;
 *   },
 *   backward: (_, gradient) => [gradient],
 * });
 * try {
 *   broken(ones([1]));
 * } catch (error) {
 *   error instanceof CompileError; // true
 * }
 */
export class CompileError extends RectiflowError {
  constructor(message: string, options?: ErrorOptions) {
    super(message.split('\n'), options);
  }
}

/**
 * Use of a tensor after its disposal.
 * @example
 * const x = ones([2]);
 * x.dispose();
 * try {
 *   square(x);
 * } catch (error) {
 *   error instanceof UseAfterFreeError; // true
 * }
 */
export class UseAfterFreeError extends RectiflowError {}

/**
 * A gradient requested through an op that has no backward rule.
 * @example
 * const x = tensor([-1, 2], { requiresGrad: true });
 * try {
 *   sum(cast(greater(x, 0), 'f32')).backward();
 * } catch (error) {
 *   error instanceof NotDifferentiableError; // true
 * }
 */
export class NotDifferentiableError extends RectiflowError {}

/**
 * A NaN or an infinity, with the first op that produced one.
 * @example
 * const velocity = (x) => div(x, mul(x, 0));
 * try {
 *   await sample(velocity, { shape: [2], count: 3, seed: 1, solver: 'euler', steps: 4 });
 * } catch (error) {
 *   error instanceof NonFiniteError; // true
 *   error.samples; // [0, 1, 2]
 * }
 */
export class NonFiniteError extends RectiflowError {
  /** Indices of the non-finite samples, within the batch or within all samples; empty if they are not known. */
  readonly samples: readonly number[];

  constructor(message: string, { samples = [], ...options }: ErrorOptions & { samples?: readonly number[] } = {}) {
    super(message, options);
    this.samples = samples;
  }
}

/**
 * A file that is missing, damaged, or of the wrong kind.
 * @example
 * try {
 *   await readNpy('missing.npy');
 * } catch (error) {
 *   error instanceof FileError; // true
 *   error.path; // 'missing.npy'
 *   error.problem; // 'no such file or folder; check the path'
 * }
 */
export class FileError extends RectiflowError {
  readonly path: string;
  /** The message without the path. */
  readonly problem: string;

  /** @param problem one line, or several */
  constructor(path: string, problem: string | readonly string[], options?: ErrorOptions) {
    const [first, ...more] = typeof problem === 'string' ? [problem] : problem;
    super([`${path}: ${first}`, ...more], options);
    this.path = path;
    this.problem = [first, ...more].join(' ');
  }
}

/**
 * A locked folder that another process has taken over; this process no longer writes to it.
 * @example
 * import { unlinkSync } from 'node:fs';
 *
 * const config = await loadConfig('digits', { model: { nf: 8 }, training: { batch_size: 8, n_iters: 1 } });
 * // As if another process had taken the folder over while this one was suspended.
 * const onStep = () => unlinkSync('run/lock');
 * try {
 *   await train(config, { workdir: 'run', device: await openDevice('cpu'), onStep });
 * } catch (error) {
 *   error instanceof LockLostError; // true
 * }
 */
export class LockLostError extends RectiflowError {}

/**
 * An invalid configuration. The message lists every problem with its path, one per line.
 * @example
 * try {
 *   await loadConfig('digitz');
 * } catch (error) {
 *   error instanceof ConfigError; // true
 *   error.message; // 'unknown configuration "digitz"; did you mean "digits"?'
 * }
 */
export class ConfigError extends RectiflowError {}

/**
 * An invalid command line; the command exits with status 2.
 * @example
 * try {
 *   sampleWriter('digits.gif');
 * } catch (error) {
 *   error instanceof UsageError; // true
 * }
 */
export class UsageError extends RectiflowError {}

/** Formats a shape for a message: "[2, 3, 4]". */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

/** Longer names are not compared: they are not typing errors, and comparing them takes time. */
const LONGEST_NAME = 100;

/** The candidate nearest to `name` by edit distance, if it is near enough to be a typing error. */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > LONGEST_NAME) return undefined;
  let best: string | undefined;
  // At least half of the characters are right.
  let bestDistance = Math.min(Math.max(2, Math.floor(name.length / 3)), Math.floor(name.length / 2)) + 1;
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
