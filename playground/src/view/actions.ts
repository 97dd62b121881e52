// What the controls do: changes of the problem, which begin a new training, and changes of the view, which ask for new pictures.
import { begin, refresh, refreshField } from '../engine/client.ts';
import type { Problem, View } from '../model/settings.ts';
import * as store from '../model/store.ts';

let waiting: ReturnType<typeof setTimeout> | undefined;

/** Changes the problem; a slider that moves begins one training, when it rests. */
export function changeProblem(change: Partial<Problem>, rest = 0): void {
  store.problem.value = { ...store.problem.peek(), ...change };
  clearTimeout(waiting);
  if (rest > 0) waiting = setTimeout(begin, rest);
  else begin();
}

let resting: ReturnType<typeof setTimeout> | undefined;

/** Changes how flows are followed, and asks for the pictures once a slider rests. */
export function changeFollow(change: Partial<View>, rest = 60): void {
  store.setView(change);
  clearTimeout(resting);
  resting = setTimeout(() => {
    refresh();
    refreshField();
  }, rest);
}
