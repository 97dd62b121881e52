// Whether the process holds results that are in no file yet: the steps of a training since its last state. A program that is told to
// stop asks before it ends itself.

let holders = 0;

/** Runs work that will save what it holds before it returns, also when its signal is aborted. */
export async function holdingUnsaved<T>(work: () => Promise<T>): Promise<T> {
  holders++;
  try {
    return await work();
  } finally {
    holders--;
  }
}

/** Whether such work is running. */
export function holdsUnsaved(): boolean {
  return holders > 0;
}
