// The page of the digits: images of the same noise by three generators, the way between two noises, and the noise of a digit that the
// reader draws.
import { useEffect, useRef } from 'preact/hooks';
import { carryGrid, carryWalk, drawNoise, openDigits, redraw } from '../engine/digit_client.ts';
import * as digits from '../model/digit_store.ts';
import { type DigitFlow, digitFlows, GRID_COUNT, imageAt, PIXELS, WALK_COUNT } from '../model/digits.ts';
import { ranges } from '../model/settings.ts';
import * as store from '../model/store.ts';
import { DigitImage } from './digit_image.tsx';
import { Panel, Slider } from './fields.tsx';
import { OwnDigit } from './own_digit.tsx';

export const digitNames: Record<DigitFlow, string> = { 1: '1-RF', 2: '2-RF', distilled: 'Distilled' };
const about: Record<DigitFlow, string> = {
  1: 'trained on the digits',
  2: 'trained on pairs of the 1-RF',
  distilled: 'trained for one step',
};

let resting: ReturnType<typeof setTimeout> | undefined;
/** Computes anew once a slider rests. */
function later(): void {
  clearTimeout(resting);
  resting = setTimeout(() => {
    carryGrid();
    carryWalk();
  }, 80);
}

export function DigitsPage() {
  const engine = store.engine.value;
  useEffect(() => {
    if (engine > 0) openDigits();
  }, [engine]);
  const { digitSteps: steps, digitSeed } = store.view.value;
  return (
    <main class="digits" id="plane" tabIndex={-1}>
      <Panel title="Digits from noise">
        <p class="intro">
          Each square of noise becomes a digit. One step of the 1-RF gives the mean of all digits; the straight paths of
          the 2-RF need no more than one.
        </p>
        <div class="digitbar">
          <Slider
            label="Steps N"
            value={steps}
            range={ranges.digitSteps}
            onChange={(value) => {
              store.setView({ digitSteps: value });
              later();
            }}
          />
          <button type="button" disabled={!digits.ready.value} onClick={() => drawNoise((digitSeed + 1) % 1_000_000)}>
            New noise
          </button>
        </div>
        <div class="four">
          <figure>
            <figcaption>
              <strong>Noise</strong> <span>{digits.noise.value ? `seed ${digitSeed}` : 'opening ...'}</span>
            </figcaption>
            <NoiseGrid />
          </figure>
          {digitFlows.map((flow) => (
            <Grid flow={flow} />
          ))}
        </div>
        <p class="legend">
          Click a square of noise for a new one. Drag from one to another, and the digits between them appear below.
        </p>
      </Panel>
      <Walk />
      <OwnDigit />
    </main>
  );
}

/** Marks the two ends of the walk. */
const markOf = (cell: number) => {
  const [a, b] = digits.ends.value;
  return cell === a ? 'end a' : cell === b ? 'end b' : '';
};

function NoiseGrid() {
  const begun = useRef<number | undefined>(undefined);
  const dragged = useRef(false);
  const noise = digits.noise.value;
  const cellAt = (event: PointerEvent) => {
    const found = document.elementFromPoint(event.clientX, event.clientY)?.closest<HTMLElement>('[data-cell]');
    return found ? Number(found.dataset.cell) : undefined;
  };
  const onKey = (event: KeyboardEvent) => {
    const moves: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -4, ArrowDown: 4 };
    const now = (event.target as HTMLElement).closest<HTMLElement>('[data-cell]')?.dataset.cell;
    if (!(event.key in moves) || now === undefined) return;
    event.preventDefault();
    const next = Number(now) + moves[event.key];
    if (next >= 0 && next < GRID_COUNT)
      (event.currentTarget as HTMLElement).querySelector<HTMLElement>(`[data-cell="${next}"]`)?.focus();
  };
  return (
    <fieldset
      class="cells noise"
      aria-label="Noise. Arrow keys move, Enter draws a square anew"
      onKeyDown={onKey}
      onPointerDown={(event) => {
        begun.current = event.button === 0 ? cellAt(event) : undefined;
        dragged.current = false;
      }}
      onPointerUp={(event) => {
        const [from, to] = [begun.current, cellAt(event)];
        begun.current = undefined;
        if (from === undefined || to === undefined || from === to) return;
        dragged.current = true;
        // The click that may follow is not one.
        setTimeout(() => {
          dragged.current = false;
        });
        store.setView({ digitFrom: from, digitTo: to });
        carryWalk();
      }}
    >
      {cells.map((cell) => (
        <button
          type="button"
          data-cell={cell}
          class={markOf(cell)}
          disabled={!noise}
          aria-label={`Noise ${cell + 1}`}
          tabIndex={cell === 0 ? 0 : -1}
          onClick={() => {
            if (!dragged.current) redraw(cell);
          }}
        >
          <DigitImage image={noise && imageAt(noise, cell)} signed />
        </button>
      ))}
    </fieldset>
  );
}

