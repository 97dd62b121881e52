// Receives signals while the event loop is blocked. libuv, on which Node runs, reports a signal to every loop that watches it. Node's
// own loop runs only between two pieces of work; a second loop of ours can be polled in the middle of one.
import { DeviceError } from '../../errors.ts';
import { callback, Library } from './loader.ts';

/** UV_SIGNAL of uv_handle_type and UV_RUN_NOWAIT of uv_run_mode in libuv 1. */
const UV_SIGNAL = 16;
const UV_RUN_NOWAIT = 2;

export class SignalPoll implements Disposable {
  private readonly uv = bindLibuv();
  private readonly loop: Uint8Array;
  private readonly handles: Uint8Array[] = [];
  private readonly received: number[] = [];
  private readonly receive = callback(['ptr', 'i32'], (_handle, signal) => this.received.push(signal));

  /**
   * Watches these signals, given by number, which lose their default action.
   * @throws DeviceError if libuv cannot be called
   */
  constructor(signals: readonly number[]) {
    const { uv } = this;
    this.loop = memory(uv.loopSize());
    check('uv_loop_init', uv.loopInit(this.loop));
    for (const signal of signals) {
      const handle = memory(uv.handleSize(UV_SIGNAL));
      check('uv_signal_init', uv.signalInit(this.loop, handle));
      check('uv_signal_start', uv.signalStart(handle, this.receive.address, signal));
      this.handles.push(handle);
    }
  }

  /** The signals that arrived since the last call, in order. */
  poll(): readonly number[] {
    this.uv.run(this.loop, UV_RUN_NOWAIT);
    return this.received.splice(0);
  }

  /** Restores the default action of the signals. */
  [Symbol.dispose](): void {
    const { uv } = this;
    for (const handle of this.handles) uv.close(handle, 0);
    uv.run(this.loop, UV_RUN_NOWAIT);
    check('uv_loop_close', uv.loopClose(this.loop));
    this.receive[Symbol.dispose]();
  }
}

function bindLibuv() {
  const process = new Library('process');
  const bind = <Value = Uint8Array>(name: string, ...parameters: string[]) =>
    process.bindKinds<Value, number>(name, parameters, 'i32');
  return {
    loopSize: bind<never>('uv_loop_size'),
    handleSize: bind<number>('uv_handle_size', 'i32'),
    loopInit: bind('uv_loop_init', 'array'),
    signalInit: bind('uv_signal_init', 'array', 'array'),
    signalStart: bind<Uint8Array | number>('uv_signal_start', 'array', 'ptr', 'i32'),
    run: bind<Uint8Array | number>('uv_run', 'array', 'i32'),
    close: bind<Uint8Array | number>('uv_close', 'array', 'ptr'),
    loopClose: bind('uv_loop_close', 'array'),
  };
}

/** Memory that does not move: arrays of at most 64 bytes may be moved by the garbage collector. */
function memory(bytes: number): Uint8Array {
  return new Uint8Array(Math.max(bytes, 128));
}

function check(call: string, status: number): void {
  if (status !== 0) throw new DeviceError(`${call} failed with ${status}`);
}
