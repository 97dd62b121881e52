// What `doctor` says of a job: its ranks by machine, their threads, and how fast they exchange gradients.
import type { Device } from '../../device/device.ts';
import { defaultThreads } from '../../device/environment.ts';
import { threadsInLaunch } from '../../device/launch.ts';
import { zeros } from '../../tensor/create.ts';
import { keep } from '../../tensor/scope.ts';
import { Exchange } from './exchange.ts';
import type { Ranks } from './ranks.ts';

/** Bytes of the gradients that are exchanged, and how often. */
const EXCHANGED = 64e6;
const RUNS = 5;

/** A line of `doctor`. */
interface JobFinding {
  what: string;
  state: 'ok' | 'note';
  detail: string;
  remedy?: string;
}

/**
 * Examines the job of this process. All ranks call it, and get the same findings.
 * @param device cpu or wasm
 */
export async function examineRanks(ranks: Ranks, device: Device): Promise<JobFinding[]> {
  const mine = JSON.stringify({ host: ranks.host, threads: threadsInLaunch() ?? defaultThreads() });
  const all = ranks.gatherTexts(mine).map((text) => JSON.parse(text) as { host: string; threads: number });
  const hosts = [...new Set(all.map(({ host }) => host))].map((host) => {
    const there = all.filter((one) => one.host === host);
    const threads = [...new Set(there.map((one) => one.threads))].join(' or ');
    return `${there.length} on ${host} with ${threads} thread${threads === '1' ? '' : 's'} each`;
  });
  const seconds = await exchangeSeconds(ranks, device);
  const bytes = (2 * EXCHANGED * (ranks.size - 1)) / ranks.size;
  return [
    { what: 'ranks', state: 'ok', detail: `${ranks.size} by ${ranks.launcher}, ${ranks.library}: ${hosts.join('; ')}` },
    {
      what: 'exchange',
      state: 'ok',
      detail:
        `gradients of ${EXCHANGED / 1e6} MB in ${(1000 * seconds).toFixed(0)} ms, best of ${RUNS}: each rank sends and receives ` +
        `${(bytes / seconds / 1e9).toFixed(2)} GB/s`,
    },
  ];
}

/** Seconds of the fastest exchange of gradients of one part a rank, on the slowest rank. */
async function exchangeSeconds(ranks: Ranks, device: Device): Promise<number> {
  const gradients = keep(zeros([EXCHANGED / 4], { device }));
  const exchange = new Exchange(ranks, gradients, ranks.size, device);
  try {
    let best = Number.POSITIVE_INFINITY;
    for (let run = 0; run < RUNS; run++) {
      await ranks.meet();
      const start = performance.now();
      exchange.finishRound(0);
      const own = (performance.now() - start) / 1000;
      best = Math.min(best, Math.max(...ranks.gather([own]).map(([seconds]) => seconds)));
    }
    return best;
  } finally {
    exchange[Symbol.dispose]();
    gradients.dispose();
  }
}