const cells = Array.from({ length: GRID_COUNT }, (_, cell) => cell);

function Grid({ flow }: { flow: DigitFlow }) {
  const carried = digits.grid.value[flow];
  const steps = carried?.steps ?? 0;
  return (
    <figure data-digits={flow} data-steps={steps}>
      <figcaption>
        <strong>{digitNames[flow]}</strong> <span>{about[flow]}</span>
      </figcaption>
      <div
        class="cells"
        role="img"
        aria-label={`Digits of the ${digitNames[flow]} in ${steps} step${steps === 1 ? '' : 's'}`}
      >
        {cells.map((cell) => (
          <div class={markOf(cell)}>
            <DigitImage image={carried && imageAt(carried.images, cell)} />
          </div>
        ))}
      </div>
      <p class="figure">
        {carried ? `${steps} step${steps === 1 ? '' : 's'}, ${Math.round(carried.milliseconds)} ms` : 'computing ...'}
      </p>
    </figure>
  );
}

/** Places of the walk that are shown in a row. */
const SHOWN = Array.from({ length: 9 }, (_, i) => (i * (WALK_COUNT - 1)) / 8);

function Walk() {
  const [a, b] = digits.ends.value;
  const place = store.view.value.digitPlace;
  const at = Math.round(place * (WALK_COUNT - 1));
  const choose = (ends: readonly [number, number]) => {
    store.setView({ digitFrom: ends[0], digitTo: ends[1] });
    carryWalk();
  };
  const select = (label: string, value: number, onChange: (cell: number) => void) => (
    <label class="inline">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(Number(event.currentTarget.value))}>
        {cells.map((cell) => (
          <option value={cell}>{cell + 1}</option>
        ))}
      </select>
    </label>
  );
  return (
    <Panel title="Between two noises">
      <p class="intro">
        The noises between lie on the great circle through both (slerp), where noise of 64 numbers is.
      </p>
      <div class="digitbar">
        {select('From noise', a, (cell) => choose([cell, b]))}
        {select('to noise', b, (cell) => choose([a, cell]))}
        <Slider
          label="Place"
          value={place}
          range={{ least: 0, most: 1 }}
          step={1 / (WALK_COUNT - 1)}
          text={place.toFixed(2)}
          onChange={(value) => {
            store.setView({ digitPlace: value });
          }}
        />
      </div>
      <div class="walk">
        {digitFlows.map((flow) => {
          const images = digits.walk.value[flow]?.images;
          return (
            <div class="way" data-walk={flow}>
              <strong>{digitNames[flow]}</strong>
              <div class="strip" role="img" aria-label={`Digits of the ${digitNames[flow]} between the two noises`}>
                {SHOWN.map((place) => (
                  <div class={Math.abs(place - at) <= 1 ? 'here' : ''}>
                    <DigitImage image={images && imageAt(images, place)} />
                  </div>
                ))}
              </div>
              <DigitImage class="large" image={images?.subarray(at * PIXELS, (at + 1) * PIXELS)} />
            </div>
          );
        })}
      </div>
    </Panel>
  );
}
