// Tracks whether the process holds results that are not in a file yet, such as the training steps since the last state.
// The command line checks this before it ends the process on a signal.

let holders = 0;

/** Runs work that saves its results before it returns, even if its signal is aborted. */
export async function withUnsavedWork<T>(work: () => Promise<T>): Promise<T> {
  holders++;
  try {
    return await work();
  } finally {
    holders--;
  }
}

/** Whether work with unsaved results is running. */
export function holdsUnsaved(): boolean {
  return holders > 0;
}
