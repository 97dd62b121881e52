// The stage: the picture of the chosen flow, the tabs that are small pictures of all flows, and the time.
import { computed, type ReadonlySignal, useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { probe as sendProbe } from '../engine/client.ts';
import { type Flow, flows, type Paths } from '../engine/messages.ts';
import { EXTENT } from '../model/settings.ts';
import { short } from '../model/short.ts';
import * as store from '../model/store.ts';
import { drawCursor, Square } from './canvas.tsx';
import { Icon } from './icons.tsx';
import { currentScene } from './scene.ts';

export const flowNames: Record<Flow, string> = { 1: '1-RF', 2: '2-RF', 3: '3-RF', distilled: 'Distilled' };
const longNames: Record<Flow, string> = {
  1: '1-rectified flow',
  2: '2-rectified flow',
  3: '3-rectified flow',
  distilled: 'distilled to one step',
};

/** Whether the reader asked for less motion. */
export const still = matchMedia('(prefers-reduced-motion: reduce)');

export function Stage() {
  const { tab } = store.view.value;
  const flow = store.flow.value;
  const canvas = useRef<HTMLCanvasElement | undefined>(undefined);
  const shown = store.shownPaths.value;
  const empty = flow !== undefined && !shown;
  const label =
    flow === undefined
      ? 'The pairs of the coupling, as lines from the source to the target'
      : `Paths of the ${longNames[flow]} at time ${store.view.value.time.toFixed(2)}. Click a point of the target to see where it comes from`;

  const place = (event: PointerEvent): [number, number] => {
    const box = (canvas.current as HTMLCanvasElement).getBoundingClientRect();
    const scale = (2 * EXTENT) / box.width;
    return [(event.clientX - box.left) * scale - EXTENT, EXTENT - (event.clientY - box.top) * scale];
  };
  const start = useRef<[number, number] | undefined>(undefined);
  const onDown = (event: PointerEvent) => {
    start.current = event.button === 0 ? place(event) : undefined;
  };
  const onUp = (event: PointerEvent) => {
    const from = start.current;
    start.current = undefined;
    if (!from || flow === undefined) return;
    const to = place(event);
    // A click is a point of the target; a drag is a line of the source.
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) < 0.6) return sendProbe(Float32Array.from(to), true);
    const line = new Float32Array(2 * 48);
    for (let i = 0; i < 48; i++)
      for (const axis of [0, 1]) line[2 * i + axis] = from[axis] + ((to[axis] - from[axis]) * i) / 47;
    sendProbe(line, false);
  };

  /** A point that arrow keys move; Enter follows it back. */
  const cursor = useSignal<[number, number] | undefined>(undefined);
  const onKey = (event: KeyboardEvent) => {
    const step = event.shiftKey ? 3 : 0.75;
    const moves: Record<string, [number, number]> = {
      ...{ ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] },
    };
    const [x, y] = cursor.peek() ?? [0, 0];
    const move = moves[event.key];
    if (!move && event.key !== 'Enter') return;
    event.preventDefault();
    const inside = (value: number) => Math.max(-EXTENT, Math.min(EXTENT, value));
    cursor.value = move ? [inside(x + move[0]), inside(y + move[1])] : [x, y];
    if (!move && flow !== undefined) sendProbe(Float32Array.of(x, y), true);
  };

  return (
    <section class="stage" aria-label="The picture">
      <Tabs />
      <div
        class="plane"
        onPointerDown={onDown}
        onPointerUp={onUp}
        role="tabpanel"
        id="plane"
        aria-labelledby={`tab-${tab}`}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys choose a point of the picture.
        tabIndex={0}
        onKeyDown={onKey}
        onBlur={() => {
          cursor.value = undefined;
        }}
      >
        <Square
          label={label}
          onCanvas={(element) => {
            canvas.current = element;
          }}
          scene={() => {
            cursor.value;
            return currentScene();
          }}
          over={(context, size, inks) => drawCursor(context, size, inks, cursor.peek())}
        />
        {empty && <p class="empty">{emptyText(flow)}</p>}
      </div>
      {flow === undefined ? <PairsCaption /> : <Time />}
      {flow !== undefined && !empty && <Hint />}
    </section>
  );
}

/** What a click and a drag do, and what was found. */
function Hint() {
  const probe = store.probe.value;
  if (store.view.value.difference && !store.field.value)
    return <p class="caption">Computing the kernel to compare with ...</p>;
  if (!probe)
    return (
      <p class="caption">
        Click to see where a point of the target comes from. Drag a line to see where the flow takes it.
      </p>
    );
  const { points, times, count, backward } = probe;
  const last = 2 * (times.length - 1) * count;
  const text = (at: number) => `(${points[at].toFixed(1)}, ${points[at + 1].toFixed(1)})`;
  return (
    <p class="caption">
      {backward
        ? `The point ${text(0)} of the target comes from ${text(last)}.`
        : 'The line and its image under the flow.'}{' '}
      <button
        type="button"
        class="link"
        onClick={() => {
          store.probe.value = undefined;
        }}
      >
        Clear
      </button>
    </p>
  );
}

