// Adam with warm-up, weight decay and clipping of the global norm, and the exponential moving average of the weights,
// in one pass over the parameter arena. Kingma, Ba 2015; order and schedules of the official code (losses.py, ema.py):
//   lr_s = lr min(s / warmup, 1), s from 0; clip; Adam; then
//   shadow -= (1 - d)(shadow - p), d = min(rate, (1 + n) / (10 + n))
import { checkArgument, checkOptions, kind, kinds, type OptionKinds, oneOf } from '../arguments.ts';
import { withoutInterruption } from '../device/interruption.ts';
import { FileError, formatShape, ShapeError, ValueError } from '../errors.ts';
import { adamStep, globalNorm, scheduleOf } from '../kernels/inner/optimizer.ts';
import { allocate } from '../tensor/allocate.ts';
import { keep, scope } from '../tensor/scope.ts';
import { sameShape } from '../tensor/shape.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { type ArenaEntry, ParameterArena } from './arena.ts';
import { checkState, type Module, type StateValues } from './module.ts';
import { LossRing, type StepLoss } from './step_loss.ts';

export interface AdamOptions {
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** L2 penalty added to the gradient, as torch.optim.Adam has it. */
  weightDecay: number;
  /** Updates over which the rate rises linearly from 0; 0 for none. */
  warmup: number;
  /** Largest global norm of the gradient; negative for no clipping. */
  gradientClip: number;
  /** Largest decay of the moving average; 0 for no average. */
  emaRate: number;
}

const defaults: AdamOptions = {
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  warmup: 0,
  gradientClip: -1,
  emaRate: 0,
};

const share = kind('in [0, 1)', (v) => typeof v === 'number' && v >= 0 && v < 1);

const adamOptions: OptionKinds<AdamOptions> = {
  learningRate: kinds.notNegative,
  beta1: share,
  beta2: share,
  epsilon: kinds.notNegative,
  weightDecay: kinds.notNegative,
  warmup: kinds.notNegative,
  gradientClip: kinds.finite,
  emaRate: share,
};

/** Names as in PyTorch's Adam; ema is the moving average of the weights. */
export const adamStates = ['exp_avg', 'exp_avg_sq', 'ema'] as const;
export type AdamState = (typeof adamStates)[number];

/** The optimiser of a module's parameters, which it moves into an arena of its own; `dispose` frees the arena. */
export class Adam {
  readonly options: AdamOptions;
  /** The memory of all parameters and gradients. @internal */
  readonly arena: ParameterArena;
  private readonly firstMoment: Tensor;
  private readonly secondMoment: Tensor;
  private readonly ema: Tensor | null;
  /** Step size, correction and share of the average of the next update. */
  private readonly schedule: Tensor;
  private readonly losses: LossRing;
  private updates = 0;
  /**
   * While the averaged weights are in the module: the trained weights, and the number of calls of `withEma` that have
   * not returned.
   */
  private aside: { trained: Tensor; users: number } | undefined;

  /** Moves the module's parameters into an arena. @throws ValueError naming the option that is out of range */
  constructor(module: Module, options: Partial<AdamOptions> = {}) {
    this.options = { ...defaults, ...checkOptions('Adam', options, adamOptions) };
    this.arena = new ParameterArena(module);
    this.firstMoment = this.arena.zerosLike('moments of Adam');
    this.secondMoment = this.arena.zerosLike('moments of Adam');
    this.ema = this.options.emaRate > 0 ? this.arena.zerosLike('moving average') : null;
    this.schedule = keep(allocate([3], { device: this.arena.values.device }));
    this.losses = new LossRing(this.arena.values.device);
    if (this.ema) this.ema.device.copy(this.ema.address, this.arena.values.address, this.ema.size * 4);
  }

  /** The rate of the next update. */
  get learningRate(): number {
    const { learningRate, warmup } = this.options;
    return warmup > 0 ? learningRate * Math.min(this.updates / warmup, 1) : learningRate;
  }

  /**
   * One update from the accumulated gradients, which it zeroes.
   * @returns the global norm of the gradient before clipping, a tensor of one element owned by the open scope
   */
  step(): Tensor {
    this.advance();
    return this.update();
  }

  /**
   * The host's half of `step`: counts the next update and uploads its step size, correction and share of the average
   * for the kernel.
   * @throws ValueError while `withEma` runs, or for a parameter or a grad that has been replaced by another tensor
   * @internal
   */
  advance(): void {
    this.assertTrained('Adam.step');
    this.arena.assertBound('Adam.step');
    const { schedule, learningRate, options } = this;
    const { beta1, beta2, emaRate } = options;
    const step = ++this.updates;
    const emaDecay = Math.min(emaRate, (1 + step) / (10 + step));
    schedule.device.upload(schedule.address, scheduleOf(step, { learningRate, beta1, beta2, emaDecay }));
  }

  /** Takes back an `advance` whose update was not made, and zeroes the gradients. @internal */
  abandon(): void {
    this.updates--;
    withoutInterruption(() => this.arena.zeroGradients());
  }

  /**
   * The device's half of `step`: the same work each time, so it can be recorded. Skips the update if the norm is not
   * finite.
   * @internal
   */
  update(): Tensor {
    return withoutInterruption(() => this.updateAll());
  }

