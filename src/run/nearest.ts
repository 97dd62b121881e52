// Are samples digits? The share of samples whose nearest training image is no further than 95 % of real held-out
// images have theirs. Euclidean distance over pixels.

/** Distance of each query to its nearest reference; rows of `width` numbers. */
export function nearestDistances(queries: Float32Array, references: Float32Array, width: number): Float64Array {
  const distances = new Float64Array(queries.length / width);
  for (let q = 0; q < distances.length; q++) {
    let best = Number.POSITIVE_INFINITY;
    for (let r = 0; r < references.length; r += width) {
      let sum = 0;
      for (let i = 0; i < width; i++) {
        const difference = queries[q * width + i] - references[r + i];
        sum += difference * difference;
      }
      best = Math.min(best, sum);
    }
    distances[q] = Math.sqrt(best);
  }
  return distances;
}

/** The smallest value that at least `share` of the values do not exceed. */
export function quantile(values: Float64Array, share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** Share of `samples` within the distance that 95 % of `heldOut` keep to `training`. */
export class NearestNeighbourScore {
  readonly threshold: number;
  private readonly training: Float32Array;
  private readonly width: number;

  constructor(training: Float32Array, heldOut: Float32Array, width: number) {
    this.training = training;
    this.width = width;
    this.threshold = quantile(nearestDistances(heldOut, training, width), 0.95);
  }

  of(samples: Float32Array): number {
    const distances = nearestDistances(samples, this.training, this.width);
    return distances.filter((distance) => distance <= this.threshold).length / distances.length;
  }
}
