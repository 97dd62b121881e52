// What the page knows of the digits, as signals that the views read.
import { signal } from '@preact/signals';
import { type DigitFlow, PIXELS } from './digits.ts';

/** Whether the worker has the weights. */
export const ready = signal(false);
/** [16, 64] */
export const noise = signal<Float32Array | undefined>(undefined);

export interface Carried {
  images: Float32Array;
  steps: number;
  milliseconds: number;
}
export type ByFlow<Value> = Partial<Record<DigitFlow, Value>>;
/** What comes of the noise of the grid, and of the noises between two of them. */
export const grid = signal<ByFlow<Carried>>({});
export const walk = signal<ByFlow<Carried>>({});
/** The cells between which the walk goes, and where on it the reader is. */
export const ends = signal<readonly [number, number]>([0, 5]);
export const place = signal(0.5);

/** The digit that the reader draws, in [0, 1], its noise and what comes of that. */
export const own = signal<Float32Array>(new Float32Array(PIXELS));
export const inverse = signal<ByFlow<{ noise: Float32Array; again: Float32Array }>>({});
