// How many threads the page computes on.

/** All cores but one, which the page itself needs; one where memory cannot be shared. Results do not depend on it. */
export function threadsOf(isolated: boolean, cores: number): number {
  return isolated ? Math.max(1, Math.floor(cores || 1) - 1) : 1;
}
