// The time that is left, as progress bars show it: from the speed of the last seconds, and only once that is known.
import { describeDuration } from '../run/machine/resources.ts';

/** Steps and milliseconds that must have passed before a time is shown: the first steps allocate and record. */
const LEAST_STEPS = 2;
const LEAST_MS = 1000;

/** Milliseconds over which the speed is measured. */
const WINDOW_MS = 20_000;

interface Mark {
  done: number;
  time: number;
}

/**
 * Gives "40 s left" from the speed of this session, which may start anywhere: a resumed run does not start at 0. The
 * text is empty until at least two steps after the first one took a second.
 */
export function timeLeft(total: number): (done: number) => string {
  const marks: Mark[] = [];
  return (done) => {
    const now = performance.now();
    if (marks.length === 0 || done > marks[marks.length - 1].done) marks.push({ done, time: now });
    // The oldest mark lies just outside the window, and at least two steps back.
    while (marks.length > LEAST_STEPS + 1 && marks[1].time < now - WINDOW_MS) marks.shift();
    const [first] = marks;
    const last = marks[marks.length - 1];
    if (marks.length <= LEAST_STEPS || last.time - first.time < LEAST_MS || done >= total) return '';
    const perStep = (last.time - first.time) / (last.done - first.done);
    return `${describeDuration((perStep * (total - done)) / 1000)} left`;
  };
}
