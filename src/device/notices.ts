// What a device has to tell its user once, such as that it uses slower kernels than it could.
let listener: ((text: string) => void) | undefined;

/** Tells the listener, or without one prints to standard error. */
export function notify(text: string): void {
  if (listener) listener(text);
  else process.stderr.write(`rectiflow: ${text}\n`);
}

/** Has `fn` called for each notice until the result is disposed. */
export function listenToNotices(fn: (text: string) => void): Disposable {
  const before = listener;
  listener = fn;
  return {
    [Symbol.dispose]() {
      listener = before;
    },
  };
}
