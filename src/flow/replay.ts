// Replay of a velocity that is evaluated many times at points of one shape: the first evaluation runs op by op, the
// second is recorded, and later ones replay the recording. A small network spends most of an evaluation on choosing
// what to launch.
import { isChecking, isTracing } from '../autograd/mode.ts';
import type { Recording } from '../device/device.ts';
import { RecordingError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { dtypes } from '../tensor/dtype.ts';
import { keep, scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { alias } from '../tensor/view.ts';
import type { Velocity, VelocityInPieces } from './velocity.ts';

/** A recorded evaluation for points of one shape, and the memory that it reads and writes. */
interface Replay {
  recording: Recording;
  x: Tensor;
  t: Tensor;
  v: Tensor;
}

/**
 * The same velocity, replayed while no gradients are traced. It keeps one recording, of the last shape, and frees it
 * when the shape changes or when it is disposed, so that it never uses more memory than evaluation op by op.
 * @param replayed false: every evaluation runs op by op
 */
export function withReplay(velocity: Velocity, replayed: boolean): Velocity & Disposable {
  if (!replayed) {
    const { inPieces } = velocity as Partial<VelocityInPieces>;
    return Object.assign((x: Tensor, t: Tensor) => velocity(x, t), { inPieces, [Symbol.dispose]: () => {} });
  }
  const last = new LastShape(velocity);
  const evaluate: Velocity = (x, t) => last.evaluate(x, t);
  return Object.assign(evaluate, { [Symbol.dispose]: () => last.forget() });
}

class LastShape {
  private readonly velocity: Velocity;
  private shape = '';
  /** 'met': the shape was evaluated once. 'none': it cannot be recorded. */
  private replay: Replay | 'met' | 'none' = 'none';

  constructor(velocity: Velocity) {
    this.velocity = velocity;
  }

  evaluate(x: Tensor, t: Tensor): Tensor {
    const shape = `${x.device.name} ${x.dtype} ${x.shape}`;
    if (shape !== this.shape) {
      this.forget();
      this.shape = shape;
      this.replay = 'met';
      return this.velocity(x, t);
    }
    // checkFinite() looks at the result of each op, and a replay has no graph.
    if (isChecking() || isTracing()) return this.velocity(x, t);
    if (this.replay === 'met') this.replay = this.record(x, t);
    if (this.replay === 'none') return this.velocity(x, t);
    const { replay } = this;
    copyInto(replay.x, x);
    copyInto(replay.t, t);
    replay.recording.replay();
    const v = allocate(replay.v.shape, { device: x.device, dtype: replay.v.dtype });
    copyInto(v, replay.v);
    return v;
  }

  forget(): void {
    const { replay } = this;
    this.shape = '';
    this.replay = 'none';
    if (typeof replay === 'string') return;
    replay.recording[Symbol.dispose]();
    for (const tensor of [replay.x, replay.t, replay.v]) tensor.dispose();
  }

  private record({ device, shape, dtype }: Tensor, times: Tensor): Replay | 'none' {
    const x = keep(allocate(shape, { device, dtype }));
    const t = keep(allocate(times.shape, { device, dtype: times.dtype }));
    let v: Tensor | undefined;
    try {
      const recording = device.record(() => {
        // A new window: the result may be a tensor that the velocity keeps.
        v = alias(scope(() => this.velocity(x, t)));
      });
      return { recording, x, t, v: v as unknown as Tensor };
    } catch (error) {
      for (const tensor of [x, t, v]) tensor?.dispose();
      if (error instanceof RecordingError) return 'none';
      throw error;
    }
  }
}

function copyInto(target: Tensor, source: Tensor): void {
  target.device.copy(target.address, source.address, source.size * dtypes[source.dtype].bytes);
}
