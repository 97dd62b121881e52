// A browser has no environment variables. A bundle for browsers has this file in place of environment.ts.

/** Globals of pages and workers; Node's types omit them. */
interface Page {
  crossOriginIsolated?: boolean;
  navigator?: { hardwareConcurrency?: number };
}

/** The maximum number of threads of one device. */
export const MOST_THREADS = 256;

export function fromEnvironment(_: string): undefined {
  return undefined;
}

/** Where a page is cross-origin isolated, all cores but one, which is left to the page; elsewhere one thread. */
export function defaultThreads(): number {
  const { crossOriginIsolated, navigator } = globalThis as unknown as Page;
  if (crossOriginIsolated !== true) return 1;
  return Math.min(Math.max((navigator?.hardwareConcurrency ?? 2) - 1, 1), MOST_THREADS);
}