function emptyText(flow: Flow): string {
  if (store.broken.value) return 'There is nothing to compute; see the message above.';
  if (flow === 'distilled' && store.view.value.velocity === 'kernel')
    return 'The kernel velocity is not distilled: it has no network.';
  if (store.view.value.velocity === 'kernel' || !store.ready.value) return 'Computing ...';
  const before: Record<Flow, string> = {
    1: store.working.value ? 'Computing ...' : 'Press Train, and watch the paths form.',
    2: 'Press Reflow: it trains a second flow on the pairs of the first.',
    3: 'Press Reflow once the 2-rectified flow is trained.',
    distilled: 'Distil trains one step on the pairs of the last flow.',
  };
  return before[flow];
}

function PairsCaption() {
  const numbers = store.pairNumbers.value;
  if (!numbers) return <p class="caption">Drawing the clouds ...</p>;
  return (
    <p class="caption">
      300 pairs of the coupling. {numbers.crossings.toLocaleString('en')} of {numbers.compared.toLocaleString('en')}{' '}
      pairs of lines cross; the paths of a flow cannot.
    </p>
  );
}

/** The paths of each flow: a small picture is painted again when its own have changed. */
const pathsOf = Object.fromEntries(
  flows.map((flow) => [flow, computed(() => store.paths.value[store.keyOf(flow, store.velocityKey.value)])]),
) as Record<Flow, ReadonlySignal<Paths | undefined>>;

function Tabs() {
  const { tab } = store.view.value;
  const choose = (next: number) => store.setView({ tab: Math.min(4, Math.max(0, next)) });
  const onKey = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    choose(tab + step);
    document.getElementById(`tab-${Math.min(4, Math.max(0, tab + step))}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="Flows" onKeyDown={onKey}>
      {[0, 1, 2, 3, 4].map((number) => {
        const flow = flows[number - 1] as Flow | undefined;
        const key = flow ? store.keyOf(flow, store.velocityKey.value) : '';
        const measured = flow ? store.measures.value[key] : undefined;
        const exists = flow === undefined || store.paths.value[key] !== undefined;
        return (
          <button
            type="button"
            role="tab"
            id={`tab-${number}`}
            aria-selected={tab === number}
            aria-controls="plane"
            tabIndex={tab === number ? 0 : -1}
            class={exists ? '' : 'missing'}
            onClick={() => choose(number)}
          >
            <Square
              class="thumb"
              label=""
              scene={() => ({
                clouds: store.clouds.value,
                paths: flow ? pathsOf[flow].value : undefined,
                show: {
                  ...{ paths: true, arrows: false, target: true, field: false, density: false, time: 1 },
                  pairs: flow === undefined,
                },
                small: true,
              })}
            />
            <span class="name">{flow ? flowNames[flow] : 'Pairs'}</span>
            <span class="figure">{measured ? `S ${short(measured.straightness)}` : flow ? '' : 'coupling'}</span>
          </button>
        );
      })}
    </div>
  );
}

/** Milliseconds in which the points move from the source to the target. */
const DURATION = 2600;

function Time() {
  const playing = useSignal(false);
  const { time } = store.view.value;
  useEffect(() => {
    if (!playing.value) return;
    let before = performance.now();
    let frame = requestAnimationFrame(function move(now) {
      const next = store.view.peek().time + (now - before) / DURATION;
      before = now;
      store.setView({ time: Math.min(1, next) });
      if (next >= 1) playing.value = false;
      else frame = requestAnimationFrame(move);
    });
    return () => cancelAnimationFrame(frame);
  }, [playing.value]);
  const toggle = () => {
    if (!playing.value && store.view.peek().time >= 1) store.setView({ time: 0 });
    // With reduced motion, the button jumps between the two ends.
    if (still.matches) return store.setView({ time: time >= 0.5 ? 0 : 1 });
    playing.value = !playing.value;
  };
  return (
    <div class="time">
      <button
        type="button"
        class="round"
        onClick={toggle}
        aria-label={playing.value ? 'Stop the motion' : 'Move the points from source to target'}
      >
        <Icon name={playing.value ? 'pause' : 'play'} />
      </button>
      <input
        type="range"
        class="scrub"
        min={0}
        max={1}
        step={0.01}
        value={time}
        aria-label="Time"
        onInput={(event) => {
          playing.value = false;
          store.setView({ time: Number(event.currentTarget.value) });
        }}
      />
      <output class="number">t = {time.toFixed(2)}</output>
    </div>
  );
}
