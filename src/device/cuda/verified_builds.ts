// Checks each fast build of kernels on the card before its first use: it and its portable twin compute the same small problem. A
// build that disagrees, faults or does not end is not used. What was found is kept in the cache of kernels, so that a card checks a
// build once for each driver and each state of the kernels.
import { readFileSync } from 'node:fs';
import { DeviceError } from '../../errors.ts';
import { cacheKey } from '../cache.ts';
import { debugLine } from '../debug.ts';
import type { Device, FastBuilds } from '../device.ts';
import { fromEnvironment } from '../environment.ts';
import { type CheckResult, checkOf, type FastCheck } from '../fast_builds.ts';
import type { CudaLaunchers, CudaModule } from '../module.ts';
import { type Card, type Driver, DriverError, type Stream } from '../native/libcuda.ts';
import { notify } from '../notices.ts';
import type { CudaCompiler } from './compiler.ts';

/** Raised when checks find more than they did, so that what they found before is not used. */
const CHECKS = 1;
/** Milliseconds after which a kernel of a check, which takes microseconds, counts as one that never ends. */
const LONGEST = 20_000;
/** Milliseconds that a card has to answer after a kernel has failed. */
const TO_ANSWER = 2_000;

/** Why a build is not used; undefined if it agrees with its twin. */
export interface Verdict {
  reason?: string;
}

interface Host {
  readonly device: Device;
  readonly driver: Driver;
  readonly compiler: CudaCompiler;
  readonly stream: Stream;
  readonly card: Card;
  /** @throws RecordingError while work is recorded */
  refuse(what: string): void;
}

/** Builds whose faults this process has reported. */
const reported = new Set<string>();

export class VerifiedBuilds implements FastBuilds {
  private readonly host: Host;
  private readonly verdicts = new Map<CudaModule, Verdict>();
  private readonly enabled = fromEnvironment('RECTIFLOW_VERIFY') ?? true;
  /** The check that runs now: whether it runs the build or its twin, and the kernels of the build that it has launched. */
  private check: { build: CudaModule; fast: boolean; launched: Set<string> } | undefined;

  constructor(host: Host) {
    this.host = host;
  }

  choose<Build extends { readonly module: CudaModule }>(builds: readonly Build[], usual: Build): Build | undefined {
    const { check } = this;
    if (check) return check.fast ? builds.find(({ module }) => module === check.build) : undefined;
    return this.verdictOf(usual.module).reason === undefined ? usual : undefined;
  }

  /** @throws DeviceError for a build that is not used on this card */
  require(build: CudaModule): void {
    if (!build.twin || this.check) return;
    const { reason } = this.verdictOf(build);
    if (reason !== undefined)
      throw new DeviceError(`the kernels ${build.name} are not used on ${describeCard(this.host.card)}: ${reason}`);
  }

  /**
   * What is known of a build; it is checked if nothing is.
   * @throws DeviceError if a kernel fails in such a way that this process cannot use the card any more
   */
  verdictOf(build: CudaModule): Verdict {
    if (!build.twin || !this.enabled) return {};
    const known = this.verdicts.get(build);
    if (known) return known;
    const check = checkOf(build);
    // The module was imported after the card had been opened, and its check is on its way.
    if (!check) return { reason: 'their check is not loaded yet' };
    const verdict = this.recorded(build) ?? this.verify(build, build.twin, check);
    this.verdicts.set(build, verdict);
    if (verdict.reason !== undefined) report(build, verdict.reason, this.host.card);
    return verdict;
  }

  /** The twins that checks of these builds will need. */
  twinsFor(builds: readonly CudaModule[]): CudaModule[] {
    if (!this.enabled) return [];
    const unknown = builds.filter((build) => build.twin && !this.verdicts.has(build) && !this.recorded(build));
    return [...new Set(unknown.map(({ twin }) => twin as CudaModule))];
  }

  /** The launchers of a module, or for the check that runs now those that note what is launched. */
  observed(module: CudaModule, launchers: CudaLaunchers): CudaLaunchers {
    const { check } = this;
    if (check?.build !== module) return launchers;
    const noted = Object.entries(launchers).map(([name, launch]): [string, typeof launch] => [
      name,
      (...values) => {
        check.launched.add(name);
        launch(...values);
      },
    ]);
    return Object.fromEntries(noted);
  }

  private recorded(build: CudaModule): Verdict | undefined {
    const { compiler, card, driver } = this.host;
    return readVerdict(compiler, build, card, driver);
  }

