// The base of the optimisers. It moves the parameters of a module into an arena, keeps moments and the exponential moving
// average of the weights next to it, and makes an update in one pass over all of them: clipping of the global norm, the
// rule of the optimiser, moving average, zeroed gradients.
//   shadow -= (1 - d)(shadow - p), d = min(rate, (1 + n) / (10 + n))
import { checkArgument, checkOptions, kind, kinds, type OptionKinds, oneOf } from '../arguments.ts';
import { withoutInterruption } from '../device/interruption.ts';
import { FileError, formatShape, ShapeError, ValueError } from '../errors.ts';
import { globalNorm, SCHEDULED, type UpdateRate, type UpdateTensors } from '../kernels/inner/optimizer.ts';
import { allocate } from '../tensor/allocate.ts';
import { keep, scope } from '../tensor/scope.ts';
import { sameShape } from '../tensor/shape.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import { alias, view } from '../tensor/view.ts';
import { type ArenaEntry, ParameterArena } from './arena.ts';
import { checkState, type Module, type StateValues } from './module.ts';
import type { OptimizerOptions } from './optimizer_options.ts';
import { checkGroup, type GroupOptions, groupList, groupsOf, type ParameterGroup } from './parameter_groups.ts';
import type { Schedule } from './schedules.ts';
import { LossRing, type StepLoss } from './step_loss.ts';

export { type OptimizerOptions, optimizerDefaults, optimizerKinds, rateKind, share } from './optimizer_options.ts';

/** Names of moments, as in PyTorch. */
export const momentNames = ['exp_avg', 'exp_avg_sq', 'momentum_buffer'] as const;
export type MomentName = (typeof momentNames)[number];

/** What an optimiser keeps of each parameter: moments, and the moving average of the weights. */
export type OptimizerState = MomentName | 'ema';

/** What an update of a contiguous part of the arena reads and writes. */
export interface PartTensors extends UpdateTensors {
  /** In the order of the rule's `moments`. */
  moments: readonly Tensor[];
  /** The parameters, with offsets from the start of the part. */
  entries: readonly ArenaEntry[];
  /** Whether the update sets gradients to 0; otherwise they stay, and the next ones are written over them. */
  zeroGradients: boolean;
}

/** What an update that is recorded does differently. */
export interface RecordedUpdate {
  /** On CUDA: f32; the update is skipped if one of these numbers is not finite, and the norm is NaN then. */
  guard?: Tensor;
  /** On CUDA: gradients are not set to 0, because the next backward pass writes over them; default false. */
  keepGradients?: boolean;
}

/** How one kind of parameters is updated. */
export interface UpdateRule<Options> {
  readonly moments: readonly MomentName[];
  /** The rate among the options. */
  rate(options: Options): number | Schedule;
  /** The values that change from update to update. @param step number of the update, from 1 */
  schedule(step: number, rate: UpdateRate, options: Options): Float32Array;
  /** Enqueues the update. */
  update(tensors: PartTensors, options: Options): void;
}

/** What distinguishes one optimiser from another. */
export interface OptimizerDefinition<Options> {
  name: string;
  defaults: Options;
  kinds: OptionKinds<Options>;
  rules: readonly UpdateRule<Options>[];
  /** The rule for a parameter, by its number; default: the only one. */
  ruleOf?(parameter: Tensor, options: Options): number;
  /** Checks options that depend on each other. @throws ValueError */
  check?(options: Options): void;
}

/** A contiguous part of the arena: parameters of one rule and one group. */
interface Part<Options> {
  rule: UpdateRule<Options>;
  /** The options of its group. */
  group: GroupOptions<Options>;
  tensors: Omit<PartTensors, 'norm' | 'zeroGradients'>;
}

/** The moment of all parameters of one rule. */
interface Moment {
  name: MomentName;
  values: Tensor;
  /** First float of the arena that it belongs to. */
  begin: number;
  entries: readonly ArenaEntry[];
}

