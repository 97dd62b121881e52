// The guided tour: eight stops in the order of the official notebooks. Each is a setting of the same page, and each claim has next to it
// the number that the page has computed.
import { effect, signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { reflow, train } from '../engine/client.ts';
import type { Flow, Measures } from '../engine/messages.ts';
import { defaults, type View } from '../model/settings.ts';
import { short } from '../model/short.ts';
import * as store from '../model/store.ts';
import { changeFollow, changeProblem } from './actions.ts';
import { Icon } from './icons.tsx';
import { errorOf } from './numbers.tsx';

/** The stop that is shown, from 0. */
export const tourStop = signal<number | undefined>(undefined);

interface Figure {
  name: string;
  /** Undefined until it was computed. */
  value: () => string | undefined;
}

interface Stop {
  title: string;
  text: string;
  view: Partial<View>;
  figures: Figure[];
  /** The flow that must be trained for the figures. */
  needs?: 1 | 2;
}

const of = (flow: Flow, velocity = 'mlp'): Measures | undefined => {
  const measured = store.measures.value[store.keyOf(flow, velocity === 'mlp' ? 'mlp' : store.velocityKey.value)];
  return measured?.rough ? undefined : measured;
};
const figure = (name: string, value: () => number | undefined, unit = ''): Figure => ({
  name,
  value: () => {
    const number = value();
    return number === undefined || Number.isNaN(number) ? undefined : `${short(number)}${unit}`;
  },
});
const ratio = (a: number | undefined, b: number | undefined) =>
  a === undefined || b === undefined ? undefined : a / b;
/** How far the second number is above the first, in percent. */
function percent(a: number | undefined, b: number | undefined): string | undefined {
  if (a === undefined || b === undefined) return undefined;
  const change = 100 * (b / a - 1);
  return `${change > 0 ? '+' : ''}${change.toFixed(1)} %`;
}
const plain: Partial<View> = {
  velocity: 'mlp',
  paths: true,
  target: true,
  arrows: false,
  field: false,
  difference: false,
  density: false,
  steps: 100,
  solver: 'euler',
  interpolant: 'straight',
  sampler: 'solver',
  time: 1,
};

export const stops: Stop[] = [
  {
    title: 'Two clouds and a coupling',
    text: 'Each point of the blue source is paired with a random point of the red target. The lines between them cross, and a random pairing costs far more than the best one.',
    view: { ...plain, tab: 0 },
    figures: [
      figure('Cost of the random pairs', () => store.pairNumbers.value?.cost),
      figure('Cost of the optimal pairs', () => store.pairNumbers.value?.optimal),
      { name: 'Lines that cross', value: () => store.pairNumbers.value?.crossings.toLocaleString('en') },
    ],
  },
  {
    title: 'Learn the mean direction',
    text: 'A small network learns, at each place and time, the mean direction of the lines that pass there. Its loss cannot reach 0, because lines with different directions meet.',
    view: { ...plain, tab: 1, field: true, time: 0.5 },
    figures: [
      {
        name: 'Loss of the last steps',
        value: () => {
          const losses = store.states.value[1]?.losses.slice(-10);
          return losses?.length ? short(losses.reduce((sum, { loss }) => sum + loss, 0) / losses.length) : undefined;
        },
      },
      { name: 'Training steps', value: () => store.states.value[1]?.step.toLocaleString('en') },
    ],
    needs: 1,
  },
  {
    title: 'Follow the flow',
    text: 'Points follow the learned velocity in 100 steps. Paths of a flow cannot cross, so they turn where the lines crossed. They end at the target, and their pairs cost less than the random ones.',
    view: { ...plain, tab: 1 },
    figures: [
      figure('Error after 100 steps', () => of(1) && errorOf(of(1) as Measures, 100)),
      figure('Cost of the pairs', () => store.pairNumbers.value?.cost),
      figure('Cost of the 1-RF', () => of(1)?.cost),
    ],
    needs: 1,
  },
  {
    title: 'One step fails',
    text: 'A path that bends cannot be taken in one step. The dark lines are one step from the source; the yellow lines are what each misses. The points land between the clusters.',
    view: { ...plain, tab: 1, arrows: true, paths: false },
    figures: [
      figure('Error after 1 step', () => of(1) && errorOf(of(1) as Measures, 1)),
      figure('Error after 100 steps', () => of(1) && errorOf(of(1) as Measures, 100)),
      figure('Miss of an arrow', () => of(1)?.oneStepError),
    ],
    needs: 1,
  },
  {
    title: 'Reflow',
    text: 'Pair each start with where its path ended, and train a second flow on these pairs. Few of their lines cross, so the second flow can follow them, and its paths are nearly straight.',
    view: { ...plain, tab: 2 },
    figures: [
      figure('Straightness of the 1-RF', () => of(1)?.straightness),
      figure('Straightness of the 2-RF', () => of(2)?.straightness),
      figure('It falls by a factor of', () => ratio(of(1)?.straightness, of(2)?.straightness)),
    ],
    needs: 2,
  },
  {
    title: 'One step is enough',
    text: 'One step of the second flow comes close to where its path ends: compare its yellow lines with those of the first flow in the tab 1-RF. The error is the energy distance from 2,000 fresh points of the target, less that of two fresh draws.',
    view: { ...plain, tab: 2, arrows: true, paths: false },
    figures: [
      figure('1-RF, error, 1 step', () => of(1) && errorOf(of(1) as Measures, 1)),
      figure('2-RF, error, 1 step', () => of(2) && errorOf(of(2) as Measures, 1)),
      figure('It falls by a factor of', () =>
        ratio(of(1) && errorOf(of(1) as Measures, 1), of(2) && errorOf(of(2) as Measures, 1)),
      ),
    ],
    needs: 2,
  },
  {
    title: 'The cost does not rise',
    text: 'Rectifying never makes a coupling more costly, for any convex cost. It comes close to the optimal assignment, but need not reach it. Errors of the training are in these numbers too.',
    view: { ...plain, tab: 2 },
    figures: [
      figure('Cost of the 1-RF', () => of(1)?.cost),
      figure('Cost of the 2-RF', () => of(2)?.cost),
      { name: 'It changes by', value: () => percent(of(1)?.cost, of(2)?.cost) },
      figure('Excess over optimal', () => of(2)?.excess),
    ],
    needs: 2,
  },
  {
    title: 'Without a network',
    text: 'A kernel computes the same mean direction from the nearest pairs, without training. Move the bandwidth h: a wide kernel draws each cluster together, a narrow one repeats the data.',
    view: { ...plain, tab: 2, velocity: 'kernel', bandwidth: 1, neighbours: 100 },
    figures: [
      figure('Straightness of its 1-RF', () => of(1, 'kernel')?.straightness),
      figure('Straightness of its 2-RF', () => of(2, 'kernel')?.straightness),
      figure('Cost of its 2-RF', () => of(2, 'kernel')?.cost),
    ],
  },
];

/** Begins the tour with the official clouds, unless the page already has them. */
export function startTour(): void {
  if (tourStop.peek() !== undefined) {
    leaveTour();
    return;
  }
  const { from, to } = store.problem.peek();
  const official = 'preset' in from && from.preset === 'triangle' && 'preset' in to && to.preset === 'triangle';
  if (!official) changeProblem(defaults.problem);
  show(0);
}

function show(stop: number): void {
  tourStop.value = stop;
  store.probe.value = undefined;
  changeFollow(stops[stop].view, 0);
}

/** Trains what the stop needs, one flow after the other. */
const wanted = signal<1 | 2 | undefined>(undefined);
effect(() => {
  const need = wanted.value;
  const last = store.last.value;
  if (need === undefined || store.working.value) return;
  // A training that the reader has paused, or that cannot begin, stays as it is.
  if (store.broken.value || last?.complete === false) {
    wanted.value = undefined;
    return;
  }
  const done = last === undefined ? 0 : last.complete ? flowNumber(last.flow) : flowNumber(last.flow) - 1;
  if (done >= need) {
    wanted.value = undefined;
    const stop = tourStop.peek();
    if (stop !== undefined) changeFollow(stops[stop].view, 0);
    return;
  }
  if (last?.complete) reflow();
  else train();
});

const flowNumber = (flow: Flow) => (flow === 'distilled' ? 4 : flow);

export function leaveTour(): void {
  tourStop.value = undefined;
  wanted.value = undefined;
}

export function Tour() {
  const number = tourStop.value;
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (number !== undefined) title.current?.focus({ preventScroll: false });
  }, [number]);
  if (number === undefined) return null;
  const stop = stops[number];
  const last = store.last.value;
  const done = last === undefined ? 0 : last.complete ? flowNumber(last.flow) : flowNumber(last.flow) - 1;
  const missing = stop.needs !== undefined && done < stop.needs;
  return (
    <section class="tour" aria-label="Guided tour">
      <div class="story">
        <p class="where">
          Stop {number + 1} of {stops.length}
        </p>
        <h2 ref={title} tabIndex={-1}>
          {stop.title}
        </h2>
        <p>{stop.text}</p>
      </div>
      <dl>
        {stop.figures.map(({ name, value }) => (
          <div>
            <dt>{name}</dt>
            <dd class="number" data-figure={name}>
              {value() ?? '...'}
            </dd>
          </div>
        ))}
      </dl>
      <div class="steps">
        {missing && (
          <button
            type="button"
            class="main"
            disabled={store.working.value}
            onClick={() => {
              if (last?.complete === false) train();
              wanted.value = stop.needs;
            }}
          >
            {store.working.value ? 'Training ...' : stop.needs === 1 || done === 0 ? 'Train' : 'Reflow'}
          </button>
        )}
        <button type="button" disabled={number === 0} onClick={() => show(number - 1)}>
          Back
        </button>
        <button
          type="button"
          class={missing ? '' : 'main'}
          onClick={() => (number + 1 < stops.length ? show(number + 1) : leaveTour())}
        >
          {number + 1 < stops.length ? 'Next' : 'Finish'}
        </button>
        <button type="button" class="tool" aria-label="Leave the tour" onClick={leaveTour}>
          <Icon name="close" />
        </button>
      </div>
    </section>
  );
}