  private updateAll(): Tensor {
    const { arena, firstMoment, secondMoment, ema, schedule, options } = this;
    using norm = globalNorm(arena.gradients, options.gradientClip);
    adamStep(
      {
        parameters: arena.values,
        gradients: arena.gradients,
        firstMoment,
        secondMoment,
        ema,
        copy: arena.copies,
        norm,
        schedule,
      },
      {
        beta1: options.beta1,
        beta2: options.beta2,
        epsilon: options.epsilon,
        weightDecay: options.weightDecay,
        zeroGradients: true,
      },
    );
    for (const { storage } of [arena.values, arena.gradients]) storage.markWritten();
    return view(norm, []);
  }

  /**
   * One update from the gradient of the loss that `f` computes; frees everything made in between. Where it fails once
   * backward has begun, gradients are zeroed. It does not wait for the device.
   * @returns the loss of this step, whose `item()` can be read until 128 further steps have been made
   * @throws as `step` and `backward`
   */
  minimize(f: () => Tensor): StepLoss {
    checkArgument('Adam.minimize', 'its argument', f, kinds.callback);
    return scope(() => {
      const loss: unknown = f();
      requireTensor('Adam.minimize', loss, 'a function that returns a loss tensor');
      try {
        loss.backward();
        // Before the update: a loss may lie in the memory of a parameter.
        const handle = this.losses.put(loss);
        this.step();
        return handle;
      } catch (error) {
        if (!this.arena.gradients.disposed) this.arena.zeroGradients();
        throw error;
      }
    });
  }

  /** The optimiser's state for each parameter, by name. The caller owns the tensors, which are windows of the arena. */
  *state(kind: AdamState): Generator<[string, Tensor]> {
    checkArgument('Adam.state', 'kind', kind, oneOf(adamStates));
    const { arena } = this;
    for (const entry of arena.entries) yield [entry.path, arena.window(this.flat(kind), entry)];
  }

  /**
   * Continues from the state of another optimiser of the same module.
   * @param updates how many updates it had made
   * @param states host arrays by kind and parameter name
   * @throws FileError naming the first missing name, ShapeError naming a wrong shape
   */
  restore(updates: number, states: Record<AdamState, StateValues>, origin = 'state'): void {
    this.assertTrained('Adam.restore');
    checkArgument('Adam.restore', 'updates', updates, kinds.whole);
    checkArgument('Adam.restore', 'states', states, kinds.object);
    for (const kind of adamStates) checkState('Adam.restore', states[kind]);
    const uploads: [Tensor, ArenaEntry, Float32Array][] = [];
    for (const kind of adamStates)
      for (const entry of this.arena.entries) {
        const value = states[kind].get(entry.path);
        if (!value) throw new FileError(origin, `lacks "${entry.path}" among ${kind}`);
        if (!sameShape(value.shape, entry.shape))
          throw new ShapeError(`load ${kind} of ${entry.path}`, formatShape(entry.shape), formatShape(value.shape));
        uploads.push([this.flat(kind), entry, value.data]);
      }
    for (const [flat, entry, data] of uploads) {
      const window = this.arena.window(flat, entry);
      window.write(data);
      window.dispose();
    }
    this.updates = updates;
  }

  private flat(kind: AdamState): Tensor {
    const { firstMoment, secondMoment, ema, arena } = this;
    return { exp_avg: firstMoment, exp_avg_sq: secondMoment, ema: ema ?? arena.values }[kind];
  }

  /**
   * Runs `fn` with the averaged weights in the module, then puts the trained weights back. If calls overlap, they are
   * put back when the last call returns. Updates in between are refused.
   */
  async withEma<T>(fn: () => Promise<T>): Promise<T> {
    checkArgument('Adam.withEma', 'its argument', fn, kinds.callback);
    if (!this.ema) return fn();
    const { ema } = this;
    this.aside ??= { trained: withoutInterruption(() => this.exchange(ema)), users: 0 };
    this.aside.users++;
    try {
      return await fn();
    } finally {
      const { aside } = this;
      withoutInterruption(() => this.putBack(aside));
    }
  }

  /** Puts `weights` into the module. @returns a copy of the previous ones */
  private exchange(weights: Tensor): Tensor {
    const { arena } = this;
    const { device, address, size } = arena.values;
    const before = keep(arena.zerosLike('trained parameters, set aside'));
    device.copy(before.address, address, size * 4);
    this.put(weights);
    return before;
  }

  private put(weights: Tensor): void {
    const { values } = this.arena;
    values.device.copy(values.address, weights.address, values.size * 4);
    values.storage.markWritten();
    this.arena.refreshCopies();
  }

  private putBack(aside: { trained: Tensor; users: number }): void {
    if (--aside.users > 0) return;
    this.aside = undefined;
    using trained = aside.trained;
    this.put(trained);
  }

  /** @throws ValueError while the averaged weights are in the module: changes to them would be lost */
  private assertTrained(op: string): void {
    if (this.aside)
      throw new ValueError(`[${op}] expected the trained weights in the module, got a call while withEma() runs`);
  }

  /** Frees weights, gradients, moments, average, schedule and losses. */
  dispose(): void {
    for (const tensor of [this.firstMoment, this.secondMoment, this.ema, this.schedule]) tensor?.dispose();
    this.losses.dispose();
    this.arena.dispose();
  }
}
