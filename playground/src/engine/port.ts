// The worker that computes, for both pages: what is sent to it. Nothing is sent while there is none.
import type { Request } from './messages.ts';

let worker: Worker | undefined;

export function setWorker(next: Worker | undefined): void {
  worker = next;
}

/** The worker; undefined before the first and after one was lost. */
export const theWorker = (): Worker | undefined => worker;

export function send(request: Request): void {
  worker?.postMessage(request);
}
