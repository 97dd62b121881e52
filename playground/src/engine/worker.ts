// The worker: opens the device, answers the page in the order of its requests, and trains in short turns between them.
import { type Device, openDevice } from 'rectiflow';
import { type Coupling, couplings } from '../model/settings.ts';
import { DigitDesk } from './digit_desk.ts';
import type { Answer, Flow, Follow, Request } from './messages.ts';
import { flowOf, GRID, Sessions } from './sessions.ts';

/** Milliseconds of work between two looks at the requests, and between two reports and two pictures of a flow in training. */
const TURN = 16;
const REPORT = 100;
const PICTURE = 160;
const MEASURE = 900;
/** The last time at which the network and the kernel are compared. */
const LAST_COMPARED = 0.9;

let device: Device | undefined;
let sessions: Sessions | undefined;
let run = 0;
let training = false;
/** What the page looks at: pictures of a training flow are made so. */
let shown: Follow | undefined;
const sent = { losses: 0, flow: 0, step: 0, time: 0, picture: 0, measure: 0 };

const post = (answer: Answer, transfer: Transferable[] = []) =>
  (self as unknown as { postMessage(answer: Answer, transfer: Transferable[]): void }).postMessage(answer, transfer);

const digits = new DigitDesk(post);

/** Requests are answered one after the other. */
let queue: Promise<void> = Promise.resolve();
self.onmessage = ({ data }: MessageEvent<Request>) => {
  // A pause must not wait for what is computed.
  if (data.kind === 'pause') stop();
  // Nor may what is out of date be computed to its end.
  if (data.kind === 'follow') shown = data.how;
  if (data.kind === 'begin') shown = undefined;
  digits.hear(data);
  queue = queue.then(() => answer(data)).catch(fail);
};

