// The page's side of the digits: gives the worker their weights when they are first looked at, asks for images, and keeps the answers.

import * as store from '../model/digit_store.ts';
import { GRID_COUNT, imageAt, PIXELS, walkBetween } from '../model/digits.ts';
import { say, setView, view } from '../model/store.ts';
import type { Answer, DigitAnswer } from './messages.ts';
import { send } from './port.ts';

/** The element of the page that holds the weights, which `vite.config.ts` writes. */
const WEIGHTS = 'digit-weights';

let opening = false;
let asked = 0;
const latest = new Map<'grid' | 'walk' | 'own', number>();

/** Gives the worker the weights, once. */
export function openDigits(): void {
  if (opening) return;
  const text = document.getElementById(WEIGHTS)?.textContent ?? '';
  if (text === '') {
    say('This build of the page has no weights of the digits.', true);
    return;
  }
  opening = true;
  send({ kind: 'digits open', text });
}

/** After the worker was lost. */
export function loseDigits(): void {
  opening = false;
  store.ready.value = false;
  latest.clear();
}

/** Draws the noise of the seed, and what comes of it. */
export function drawNoise(seed = view.peek().digitSeed): void {
  setView({ digitSeed: seed });
  send({ kind: 'digits noise', seed, first: 0, count: GRID_COUNT });
}

/** Draws one noise anew: that of the next number of the same seed. */
export function redraw(cell: number): void {
  fresh++;
  pending.push(cell);
  send({ kind: 'digits noise', seed: view.peek().digitSeed, first: GRID_COUNT + fresh, count: 1 });
}
let fresh = 0;
/** Cells whose noise is on its way, in the order of the requests. */
const pending: number[] = [];

export function carryGrid(): void {
  const latents = store.noise.peek();
  if (latents) carry('grid', latents);
}

/** The walk between the two chosen noises. */
export function carryWalk(): void {
  const noise = store.noise.peek();
  if (!noise) return;
  const [a, b] = store.ends.peek();
  carry('walk', walkBetween(imageAt(noise, a), imageAt(noise, b)));
}

function carry(place: 'grid' | 'walk', latents: Float32Array): void {
  latest.set(place, ++asked);
  send({ kind: 'digits carry', ask: asked, place, latents, steps: view.peek().digitSteps });
}

export function invert(): void {
  store.inverse.value = {};
  latest.set('own', ++asked);
  send({ kind: 'digits invert', ask: asked, image: store.own.peek() });
}

export const isOfDigits = (answer: Answer): answer is DigitAnswer => answer.kind.startsWith('digits ');

export function takeDigits(answer: DigitAnswer): void {
  switch (answer.kind) {
    case 'digits opened':
      store.ready.value = true;
      drawNoise();
      return;
    case 'digits noise': {
      if (answer.noise.length === GRID_COUNT * PIXELS) {
        store.noise.value = answer.noise;
        pending.length = 0;
      } else {
        const cell = pending.shift();
        const noise = store.noise.peek();
        if (cell === undefined || !noise) return;
        const changed = noise.slice();
        changed.set(answer.noise, cell * PIXELS);
        store.noise.value = changed;
      }
      carryGrid();
      carryWalk();
      return;
    }
    case 'digits images': {
      if (latest.get(answer.place) !== answer.ask) return;
      const { flow, images, steps, milliseconds } = answer;
      const kept = answer.place === 'grid' ? store.grid : store.walk;
      kept.value = { ...kept.peek(), [flow]: { images, steps, milliseconds } };
      return;
    }
    case 'digits inverse': {
      if (latest.get('own') !== answer.ask) return;
      store.inverse.value = { ...store.inverse.peek(), [answer.flow]: { noise: answer.noise, again: answer.again } };
    }
  }
}
