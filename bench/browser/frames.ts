// Work of the page's main thread while its worker trains, from a trace of Chromium: tasks above 50 ms, and script time in a frame.
import type { Browser, CDPSession } from 'playwright-core';

interface TraceEvent {
  name: string;
  cat: string;
  ph: string;
  ts: number;
  dur?: number;
  pid: number;
  tid: number;
  args?: { name?: string };
}

/** Seconds of training that are traced. */
const SECONDS = 8;
const LONG_MS = 50;
/** Events that are script: what they contain is not counted again. */
const scripts = new Set([
  'FunctionCall',
  'EvaluateScript',
  'FireAnimationFrame',
  'TimerFire',
  'RunMicrotasks',
  'EventDispatch',
]);

export async function measureFrames(browser: Browser, address: string): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  await page.goto(address);
  await page.waitForSelector('button.main:enabled');
  const session = await browser.newBrowserCDPSession();
  for (const [what, prepare] of [
    ['paths and points', async () => {}],
    ['density, field and one-step arrows too', () => showAll()],
  ] as const) {
    await prepare();
    await page.click('button[aria-label="Reset the training"]');
    await page.waitForSelector('button.main:enabled');
    const events = await traced(session, async () => {
      await page.click('button.main:has-text("Train")');
      await page.waitForTimeout(1000 * SECONDS);
    });
    const pause = page.locator('button.main:has-text("Pause")');
    if (await pause.count()) await pause.click();
    const { tasks, frames } = summaryOf(events);
    const long = tasks.filter((task) => task > LONG_MS);
    console.log(
      `${what}: ${long.length} main-thread tasks above ${LONG_MS} ms (the longest of all ${Math.max(...tasks).toFixed(1)} ms); ` +
        `script in ${frames.length} frames: median ${median(frames).toFixed(2)} ms, 95 % below ${quantile(frames, 0.95).toFixed(2)} ms`,
    );
  }
  await page.close();

  async function showAll(): Promise<void> {
    for (const text of ['Density', 'Field', 'One-step arrows']) await page.check(`text=${text}`);
  }
}

async function traced(session: CDPSession, work: () => Promise<void>): Promise<TraceEvent[]> {
  const events: TraceEvent[] = [];
  const collect = ({ value }: { value: unknown }) => {
    for (const event of value as TraceEvent[]) events.push(event);
  };
  session.on('Tracing.dataCollected', collect);
  await session.send('Tracing.start', {
    transferMode: 'ReportEvents',
    traceConfig: {
      includedCategories: ['toplevel', 'devtools.timeline', 'disabled-by-default-devtools.timeline', '__metadata'],
    },
  });
  await work();
  const complete = new Promise<void>((resolve) => session.once('Tracing.tracingComplete', () => resolve()));
  await session.send('Tracing.end');
  await complete;
  session.off('Tracing.dataCollected', collect);
  return events;
}

/** Durations in milliseconds of the main thread's tasks, and of the script in each of its frames. */
export function summaryOf(events: readonly TraceEvent[]): { tasks: number[]; frames: number[] } {
  const scripted = new Map<string, number>();
  const threadOf = ({ pid, tid }: TraceEvent) => `${pid} ${tid}`;
  const mains = new Set(
    events.filter((e) => e.name === 'thread_name' && e.args?.name === 'CrRendererMain').map(threadOf),
  );
  for (const event of events)
    if (mains.has(threadOf(event)) && event.name === 'FireAnimationFrame')
      scripted.set(threadOf(event), (scripted.get(threadOf(event)) ?? 0) + 1);
  // The renderer of the page, of all renderers, is the one that paints.
  const [main] = [...scripted].sort((a, b) => b[1] - a[1])[0] ?? [];
  const own = events.filter((e) => threadOf(e) === main && e.ph === 'X' && e.dur !== undefined);
  const tasks = own.filter(({ name }) => /RunTask$/.test(name)).map(({ dur = 0 }) => dur / 1000);
  const starts = own.filter(({ name }) => name === 'FireAnimationFrame').map(({ ts }) => ts);
  const script = own.filter(({ name }) => scripts.has(name)).sort((a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0));
  const outer: TraceEvent[] = [];
  for (const event of script) {
    const last = outer[outer.length - 1];
    if (!last || event.ts >= last.ts + (last.dur ?? 0)) outer.push(event);
  }
  const frames = starts.slice(1).map((end, i) => {
    const inside = outer.filter(({ ts }) => ts >= starts[i] && ts < end);
    return inside.reduce((sum, { dur = 0 }) => sum + dur / 1000, 0);
  });
  return { tasks, frames };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

const median = (values: readonly number[]) => quantile(values, 0.5);