  private verify(build: CudaModule, twin: CudaModule, check: FastCheck): Verdict {
    const { device, compiler, card, driver, stream } = this.host;
    this.host.refuse(`checking ${build.name}`);
    const start = performance.now();
    const seed = seedOf(build.name);
    this.check = { build, fast: true, launched: new Set() };
    stream.limit = LONGEST;
    let verdict: Verdict;
    let lost = false;
    try {
      // Errors of compiling and loading come before any kernel runs.
      for (const module of [build, twin]) device.load(module);
      const got = this.run(check, seed);
      if (typeof got === 'string') {
        verdict = { reason: got };
        lost = !this.answers();
      } else {
        this.check.fast = false;
        const expected = this.run(check, seed);
        if (typeof expected === 'string') throw new DeviceError(`the portable kernels ${twin.name} fail: ${expected}`);
        verdict = { reason: disagreement(got, expected) };
      }
    } finally {
      this.check = undefined;
      stream.limit = undefined;
    }
    const unkept = compiler.cache.keep(keyOf(compiler, build, card, driver), JSON.stringify(verdict));
    const note = unkept === undefined ? '' : `, which is not kept: ${unkept}`;
    debugLine(1, `checked ${build.name} in ${(performance.now() - start).toFixed(0)} ms${note}`);
    if (!lost) return verdict;
    const remedy =
      unkept === undefined
        ? 'start the program again, and the portable kernels will serve in their place'
        : `this cannot be remembered (${unkept}); repair the cache, then start the program twice`;
    throw new DeviceError(
      `the kernels ${build.name} failed on ${describeCard(card)} when they were checked, and this process cannot use the card any ` +
        `more: ${verdict.reason}. Please report it, and ${remedy}`,
    );
  }

  /** @returns the results, or why there are none */
  private run(check: FastCheck, seed: number): CheckResult[] | string {
    const { build, fast, launched } = this.check as NonNullable<typeof this.check>;
    try {
      const results = check(this.host.device, build, seed);
      const missing = fast ? Object.keys(build.kernels).filter((name) => !launched.has(name)) : [];
      return missing.length > 0 ? `their check does not run ${missing.join(', ')}` : results;
    } catch (error) {
      const failure = driverErrorIn(error);
      if (!failure || failure.outOfMemory) throw error;
      return failure.message;
    }
  }

  /** Whether the card works after a kernel has failed. */
  private answers(): boolean {
    const { stream } = this.host;
    try {
      stream.limit = TO_ANSWER;
      stream.wait();
      return true;
    } catch {
      return false;
    }
  }
}

/** What an earlier check found; undefined if there was none, or if its record is damaged. */
export function readVerdict(
  compiler: CudaCompiler,
  build: CudaModule,
  card: Card,
  driver: Driver,
): Verdict | undefined {
  const text = compiler.cache.kept(keyOf(compiler, build, card, driver));
  return text === undefined ? undefined : (JSON.parse(text) as Verdict);
}

function keyOf(compiler: CudaCompiler, build: CudaModule, card: Card, driver: Driver): string {
  const images = [build, build.twin as CudaModule].map((module) => compiler.keyOf(module));
  const { name, architecture, multiprocessors } = card;
  const numbers = [architecture, multiprocessors, CHECKS].map(String);
  return cacheKey(`check_${build.name}`, [...images, name, ...numbers, driver.version, driverRelease()]);
}

/** The version of the driver itself, which is finer than that of CUDA; empty where the system does not tell it. */
function driverRelease(): string {
  try {
    return readFileSync('/proc/driver/nvidia/version', 'utf8');
  } catch {
    return '';
  }
}

function report({ name }: CudaModule, reason: string, card: Card): void {
  const key = `${name} ${card.index}`;
  if (reported.has(key)) return;
  reported.add(key);
  notify(
    `the kernels ${name} are not used on ${describeCard(card)}: ${reason}. The portable kernels serve in their place, which are slower. ` +
      'Please report this with the output of `rectiflow doctor`',
  );
}

const describeCard = ({ index, name }: Card) => `cuda:${index} (${name})`;

/** A different whole number for each name, below 2^31. */
function seedOf(name: string): number {
  let seed = 0;
  for (const letter of name) seed = (31 * seed + letter.charCodeAt(0)) % 2147483647;
  return seed;
}

function driverErrorIn(error: unknown): DriverError | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (cause instanceof DriverError) return cause;
  return undefined;
}

/** Describes the first result that differs by more than it may. */
function disagreement(got: readonly CheckResult[], expected: readonly CheckResult[]): string | undefined {
  for (const [i, { what, values, tolerance }] of expected.entries()) {
    const off = differenceOf(got[i].values, values);
    // NaN is not below any tolerance.
    if (!(off <= tolerance)) {
      const size = Number.isNaN(off) ? 'it holds NaN' : `by ${off.toExponential(1)} of the largest value`;
      return `${what} differs from the portable kernels, ${size}`;
    }
  }
  return undefined;
}

/** The largest difference over the largest expected value; NaN if a value of either is NaN. */
function differenceOf(got: Float32Array, expected: Float32Array): number {
  let [most, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    // Math.max of NaN and a number is NaN.
    most = Math.max(most, Math.abs(got[i] - expected[i]));
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  return most === 0 ? 0 : most / largest;
}
