/** Reference of reading and writing by index along one axis, and of masks. Later writes to the same place win. */
import { type Array64, array64, at, broadcastTo, count, generate, indexOf, positionOf, type Shape } from './array.ts';

const axisOf = (axis: number, { shape }: Array64) => (axis < 0 ? axis + shape.length : axis);

/** x[..., index, ...] along an axis, or of the flattened x. */
export function take(x: Array64, index: Array64, axis?: number): Array64 {
  if (axis === undefined) return generate(index.shape, (place) => x.data[at(index, place)]);
  const along = axisOf(axis, x);
  const rank = index.shape.length;
  return generate([...x.shape.slice(0, along), ...index.shape, ...x.shape.slice(along + 1)], (place) => {
    const chosen = at(index, place.slice(along, along + rank));
    return at(x, [...place.slice(0, along), chosen, ...place.slice(along + rank)]);
  });
}

const extent = (a: number, b: number) => (a === 1 ? b : a);

export function takeAlongAxis(x: Array64, index: Array64, axis: number): Array64 {
  const along = axisOf(axis, x);
  const others = x.shape.map((dim, a) => extent(dim, index.shape[a]));
  const like = (extentAlong: number): Shape => others.map((dim, a) => (a === along ? extentAlong : dim));
  const source = broadcastTo(x, like(x.shape[along]));
  const chosen = broadcastTo(index, like(index.shape[along]));
  return generate(chosen.shape, (place) =>
    at(
      source,
      place.map((i, a) => (a === along ? at(chosen, place) : i)),
    ),
  );
}

/** y[index] = write(y[index], values) for each element of the index in turn. */
function scatter(
  x: Array64,
  index: Array64,
  values: Array64,
  axis: number,
  write: (old: number, value: number) => number,
) {
  const along = axisOf(axis, x);
  const shape = x.shape.map((dim, a) => (a === along ? extent(index.shape[a], values.shape[a]) : dim));
  const [chosen, written] = [broadcastTo(index, shape), broadcastTo(values, shape)];
  const y = array64(x.shape, x.data);
  for (let i = 0; i < count(shape); i++) {
    const place = indexOf(i, shape).map((k, a) => (a === along ? chosen.data[i] : k));
    const target = positionOf(place, x.shape);
    y.data[target] = write(y.data[target], written.data[i]);
  }
  return y;
}

export const scatterAlongAxis = (x: Array64, index: Array64, values: Array64, axis: number): Array64 =>
  scatter(x, index, values, axis, (_, value) => value);

export const scatterAdd = (x: Array64, index: Array64, values: Array64, axis: number): Array64 =>
  scatter(x, index, values, axis, (old, value) => old + value);

export function indexAdd(x: Array64, index: Array64, values: Array64, axis: number): Array64 {
  const along = axisOf(axis, x);
  const each = generate(values.shape, (place) => index.data[place[along]]);
  return scatterAdd(x, each, values, along);
}

export function nonzero(x: Array64): Array64 {
  const places = [...x.data.keys()].filter((i) => x.data[i] !== 0).map((i) => indexOf(i, x.shape));
  return array64([places.length, x.shape.length], places.flat());
}

export function booleanMask(x: Array64, mask: Array64, axis = 0): Array64 {
  const along = axisOf(axis, x);
  const end = along + mask.shape.length;
  const merged = array64([...x.shape.slice(0, along), count(mask.shape), ...x.shape.slice(end)], x.data);
  const chosen = [...mask.data.keys()].filter((i) => mask.data[i] !== 0);
  return take(merged, array64([chosen.length], chosen), along);
}
