// What the page knows: its settings, the flows that exist and what was measured of them, as signals that the views read.
import { computed, signal } from '@preact/signals';
import {
  type Clouds,
  type Compared,
  type Flow,
  flows,
  type Measures,
  type PairNumbers,
  type Paths,
  type Progress,
} from '../engine/messages.ts';
import { defaults, type Problem, type View } from './settings.ts';

export const problem = signal<Problem>(defaults.problem);
export const view = signal<View>(defaults.view);

/** The clouds of the problem, as the worker has drawn them. */
export const clouds = signal<Clouds | undefined>(undefined);
export const pairNumbers = signal<PairNumbers | undefined>(undefined);

export interface FlowState {
  step: number;
  task: Progress['task'];
  losses: { step: number; loss: number }[];
}
/** The flows of the network that have begun. */
export const states = signal<Partial<Record<Flow, FlowState>>>({});

/** What the picture shows of each flow, by `keyOf`. */
export const paths = signal<Record<string, Paths>>({});
export const measures = signal<Record<string, Measures>>({});
export const field = signal<{ side: number; arrows: Float32Array } | undefined>(undefined);
export const probe = signal<
  { backward: boolean; times: Float32Array; points: Float32Array; count: number } | undefined
>(undefined);

/** How the interpolations compare at a number of steps. */
export const compared = signal<{ steps: number; rows: Compared[] } | undefined>(undefined);
/** Whether the source is the Gaussian, whose noise some samplers draw. */
export const gaussian = computed(() => 'preset' in problem.value.from && problem.value.from.preset === 'gaussian');

/** Whether the worker has the problem of the page, and can train. */
export const ready = signal(false);
/** Whether the worker cannot begin, because the problem of the page does not hold or it was lost. */
export const broken = signal(false);
/** Whether the worker trains. */
export const working = signal(false);
export const stepsPerSecond = signal(0);
export const device = signal<string | undefined>(undefined);
/** How many workers have opened their device: one, and another after each that was lost. */
export const engine = signal(0);
export interface Action {
  text: string;
  run: () => void;
}
/** A sentence for the reader: something that went wrong, or a notice. */
export const notice = signal<{ text: string; serious: boolean; action?: Action } | undefined>(undefined);

/** The flow of the chosen tab; undefined for the pairs. */
export const flow = computed<Flow | undefined>(() => flows[view.value.tab - 1]);
export const velocityKey = computed(() => {
  const { velocity, bandwidth, neighbours } = view.value;
  return velocity === 'kernel' ? `kernel ${bandwidth} ${neighbours}` : 'mlp';
});
export const keyOf = (flow: Flow, velocity: string) => `${flow} ${velocity}`;

export const shownPaths = computed(() => (flow.value ? paths.value[keyOf(flow.value, velocityKey.value)] : undefined));
export const shownMeasures = computed(() =>
  flow.value ? measures.value[keyOf(flow.value, velocityKey.value)] : undefined,
);

export function setView(change: Partial<View>): void {
  view.value = { ...view.value, ...change };
}

/** @param action a button that helps */
export function say(text: string, serious = false, action?: Action): void {
  notice.value = { text, serious, action };
}

/** The last flow of the network that has begun, and whether its training is complete. */
export const last = computed<{ flow: Flow; complete: boolean } | undefined>(() => {
  const flow = [...flows].reverse().find((one) => states.value[one]);
  if (!flow) return undefined;
  return { flow, complete: !working.value && (states.value[flow] as FlowState).step >= problem.value.steps };
});