/** A message of the library as the page says it: without the caller, and with the page's names of couplings. */
function sentence(message: string): string {
  const text = message
    .replace(/^\[\w+\] /, '')
    .replace(/(?<=coupling ")\w+(?=")/, (name) => couplings[name as Coupling] ?? name);
  return `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
}

function fail(error: Error): void {
  training = false;
  post({ kind: 'failed', message: sentence(error.message) });
}

async function answer(request: Request): Promise<void> {
  if (request.kind === 'open') {
    device = await openDevice('wasm', { threads: request.threads });
    return post({ kind: 'opened', description: device.description });
  }
  // It was heard, unless what it pauses was still waiting.
  if (request.kind === 'pause') {
    stop();
    return;
  }
  if (!device) return;
  if (DigitDesk.takes(request)) return digits.answer(request, device);
  if (request.kind === 'begin') {
    stop();
    sessions?.dispose();
    sessions = undefined;
    run = request.run;
    sessions = new Sessions(request.problem, device);
    Object.assign(sent, { losses: 0, flow: 0, step: 0 });
    const { clouds, pairs } = sessions.clouds();
    return post({ kind: 'began', run, clouds, pairs });
  }
  if (!sessions || request.run !== run) return;
  switch (request.kind) {
    case 'train':
      return start();
    case 'step':
      return oneStep(sessions);
    case 'reflow':
      sessions.trained.reflow();
      return start();
    case 'distil':
      sessions.trained.distil();
      return start();
    case 'follow':
      return followAll(sessions, request.how);
    case 'field': {
      const { flow, how, difference } = request;
      const kernel: Follow = { ...how, velocity: 'kernel' };
      // The kernel's flows are made on demand.
      if (difference)
        while (!sessions.of(kernel).idle && !sessions.begun(kernel).includes(flow)) {
          sessions.of(kernel).advance(TURN);
          await pauseBetween();
        }
      // Near t = 1 the kernel divides by 1 - t, and far from its points the quotient says nothing.
      const time = difference ? Math.min(request.time, LAST_COMPARED) : request.time;
      const needed: Follow[] = difference ? [{ ...how, velocity: 'mlp' }, kernel] : [how];
      const none = new Float32Array(0);
      const known = needed.every((one) => (sessions as Sessions).begun(one).includes(flow));
      if (!known) return post({ kind: 'field', run, ask: request.ask, time: request.time, side: GRID, arrows: none });
      const [arrows, less] = needed.map((one) => (sessions as Sessions).field(flow, one, time));
      if (less)
        for (let i = 0; i < arrows.length; i += 4) for (const axis of [2, 3]) arrows[i + axis] -= less[i + axis];
      return post({ kind: 'field', run, ask: request.ask, time: request.time, side: GRID, arrows }, [arrows.buffer]);
    }
    case 'probe': {
      const { flow, how, ask, backward } = request;
      if (!sessions.begun(how).includes(flow)) return;
      return post({ kind: 'probed', run, ask, backward, ...sessions.probe(flow, how, request.points, backward) });
    }
    case 'compare': {
      const { flow, how, ask } = request;
      if (!sessions.begun(how).includes(flow)) return;
      return post({ kind: 'compared', run, ask, steps: how.steps, rows: sessions.compare(flow, how) });
    }
    case 'weights': {
      const { bytes, unit } = await sessions.weights(request.flow);
      return post({ kind: 'weights', run, ask: request.ask, flow: request.flow, bytes, unit });
    }
  }
}

/** Pictures and numbers of every flow; a later request of this kind ends an earlier one. */
async function followAll(now: Sessions, how: Follow): Promise<void> {
  if (shown !== how) return;
  const session = now.of(how);
  if (how.velocity === 'kernel') {
    let [known, measured] = [0, 0];
    while (shown === how && now === sessions) {
      // A picture as soon as a flow of the kernel is there; its numbers follow.
      const begun = now.begun(how);
      for (const flow of begun.slice(known)) sendPaths(now, flow, how);
      const complete = begun.filter((flow) => now.complete(flow, how));
      for (const flow of complete.slice(measured)) sendMeasures(now, flow, how);
      [known, measured] = [begun.length, complete.length];
      if (session.idle) return;
      session.advance(TURN);
      await pauseBetween();
    }
    return;
  }
  for (const flow of now.begun(how)) sendPaths(now, flow, how);
  for (const flow of now.begun(how)) sendMeasures(now, flow, how);
}

const sendMeasures = (now: Sessions, flow: Flow, how: Follow) =>
  post({ kind: 'measures', run, how, measures: now.measures(flow, how) });

function sendPaths(now: Sessions, flow: Flow, how: Follow): void {
  const paths = now.paths(flow, how);
  post({ kind: 'paths', run, paths }, [paths.points.buffer, paths.first.buffer]);
}

function start(): void {
  if (training) return;
  training = true;
  Object.assign(sent, { time: performance.now(), step: sessions?.trained.progress.done ?? 0 });
  next(turn);
}

/** Makes one update, and what must come before it. */
function oneStep(now: Sessions): void {
  const { trained } = now;
  const before = trained.progress;
  const updated = () =>
    trained.progress.task === 'train' &&
    (trained.progress.done > before.done || before.task !== 'train') &&
    trained.progress.done > 0;
  while (!trained.idle && !updated()) trained.advance(1e-3);
  report(now);
  picture(now, true);
}

/** Trains for a short time, reports, and gives way to the requests that wait. */
function turn(): void {
  const now = sessions;
  if (!now || !training) return;
  try {
    now.trained.advance(TURN);
    const time = performance.now();
    if (now.trained.idle) {
      report(now);
      training = false;
      picture(now, true);
      post({ kind: 'stopped', run });
      return;
    }
    if (time - sent.time >= REPORT) {
      report(now);
      picture(now);
    }
  } catch (error) {
    fail(error as Error);
    return;
  }
  next(turn);
}

function report(now: Sessions): void {
  const { progress, flows } = now.trained;
  const { task, flow: number, done } = progress;
  const one = flows[number];
  if (!one) return;
  const time = performance.now();
  if (sent.flow !== number) Object.assign(sent, { flow: number, losses: 0, step: 0 });
  const losses = one.losses.slice(sent.losses);
  sent.losses = one.losses.length;
  const step = one.complete ? now.trained.settings.steps : task === 'train' ? done : 0;
  const stepsPerSecond = (1000 * Math.max(0, step - sent.step)) / Math.max(1, time - sent.time);
  Object.assign(sent, { step, time });
  post({ kind: 'progress', run, progress: { flow: flowOf(one, number), task, step, losses, stepsPerSecond } });
}

/** Shows the flow that trains. */
function picture(now: Sessions, whole = false): void {
  if (shown?.velocity !== 'mlp') return;
  const number = now.trained.progress.flow;
  const one = now.trained.flows[number];
  const time = performance.now();
  if (!one?.flow) return;
  const flow = flowOf(one, number);
  if (whole || time - sent.picture >= PICTURE) {
    sendPaths(now, flow, shown);
    sent.picture = performance.now();
  }
  if (whole || time - sent.measure >= MEASURE) {
    sendMeasures(now, flow, shown);
    sent.measure = performance.now();
  }
}

function stop(): void {
  if (!training) return;
  training = false;
  if (sessions) {
    report(sessions);
    const now = sessions;
    queue = queue.then(() => {
      if (now === sessions) picture(now, true);
    });
  }
  post({ kind: 'stopped', run });
}

/** Calls `work` after the requests that wait; a timer would wait at least 4 ms. */
const channel = new MessageChannel();
const waiting: (() => void)[] = [];
channel.port1.onmessage = () => {
  const work = waiting.shift();
  queue = queue.then(() => work?.()).catch(fail);
};
function next(work: () => void): void {
  waiting.push(work);
  channel.port2.postMessage(0);
}

/** Lets messages arrive; the queue stays with the caller. */
const pauses = new MessageChannel();
const paused: (() => void)[] = [];
pauses.port1.onmessage = () => paused.shift()?.();
function pauseBetween(): Promise<void> {
  return new Promise((resolve) => {
    paused.push(resolve);
    pauses.port2.postMessage(0);
  });
}
