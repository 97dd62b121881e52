// The page's side of the worker: starts it, sends requests, and puts the answers into the store.
import workerText from 'virtual:worker';
import { batch } from '@preact/signals';
import type { View } from '../model/settings.ts';
import * as store from '../model/store.ts';
import { threadsOf } from '../model/threads.ts';
import { isOfDigits, loseDigits, takeDigits } from './digit_client.ts';
import { type Answer, type DigitAnswer, type Flow, type Follow, flows } from './messages.ts';
import { send, setWorker, theWorker } from './port.ts';

/** The request for arrows that is on its way, and whether its answer will be out of date. */
let fieldAsked: number | undefined;
let fieldStale = false;
let run = 0;
let asked = 0;
/** The notice of a problem that could not begin. */
let fault: typeof store.notice.value;
/** The last request of each kind and flow: answers to earlier ones are out of date. */
const latest = new Map<string, number>();
const weightsAsked = new Map<number, (weights: { bytes: Uint8Array; unit: number }) => void>();

/** How the chosen flow is followed. Samplers that draw noise draw from the Gaussian, and need it as the source. */
export function followOf({ velocity, bandwidth, neighbours, steps, solver, interpolant, ...view }: View): Follow {
  const drawn = view.sampler === 'sde' || view.sampler === 'refresh';
  const sampler = drawn && !store.gaussian.peek() ? 'solver' : view.sampler;
  return { velocity, bandwidth, neighbours, steps, solver, interpolant, sampler, fresh: view.fresh };
}

export function startWorker(): void {
  if (typeof WebAssembly === 'undefined' || typeof Worker === 'undefined') {
    store.say(
      'This browser has no WebAssembly or no workers, which the playground computes with. A current browser has both.',
      true,
    );
    store.device.value = '';
    return;
  }
  const url = URL.createObjectURL(new Blob([workerText], { type: 'text/javascript' }));
  const worker = new Worker(url, { name: 'playground' });
  setWorker(worker);
  worker.onmessage = ({ data }: MessageEvent<Answer>) => receive(data);
  worker.onerror = (event) => {
    event.preventDefault();
    lose(event.message || 'the browser ended it');
  };
  send({ kind: 'open', threads: threadsOf(crossOriginIsolated, navigator.hardwareConcurrency) });
}

function lose(reason: string): void {
  theWorker()?.terminate();
  setWorker(undefined);
  batch(() => {
    loseDigits();
    store.working.value = false;
    store.ready.value = false;
    store.broken.value = true;
    store.say(`The worker that computes was lost (${reason}). Press Reset to start another one.`, true, {
      text: 'Reset',
      run: begin,
    });
  });
}

/** Begins again with the problem of the store. */
export function begin(): void {
  if (!theWorker()) startWorker();
  run++;
  latest.clear();
  fieldAsked = undefined;
  batch(() => {
    store.working.value = false;
    store.ready.value = false;
    store.broken.value = false;
    store.states.value = {};
    store.paths.value = {};
    store.measures.value = {};
    store.field.value = undefined;
    store.probe.value = undefined;
    store.compared.value = undefined;
    store.stepsPerSecond.value = 0;
  });
  send({ kind: 'begin', run, problem: store.problem.peek() });
}

export function train(): void {
  store.working.value = true;
  send({ kind: 'train', run });
}

export function step(): void {
  send({ kind: 'step', run });
}

export function pause(): void {
  send({ kind: 'pause' });
}

/** Adds a flow that is trained on the pairs of the last one, and trains it. */
export function reflow(): void {
  store.working.value = true;
  send({ kind: 'reflow', run });
}

export function distil(): void {
  store.working.value = true;
  send({ kind: 'distil', run });
}

/** Asks for the paths and the numbers of every flow that exists. */
export function refresh(): void {
  send({ kind: 'follow', run, ask: ++asked, how: followOf(store.view.peek()) });
}

export function refreshField(): void {
  const flow = store.flow.peek();
  const view = store.view.peek();
  if (!flow || !(view.field || view.difference)) return;
  // One request at a time: the answer asks again if something has changed in the meantime.
  if (fieldAsked !== undefined) {
    fieldStale = true;
    return;
  }
  const number = ++asked;
  fieldAsked = number;
  fieldStale = false;
  send({ kind: 'field', run, ask: number, flow, how: followOf(view), time: view.time, difference: view.difference });
}

