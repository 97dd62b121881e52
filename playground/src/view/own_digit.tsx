// A digit that the reader draws on 8 x 8 pixels, the noise that the two flows lead back to, and what comes of that noise again.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { invert } from '../engine/digit_client.ts';
import * as digits from '../model/digit_store.ts';
import { differenceOf, invertible, PART, PIXELS, SIDE, textOfDigit } from '../model/digits.ts';
import { short } from '../model/short.ts';
import { setView } from '../model/store.ts';
import { DigitImage } from './digit_image.tsx';
import { Panel } from './fields.tsx';

/** The image after a touch at a pixel: full there, and a part on its neighbours. */
function touched(image: Float32Array, x: number, y: number, erase: boolean): Float32Array {
  const next = image.slice();
  for (const [dx, dy, value] of [
    [0, 0, 1],
    [1, 0, PART],
    [-1, 0, PART],
    [0, 1, PART],
    [0, -1, PART],
  ]) {
    const [column, row] = [x + dx, y + dy];
    if (column < 0 || row < 0 || column >= SIDE || row >= SIDE) continue;
    const at = row * SIDE + column;
    if (erase) next[at] = dx === 0 && dy === 0 ? 0 : next[at];
    else next[at] = Math.max(next[at], value);
  }
  return next;
}

export function OwnDigit() {
  const cursor = useSignal<[number, number] | undefined>(undefined);
  const drawing = useRef<'draw' | 'erase' | undefined>(undefined);
  const image = digits.own.value;
  const ready = digits.ready.value;
  const empty = image.every((value) => value === 0);
  useEffect(() => {
    if (ready && !empty) invert();
  }, [ready]);
  const pixel = (event: PointerEvent): [number, number] => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const at = (value: number, size: number) => Math.max(0, Math.min(SIDE - 1, Math.floor((SIDE * value) / size)));
    return [at(event.clientX - box.left, box.width), at(event.clientY - box.top, box.height)];
  };
  const touch = ([x, y]: [number, number]) => {
    setView({ digitOwn: textOfDigit(touched(digits.own.peek(), x, y, drawing.current === 'erase')) });
  };
  const end = () => {
    if (drawing.current === undefined) return;
    drawing.current = undefined;
    invert();
  };
  const onKey = (event: KeyboardEvent) => {
    const moves: Record<string, [number, number]> = {
      ...{ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] },
    };
    const [x, y] = cursor.peek() ?? [3, 3];
    const move = moves[event.key];
    if (!move && event.key !== ' ' && event.key !== 'Backspace') return;
    event.preventDefault();
    if (move) {
      const inside = (value: number) => Math.max(0, Math.min(SIDE - 1, value));
      cursor.value = [inside(x + move[0]), inside(y + move[1])];
      return;
    }
    cursor.value = [x, y];
    drawing.current = event.key === ' ' ? 'draw' : 'erase';
    touch([x, y]);
    end();
  };
  const clear = () => {
    setView({ digitOwn: textOfDigit(new Float32Array(PIXELS)) });
    digits.inverse.value = {};
  };
  return (
    <Panel title="A digit of your own">
      <p class="intro">
        Followed backwards, a flow turns an image into its noise. That noise leads to the image again; a drawing that is
        no digit has noise that is not normal.
      </p>
      <div class="own">
        <div class="drawn">
          <div
            class="easel"
            // biome-ignore lint/a11y/noNoninteractiveTabindex: a drawing area that keys move in needs the focus.
            tabIndex={0}
            role="application"
            aria-label="Your digit, 8 by 8 pixels. Draw with a pointer, or move with the arrow keys; the space bar draws, Backspace erases"
            onPointerDown={(event) => {
              if (event.button !== 0) return;
              event.currentTarget.setPointerCapture(event.pointerId);
              const [x, y] = pixel(event);
              drawing.current = digits.own.peek()[y * SIDE + x] === 1 ? 'erase' : 'draw';
              touch([x, y]);
            }}
            onPointerMove={(event) => drawing.current && touch(pixel(event))}
            onPointerUp={end}
            onPointerCancel={end}
            onKeyDown={onKey}
            onBlur={() => {
              cursor.value = undefined;
            }}
          >
            <DigitImage image={image} />
            {cursor.value && (
              <span
                class="cursor"
                style={{ left: `${12.5 * cursor.value[0]}%`, top: `${12.5 * cursor.value[1]}%` }}
                aria-hidden="true"
              />
            )}
          </div>
          <button type="button" onClick={clear}>
            Clear
          </button>
        </div>
        {invertible.map((flow) => {
          const found = digits.inverse.value[flow];
          const name = flow === 1 ? '1-RF' : '2-RF';
          return (
            <div class="inverse" data-inverse={flow}>
              <strong>{name}</strong>
              <div class="pair">
                <figure>
                  <DigitImage image={found?.noise} signed />
                  <figcaption>its noise</figcaption>
                </figure>
                <figure>
                  <DigitImage image={found?.again} />
                  <figcaption>and again</figcaption>
                </figure>
              </div>
              <p class="figure">
                {found
                  ? `deviation of the noise ${short(deviationOf(found.noise))}, difference ${short(differenceOf(found.again, image))}`
                  : !ready
                    ? 'opening ...'
                    : empty
                      ? 'Draw a digit.'
                      : 'computing ...'}
              </p>
            </div>
          );
        })}
      </div>
    </Panel>
  );
}

const deviationOf = (noise: Float32Array) => Math.sqrt(noise.reduce((sum, value) => sum + value * value, 0) / PIXELS);
