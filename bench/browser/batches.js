// The pairs and times of each step, the same for all contestants.
export const [BATCH, SIZES, RATE] = [256, [3, 64, 64, 64, 2], 0.01];

let state = 1;
/** A number in [0, 1): xorshift of 32 bits. */
function uniform() {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 2 ** 32;
}

/** x_t with t as a third column, [256, 3], and x1 - x0, [256, 2], of two clouds. */
export function nextBatch() {
  const input = new Float32Array(3 * BATCH);
  const target = new Float32Array(2 * BATCH);
  for (let i = 0; i < BATCH; i++) {
    const t = uniform();
    input[3 * i + 2] = t;
    for (const axis of [0, 1]) {
      const [x0, x1] = [uniform() - 0.5, 2 * uniform() + axis];
      input[3 * i + axis] = t * x1 + (1 - t) * x0;
      target[2 * i + axis] = x1 - x0;
    }
  }
  return { input, target };
}