/** Follows points through the chosen flow: from the target back to the source, or forward. */
export function probe(points: Float32Array, backward: boolean): void {
  const flow = store.flow.peek();
  if (!flow) return;
  const number = ++asked;
  latest.set('probe', number);
  send({ kind: 'probe', run, ask: number, flow, how: followOf(store.view.peek()), points, backward });
}

/** Asks how far Euler and natural Euler along each interpolation end from straight Euler. */
export function compare(): void {
  const flow = store.flow.peek();
  if (!flow) return;
  latest.set('compare', ++asked);
  send({ kind: 'compare', run, ask: asked, flow, how: followOf(store.view.peek()) });
}

/** @throws Error if there is no worker */
export async function weightsOf(flow: Flow): Promise<{ bytes: Uint8Array; unit: number }> {
  if (!theWorker()) throw new Error('The worker that has the weights was lost. Press Reset first, and train again.');
  const number = ++asked;
  return new Promise((resolve) => {
    weightsAsked.set(number, resolve);
    send({ kind: 'weights', run, ask: number, flow });
  });
}

function receive(answer: Answer): void {
  if (answer.kind === 'opened') {
    store.device.value = answer.description;
    store.engine.value++;
    return;
  }
  if (isOfDigits(answer)) {
    batch(() => takeDigits(answer));
    return;
  }
  if (answer.kind === 'failed') {
    batch(() => {
      // Without a device, nothing can be computed.
      if (store.engine.peek() === 0) store.device.value = '';
      store.working.value = false;
      store.broken.value = !store.ready.peek();
      fieldAsked = undefined;
      store.say(answer.message, true);
      if (store.broken.peek()) fault = store.notice.peek();
    });
    return;
  }
  if (answer.run !== run) return;
  batch(() => take(answer));
}

function take(answer: Exclude<Answer, { kind: 'opened' | 'failed' } | DigitAnswer>): void {
  switch (answer.kind) {
    case 'began':
      store.ready.value = true;
      // What kept an earlier problem from its beginning is over.
      if (fault && store.notice.peek() === fault) store.notice.value = undefined;
      store.clouds.value = answer.clouds;
      store.pairNumbers.value = answer.pairs;
      refresh();
      return;
    case 'progress': {
      const { flow, step, losses, stepsPerSecond, task } = answer.progress;
      const earlier = store.states.value[flow];
      // A flow that begins is shown.
      if (!earlier) store.setView({ tab: flows.indexOf(flow) + 1 });
      store.states.value = {
        ...store.states.value,
        [flow]: { step, task, losses: [...(earlier?.losses ?? []), ...losses] },
      };
      store.stepsPerSecond.value = stepsPerSecond;
      return;
    }
    case 'stopped':
      store.working.value = false;
      refreshField();
      return;
    case 'paths': {
      const { flow, how } = answer.paths;
      store.paths.value = { ...store.paths.value, [store.keyOf(flow, velocityName(how))]: answer.paths };
      if (flow === store.flow.value && store.working.value) refreshField();
      return;
    }
    case 'measures':
      store.measures.value = {
        ...store.measures.value,
        [store.keyOf(answer.measures.flow, velocityName(answer.how))]: answer.measures,
      };
      return;
    case 'field':
      if (answer.ask !== fieldAsked) return;
      fieldAsked = undefined;
      if (answer.arrows.length > 0) store.field.value = { side: answer.side, arrows: answer.arrows };
      if (fieldStale) refreshField();
      return;
    case 'compared':
      if (latest.get('compare') === answer.ask) store.compared.value = { steps: answer.steps, rows: answer.rows };
      return;
    case 'probed': {
      if (latest.get('probe') !== answer.ask) return;
      const count = answer.points.length / answer.times.length / 2;
      store.probe.value = { backward: answer.backward, times: answer.times, points: answer.points, count };
      return;
    }
    case 'weights':
      weightsAsked.get(answer.ask)?.({ bytes: answer.bytes, unit: answer.unit });
      weightsAsked.delete(answer.ask);
  }
}

const velocityName = ({ velocity, bandwidth, neighbours }: Follow) =>
  velocity === 'kernel' ? `kernel ${bandwidth} ${neighbours}` : 'mlp';
