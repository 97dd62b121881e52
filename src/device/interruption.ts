// Interrupts work that blocks the event loop. While it is blocked, no timer, signal handler or AbortSignal runs, so devices check here
// before each kernel.

let check: (() => void) | undefined;
let held = 0;

/** Calls the installed check, which throws to end the work. Devices call this before each kernel, long host loops in between. */
export function interruptionPoint(): void {
  if (check !== undefined && held === 0) check();
}

/** Runs `fn` without interruption, for writes that must not be left half done, such as an optimizer's update. */
export function withoutInterruption<T>(fn: () => T): T {
  held++;
  try {
    return fn();
  } finally {
    held--;
  }
}

/** Whether the caller runs inside `withoutInterruption`. */
export function isUninterrupted(): boolean {
  return held > 0;
}

/** Calls `fn` before each kernel until the result is disposed. If `fn` throws, the work that launches kernels ends. */
export function checkBetweenKernels(fn: () => void): Disposable {
  const before = check;
  check = fn;
  return {
    [Symbol.dispose]() {
      check = before;
    },
  };
}