/**
 * The optimiser of a module's parameters, which it moves into an arena of its own; `dispose` frees the arena.
 * @example
 * const layer = new Linear(1, 1);
 * const optimizer = new SGD(layer, { learningRate: 0.1, emaRate: 0.9 });
 * optimizer.minimize(() => mse(layer.forward(zeros([4, 1])), ones([4, 1])));
 * await optimizer.withEma(() => layer.bias.item() > 0); // true
 * optimizer.dispose();
 */
export abstract class Optimizer<Options extends OptimizerOptions = OptimizerOptions> {
  readonly options: Options;
  /** The memory of all parameters and gradients. @internal */
  readonly arena: ParameterArena;
  private readonly definition: OptimizerDefinition<Options>;
  private readonly parts: Part<Options>[] = [];
  private readonly moments: Moment[] = [];
  private readonly ema: Tensor | null;
  /** f32 [parts, 4], what changes from update to update. */
  private readonly schedule: Tensor;
  private readonly losses: LossRing;
  private updates = 0;
  /**
   * While the averaged weights are in the module: the trained weights, and the number of calls of `withEma` that have
   * not returned.
   */
  private aside: { trained: Tensor; users: number } | undefined;

  /** @internal */
  protected constructor(
    definition: OptimizerDefinition<Options>,
    module: Module,
    given: Partial<Options> & { groups?: readonly ParameterGroup<Options>[] },
  ) {
    const { name, defaults, rules, ruleOf = () => 0, check } = definition;
    const known = { ...definition.kinds, groups: groupList } as OptionKinds<typeof given>;
    const { groups: listed = [], ...own } = checkOptions(name, given, known);
    this.definition = definition;
    this.options = { ...defaults, ...(own as Partial<Options>) };
    const groups = listed.map((group, i) => checkGroup(name, group, i, definition.kinds));
    const optionsOf = (group: number) => (group < 0 ? this.options : { ...this.options, ...groups[group].options });
    for (let group = -1; group < groups.length; group++) check?.(optionsOf(group));
    // Parts are ordered by rule, so that the moments of a rule are contiguous, then by group; the first has no group.
    const perRule = groups.length + 1;
    this.arena = new ParameterArena(module, (parameters) =>
      groupsOf(name, parameters, groups).map((group, i) => {
        const rule = ruleOf(parameters[i][1], optionsOf(group));
        return rule * perRule + group + 1;
      }),
    );
    const { arena } = this;
    const { device } = arena.values;
    rules.forEach((rule, i) => {
      const entries = arena.entries.filter(({ part }) => Math.floor(part / perRule) === i);
      if (entries.length === 0) return;
      const { begin, size } = arena.rangeOf(i * perRule, (i + 1) * perRule - 1);
      for (const moment of rule.moments)
        this.moments.push({ name: moment, values: arena.zerosLike(`moments of ${name}`, size), begin, entries });
    });
    this.ema = this.options.emaRate > 0 ? arena.zerosLike('moving average') : null;
    const numbers = [...new Set(arena.entries.map(({ part }) => part))].sort((a, b) => a - b);
    this.schedule = keep(allocate([numbers.length, SCHEDULED], { device }));
    numbers.forEach((number, i) => {
      const rule = rules[Math.floor(number / perRule)];
      const group = groups[(number % perRule) - 1]?.options ?? {};
      this.parts.push({ rule, group, tensors: this.partTensors(number, i, rule) });
    });
    this.losses = new LossRing(device, `${name}.minimize`);
    if (this.ema) device.copy(this.ema.address, arena.values.address, this.ema.size * 4);
  }

  /** Windows of everything that belongs to one part. */
  private partTensors(number: number, place: number, rule: UpdateRule<Options>): Part<Options>['tensors'] {
    const { arena, ema, schedule } = this;
    const { begin, size } = arena.rangeOf(number);
    const window = (flat: Tensor, first = 0) => alias(flat, [size], begin - first);
    return {
      parameters: window(arena.values),
      gradients: window(arena.gradients),
      ema: ema && window(ema),
      copy: arena.copies && window(arena.copies),
      schedule: alias(schedule, [SCHEDULED], SCHEDULED * place),
      moments: rule.moments.map((name) => {
        const moment = this.moments.find((one) => one.name === name) as Moment;
        return window(moment.values, moment.begin);
      }),
      entries: arena.entries
        .filter(({ part }) => part === number)
        .map((entry) => ({ ...entry, offset: entry.offset - begin })),
    };
  }

