/**
 * Reference of the functions that change the axes of tensors, repeat, reverse or choose elements.
 */
import { type Array64, array64, at, broadcastTo, count, generate, indexOf, type Shape } from './array.ts';
import { permute, reshape } from './movement.ts';

/** The places that a slice takes of an axis, one by one. */
function placesOf(dim: number, start: number | null, end: number | null, step: number): number[] {
  const all = Array.from({ length: dim }, (_, i) => i);
  const place = (bound: number) => (bound < 0 ? bound + dim : bound);
  const within =
    step > 0
      ? all.filter((i) => i >= place(start ?? 0) && i < (end === null ? dim : place(end)))
      : all.reverse().filter((i) => (start === null || i <= place(start)) && (end === null || i > place(end)));
  return within.filter((_, i) => i % Math.abs(step) === 0);
}

/** Elements of each axis from a start to before an end, in steps; null is the end of the axis. */
export function sliceSteps(
  x: Array64,
  starts: readonly (number | null)[],
  ends: readonly (number | null)[],
  steps: readonly number[],
): Array64 {
  const places = x.shape.map((dim, axis) => placesOf(dim, starts[axis], ends[axis], steps[axis]));
  return generate(
    places.map(({ length }) => length),
    (index) =>
      at(
        x,
        index.map((i, axis) => places[axis][i]),
      ),
  );
}

/** The place of an axis, where negative ones count from the end. */
const placeIn = (rank: number, axis: number) => (axis < 0 ? axis + rank : axis);

const without = (list: readonly number[], at: number) => list.filter((_, i) => i !== at);

export function stack(xs: readonly Array64[], axis: number): Array64 {
  const along = placeIn(xs[0].shape.length + 1, axis);
  const shape = [...xs[0].shape];
  shape.splice(along, 0, xs.length);
  return generate(shape, (index) => at(xs[index[along]], without(index, along)));
}

export function select(x: Array64, position: number, axis: number): Array64 {
  const along = placeIn(x.shape.length, axis);
  return generate(without(x.shape, along), (index) => {
    const source = [...index];
    source.splice(along, 0, placeIn(x.shape[along], position));
    return at(x, source);
  });
}

/** NumPy's moveaxis: the axes left out of `source`, in order, with each of `source` inserted at its destination. */
export function moveAxis(x: Array64, source: readonly number[], destination: readonly number[]): Array64 {
  const rank = x.shape.length;
  const [from, to] = [source, destination].map((axes) => axes.map((axis) => placeIn(rank, axis)));
  const order = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => !from.includes(axis));
  const pairs = from.map((axis, i) => [to[i], axis]).sort(([a], [b]) => a - b);
  for (const [at, axis] of pairs) order.splice(at, 0, axis);
  return permute(x, order);
}

export function flip(x: Array64, axes: readonly number[]): Array64 {
  const places = axes.map((axis) => placeIn(x.shape.length, axis));
  return generate(x.shape, (index) =>
    at(
      x,
      index.map((i, axis) => (places.includes(axis) ? x.shape[axis] - 1 - i : i)),
    ),
  );
}

/** Rolls each of `axes` by its shift; without axes, the elements in row-major order. */
export function roll(x: Array64, shifts: readonly number[], axes?: readonly number[]): Array64 {
  if (!axes) return reshape(roll(reshape(x, [count(x.shape)]), shifts, [0]), x.shape);
  return axes.reduce((y, axis, i) => {
    const along = placeIn(x.shape.length, axis);
    const extent = x.shape[along];
    const from = (place: number) => (((place - shifts[i]) % extent) + extent) % extent;
    return generate(y.shape, (index) =>
      at(
        y,
        index.map((place, a) => (a === along ? from(place) : place)),
      ),
    );
  }, x);
}

export function tile(x: Array64, repeats: readonly number[]): Array64 {
  const rank = Math.max(x.shape.length, repeats.length);
  const pad = (list: readonly number[]) => [...Array<number>(rank - list.length).fill(1), ...list];
  const shape = pad(x.shape);
  const wide = reshape(x, shape);
  return generate(
    pad(repeats).map((times, axis) => times * shape[axis]),
    (index) =>
      at(
        wide,
        index.map((i, axis) => i % shape[axis]),
      ),
  );
}

export function repeatInterleave(x: Array64, repeats: number, axis?: number): Array64 {
  if (axis === undefined) return repeatInterleave(reshape(x, [count(x.shape)]), repeats, 0);
  const along = placeIn(x.shape.length, axis);
  return generate(
    x.shape.map((dim, a) => (a === along ? dim * repeats : dim)),
    (index) =>
      at(
        x,
        index.map((i, a) => (a === along ? Math.floor(i / repeats) : i)),
      ),
  );
}

