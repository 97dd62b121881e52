// What the page knows of the digits, as signals that the views read.
import { computed, signal } from '@preact/signals';
import { type DigitFlow, digitOfText } from './digits.ts';
import { view } from './store.ts';

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
/** The cells between which the walk goes. */
export const ends = computed<readonly [number, number]>(() => [view.value.digitFrom, view.value.digitTo]);

const drawn = computed(() => view.value.digitOwn);
/** The digit that the reader draws, in [0, 1]; its noise and what comes of that. */
export const own = computed(() => digitOfText(drawn.value));
export const inverse = signal<ByFlow<{ noise: Float32Array; again: Float32Array }>>({});
