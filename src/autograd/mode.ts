// Whether ops record what their backward needs, and whether every result is checked.

let recording = true;
let checking = false;

export function isRecording(): boolean {
  return recording;
}

/** Runs `fn` without recording: its results carry no gradient. */
export function noGrad<T>(fn: () => T): T {
  return withRecording(false, fn);
}

/** Runs `fn` with recording on, inside a noGrad. */
export function enableGrad<T>(fn: () => T): T {
  return withRecording(true, fn);
}

function withRecording<T>(value: boolean, fn: () => T): T {
  const before = recording;
  recording = value;
  try {
    return fn();
  } finally {
    recording = before;
  }
}

export function isChecking(): boolean {
  return checking;
}

/** Runs `fn`, forward and backward, and throws NonFiniteError at the first op whose result holds a NaN or an infinity. */
export function checkFinite<T>(fn: () => T): T {
  const before = checking;
  checking = true;
  try {
    return fn();
  } finally {
    checking = before;
  }
}