/** Output pixel (h f + i, w f + j) of channel c is input pixel (h, w) of channel c f^2 + i f + j. */
export function pixelShuffle(x: Array64, factor: number): Array64 {
  const [n, height, width, channels] = x.shape;
  return generate([n, height * factor, width * factor, channels / factor ** 2], ([image, row, column, c]) => {
    const channel = (c * factor + (row % factor)) * factor + (column % factor);
    return at(x, [image, Math.floor(row / factor), Math.floor(column / factor), channel]);
  });
}

export function pixelUnshuffle(x: Array64, factor: number): Array64 {
  const [n, height, width, channels] = x.shape;
  return generate([n, height / factor, width / factor, channels * factor ** 2], ([image, row, column, channel]) => {
    const within = channel % factor ** 2;
    const place = [row * factor + Math.floor(within / factor), column * factor + (within % factor)];
    return at(x, [image, ...place, Math.floor(channel / factor ** 2)]);
  });
}

/** Rows of windows; an element has the place (row of the window, column, channel). */
export function unfold(
  x: Array64,
  {
    kernel,
    stride = [1, 1],
    padding = [0, 0],
    dilation = [1, 1],
  }: { kernel: Shape; stride?: Shape; padding?: Shape; dilation?: Shape },
): Array64 {
  const [n, h, w, channels] = x.shape;
  const [rows, columns] = [h, w].map(
    (dim, a) => Math.floor((dim + 2 * padding[a] - dilation[a] * (kernel[a] - 1) - 1) / stride[a]) + 1,
  );
  return generate([n, rows, columns, kernel[0] * kernel[1] * channels], ([image, row, column, place]) => {
    const [i, j, c] = indexOf(place, [kernel[0], kernel[1], channels]);
    const pixel = [i, j].map((k, a) => [row, column][a] * stride[a] - padding[a] + k * dilation[a]);
    const inside = pixel.every((position, a) => position >= 0 && position < [h, w][a]);
    return inside ? at(x, [image, ...pixel, c]) : 0;
  });
}

export function meshgrid(xs: readonly Array64[], indexing: 'xy' | 'ij'): Array64[] {
  const order = xs.map((_, i) => i);
  if (indexing === 'xy' && xs.length > 1) [order[0], order[1]] = [1, 0];
  const shape: Shape = order.map((which) => xs[which].data.length);
  return xs.map((x, which) => generate(shape, (index) => x.data[index[order.indexOf(which)]]));
}

/** x where column - row - offset has the sign of the triangle or is 0, else 0. */
export function triangle(x: Array64, side: 'lower' | 'upper', offset: number): Array64 {
  return generate(x.shape, (index) => {
    const [row, column] = index.slice(-2);
    const distance = column - row - offset;
    return (side === 'lower' ? distance <= 0 : distance >= 0) ? at(x, index) : 0;
  });
}

/** The elements with column - row = offset. */
export function diagonal(x: Array64, offset: number): Array64 {
  const [rows, columns] = x.shape.slice(-2);
  const places = Array.from({ length: rows }, (_, row) => [row, row + offset]).filter(
    ([, column]) => column >= 0 && column < columns,
  );
  return generate([...x.shape.slice(0, -2), places.length], (index) =>
    at(x, [...index.slice(0, -1), ...places[index[index.length - 1]]]),
  );
}

export function diagEmbed(x: Array64, offset: number): Array64 {
  const side = (x.shape.at(-1) as number) + Math.abs(offset);
  return generate([...x.shape.slice(0, -1), side, side], (index) => {
    const [row, column] = index.slice(-2);
    return column - row === offset ? at(x, [...index.slice(0, -2), Math.min(row, column)]) : 0;
  });
}

export function trace(x: Array64, offset: number): Array64 {
  const lines = diagonal(x, offset);
  const length = lines.shape.at(-1) as number;
  return generate(lines.shape.slice(0, -1), (index) =>
    Array.from({ length }, (_, i) => at(lines, [...index, i])).reduce((total, value) => total + value, 0),
  );
}

/** 1 where a number is below the probability, which is broadcast to the shape of the numbers. */
export function bernoulli(p: Array64, numbers: Array64): Array64 {
  const wide = broadcastTo(p, numbers.shape);
  return array64(
    numbers.shape,
    numbers.data.map((value, i) => Number(value < wide.data[i])),
  );
}

/** The class with the largest e^logit / time of each row. */
export function categorical(logits: Array64, times: Array64): Array64 {
  const classes = logits.shape.at(-1) as number;
  return generate(logits.shape.slice(0, -1), (index) => {
    const scores = Array.from({ length: classes }, (_, k) => {
      const place = [...index, k];
      return at(logits, place) - Math.log(at(times, place));
    });
    return scores.indexOf(Math.max(...scores));
  });
}
