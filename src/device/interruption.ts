// Whether work that blocks the event loop is to end. Meanwhile no timer, no signal handler and no AbortSignal of JavaScript gets
// its turn, so devices ask here before each kernel.

let check: (() => void) | undefined;
let held = 0;

/** Calls the check that is installed, which throws to end the work. Devices do this before each kernel, long loops of the host in between. */
export function interruptionPoint(): void {
  if (check !== undefined && held === 0) check();
}

/** Runs `fn` without interruption: for writes that must be made as a whole, as an optimiser's update of all parameters. */
export function withoutInterruption<T>(fn: () => T): T {
  held++;
  try {
    return fn();
  } finally {
    held--;
  }
}

/** Whether this is called inside `withoutInterruption`. */
export function isUninterrupted(): boolean {
  return held > 0;
}

/** Has `fn` called before each kernel until the result is disposed; what it throws ends the work that launches kernels. */
export function checkBetweenKernels(fn: () => void): Disposable {
  const before = check;
  check = fn;
  return {
    [Symbol.dispose]() {
      check = before;
    },
  };
}