  /** The rate of the next update, for the parameters that are in no group. */
  get learningRate(): number {
    return this.rateOf(this.options.learningRate, this.options);
  }

  /** The names of its states, see `state`. */
  get states(): readonly OptimizerState[] {
    return [...this.moments.map(({ name }) => name), 'ema'];
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
   * The host's half of `step`: counts the next update and uploads what it needs beyond the gradients, such as its step
   * size and its share of the average.
   * @throws ValueError while `withEma` runs, or for a parameter or a grad that has been replaced by another tensor
   * @internal
   */
  advance(): void {
    this.assertTrained('step');
    this.arena.assertBound(this.op('step'));
    const { schedule, parts } = this;
    const step = this.updates + 1;
    const emaDecay = Math.min(this.options.emaRate, (1 + step) / (10 + step));
    const values = new Float32Array(schedule.size);
    parts.forEach(({ rule, group }, i) => {
      const options = { ...this.options, ...group };
      const learningRate = this.rateOf(rule.rate(options), options);
      values.set(rule.schedule(step, { learningRate, emaDecay }, options), SCHEDULED * i);
    });
    this.updates = step;
    schedule.device.upload(schedule.address, values);
  }

  private rateOf(rate: number | Schedule, { warmup }: OptimizerOptions): number {
    const { updates } = this;
    const value = typeof rate === 'number' ? rate : rate(updates);
    if (typeof rate !== 'number')
      checkArgument(this.op('step'), `the rate of step ${updates}`, value, kinds.notNegative);
    return warmup > 0 ? value * Math.min(updates / warmup, 1) : value;
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
  update(options: RecordedUpdate = {}): Tensor {
    return withoutInterruption(() => this.updateAll(options));
  }

  /** Bytes of the weights and states. @internal */
  get stateBytes(): number {
    return this.allStates().reduce((sum, { size }) => sum + 4 * size, 0);
  }

  /** Continues after this number of updates, whose `flatStates` have been written already. @internal */
  continueFrom(updates: number): void {
    this.updates = updates;
    this.arena.refreshCopies();
  }

  /** All that updates change, flat f32 tensors in a fixed order: weights, moments, average. @internal */
  allStates(): Tensor[] {
    return [this.arena.values, ...this.moments.map(({ values }) => values), ...(this.ema ? [this.ema] : [])];
  }

  /**
   * Calls `fn`, which may call `step`, then puts weights and states back as they were and zeroes the gradients.
   * For measurements; it takes `stateBytes` of memory.
   * @internal
   */
  rehearse<T>(fn: () => T): T {
    const { updates, arena } = this;
    const { device } = arena.values;
    const states = this.allStates();
    const copies: Tensor[] = [];
    const copyAll = (targets: readonly Tensor[], sources: readonly Tensor[]) =>
      targets.forEach((target, i) => device.copy(target.address, sources[i].address, 4 * sources[i].size));
    try {
      for (const { size } of states) copies.push(arena.zerosLike('states, set aside', size));
      copyAll(copies, states);
      return fn();
    } finally {
      if (copies.length === states.length) withoutInterruption(() => this.takeBack(() => copyAll(states, copies)));
      for (const copy of copies) copy.dispose();
      this.updates = updates;
    }
  }

  private takeBack(copyStates: () => void): void {
    copyStates();
    for (const { storage } of this.allStates()) storage.markWritten();
    this.arena.refreshCopies();
    this.arena.zeroGradients();
  }

  private updateAll({ guard, keepGradients = false }: RecordedUpdate): Tensor {
    const { arena, parts, options } = this;
    using norm = globalNorm(arena.gradients, options.gradientClip, guard);
    for (const { rule, group, tensors } of parts)
      rule.update({ ...tensors, norm, zeroGradients: !keepGradients }, { ...options, ...group });
    arena.values.storage.markWritten();
    arena.markCleared();
    return view(norm, []);
  }

  /**
   * One update from the gradient of the loss that `f` computes; frees everything made in between. Where it fails once
   * backward has begun, gradients are zeroed. It does not wait for the device.
   * @returns the loss of this step, whose `item()` can be read until 128 further steps have been made
   * @throws as `step` and `backward`
   */
  minimize(f: () => Tensor): StepLoss {
    checkArgument(this.op('minimize'), 'its argument', f, kinds.callback);
    return scope(() => {
      const loss: unknown = f();
      requireTensor(this.op('minimize'), loss, 'a function that returns a loss tensor');
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

  /**
   * The optimiser's state for each parameter that has one, by name. The caller owns the tensors, which are windows of
   * the arena.
   * @param name one of `states`
   */
  *state(name: OptimizerState): Generator<[string, Tensor]> {
    checkArgument(this.op('state'), 'name', name, oneOf(this.states));
    const { values, begin, entries } = this.momentOf(name);
    for (const entry of entries) yield [entry.path, this.arena.window(values, entry, begin)];
  }

  /**
   * Continues from the state of another optimiser of the same module, type and groups.
   * @param updates how many updates it had made
   * @param states host arrays by the names of `states`, and by parameter name
   * @throws FileError naming the first missing name, ShapeError naming a wrong shape
   */
  restore(updates: number, states: Partial<Record<OptimizerState, StateValues>>, origin = 'state'): void {
    const op = this.op('restore');
    this.assertTrained('restore');
    checkArgument(op, 'updates', updates, kinds.whole);
    checkArgument(op, 'states', states, kinds.object);
    const given = this.states.map((name) => [name, states[name]] as [OptimizerState, StateValues]);
    for (const [, values] of given) checkState(op, values);
    const uploads: [window: () => Tensor, Float32Array][] = [];
    for (const [name, found] of given) {
      const { values, begin, entries } = this.momentOf(name);
      for (const entry of entries) {
        const value = found.get(entry.path);
        if (!value) throw new FileError(origin, `lacks "${entry.path}" among ${name}`);
        if (!sameShape(value.shape, entry.shape))
          throw new ShapeError(`load ${name} of ${entry.path}`, formatShape(entry.shape), formatShape(value.shape));
        uploads.push([() => this.arena.window(values, entry, begin), value.data]);
      }
    }
    for (const [open, data] of uploads) {
      using window = open();
      window.write(data);
    }
    this.updates = updates;
  }

  /** A moment; the average is like one of all parameters, and without one the weights themselves. */
  private momentOf(name: OptimizerState): Omit<Moment, 'name'> {
    const { arena, ema } = this;
    const moment = this.moments.find((one) => one.name === name);
    return moment ?? { values: ema ?? arena.values, begin: 0, entries: arena.entries };
  }

  /**
   * Runs `fn` with the averaged weights in the module, then puts the trained weights back. If calls overlap, they are
   * put back when the last call returns. Updates in between are refused.
   */
  async withEma<T>(fn: () => Promise<T> | T): Promise<T> {
    checkArgument(this.op('withEma'), 'its argument', fn, kinds.callback);
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
  private assertTrained(method: string): void {
    if (this.aside)
      throw new ValueError(
        `[${this.op(method)}] expected the trained weights in the module, got a call while withEma() runs`,
      );
  }

  /** The name of a method in messages: "Adam.step". */
  private op(method: string): string {
    return `${this.definition.name}.${method}`;
  }

  /** Frees weights, gradients, moments, average, schedule and losses. */
  dispose(): void {
    for (const { tensors } of this.parts) {
      const { parameters, gradients, ema, copy, schedule, moments } = tensors;
      for (const tensor of [parameters, gradients, ema, copy, schedule, ...moments]) tensor?.dispose();
    }
    for (const { values } of this.moments) values.dispose();
    this.ema?.dispose();
    this.schedule.dispose();
    this.losses.dispose();
    this.arena.dispose();
  }
}

/** The kind of an argument that is an optimiser. */
export const optimizerKind = kind('an optimiser', (value) => value instanceof Optimizer);
