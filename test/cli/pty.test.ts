// A chain in a pseudo-terminal, as a person sees it: the bar never shares a line with text, Ctrl-C is readable, and the
// end shows samples, links and the next command, which runs.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { linesOn, noTerminals, plain, runInTerminal, terminalEnvironment } from '../support/terminal.ts';

const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-pty-'));
afterAll(() => rmSync(folder, { recursive: true }));

const keys = {
  ...{ 'model.nf': 8, 'training.batch_size': 16, 'training.n_iters': 4, 'training.snapshot_sampling': false },
  ...{ 'chain.flows': 1, 'chain.distil_iters': 4, 'chain.pairs': 16, 'chain.pair_steps': 2, 'chain.classifier': false },
  ...{ 'eval.num_samples': 16, 'eval.straightness_samples': 4, 'eval.features': 'pixels' },
};
const chain = (workdir: string, more: object = {}) =>
  `${process.execPath} ${bin} chain --config digits --device cpu --workdir ${workdir} ${Object.entries({
    ...keys,
    ...more,
  })
    .map(([key, value]) => `--config.${key}=${value}`)
    .join(' ')}`;

const environment = terminalEnvironment({ TERM: 'xterm-256color', COLORTERM: 'truecolor', LANG: 'C.UTF-8' });

/** A line of the bar, and one of the lines that are not bars. */
const bar = /^[\w:,=() -]+ [━─#.]{8,30} \d+\/\d+ /;
const text = /^(all \d|stage \d|note: |\d+\.\d+ M parameters|stopp|done|Frechet)/;

function expectClean(lines: readonly string[]): void {
  for (const line of lines.filter((one) => /[━─]{4}/.test(one))) expect(line).toMatch(bar);
  for (const line of lines.filter((one) => /note: |stage \d+ of|stopping|M parameters/.test(one)))
    expect(line).toMatch(text);
}

describe.skipIf(noTerminals)('a chain in a terminal of 80 x 24', () => {
  let written = '';
  let lines: string[] = [];

  beforeAll(async () => {
    // A desktop that notes what it should open.
    const opener = join(folder, 'xdg-open');
    writeFileSync(opener, `#!/bin/sh\necho "$1" > ${folder}/opened\n`);
    chmodSync(opener, 0o755);
    const env = { ...environment, PATH: `${folder}:${process.env.PATH}` };
    const run = runInTerminal(`${chain('run')} --open`, { columns: 80, rows: 24, cwd: folder, env });
    expect(await run.ended, run.text()).toBe(0);
    written = run.text();
    lines = linesOn(80, written);
  }, 120_000);

  it('shows an estimate of all stages, then each with the time left', () => {
    const all = lines.findIndex((line) => line.startsWith('all 4 stages: about '));
    expect(all).toBeGreaterThanOrEqual(0);
    expect(lines.filter((line) => /^stage/.test(line))).toEqual([
      expect.stringMatching(/^stage 1 of 4: 1-rectified flow {2}\d+ s so far, .* left$/),
      expect.stringMatching(/^stage 2 of 4: pairs of the 1-rectified flow {2}.* left$/),
      expect.stringMatching(/^stage 3 of 4: distilled to 1 step {2}.* left$/),
      expect.stringMatching(/^stage 4 of 4: report {2}.* left$/),
    ]);
  });

  it('names every line of the report', () => {
    const named = lines.filter((line) => line.startsWith('samples: ') && bar.test(line));
    expect(named.map((line) => line.replace(/ [━─].*/, ''))).toEqual(
      ['1-rectified flow', 'distilled to 1 step'].flatMap((flow, at) =>
        ['N = 1', 'N = 2', 'N = 4', 'N = 10', 'N = 100', 'RK45'].map(
          (sampler, i) => `samples: ${flow}, ${sampler} (${6 * at + i + 1} of 12)`,
        ),
      ),
    );
  });

  it('has no line with a bar and text, and no line that wraps', () => {
    expectClean(lines);
    const bars = lines.filter((line) => bar.test(line));
    expect(bars.length).toBeGreaterThan(12);
    expect(Math.max(...bars.map((line) => line.length))).toBeLessThan(80);
    expect(bars.some((line) => / total \d+ %$/.test(line))).toBe(true);
  });

  it('shows no time left at the first step', () => {
    for (const drawn of plain(written)
      .split('\r')
      .filter((line) => / 1\/5 /.test(line)))
      expect(drawn).not.toContain('left');
  });

  it('ends with samples, links and a command that runs', () => {
    expect(written).toMatch(/▀/);
    const last = plain(written).replaceAll('\r', '').trimEnd().split('\n').slice(-4);
    expect(last).toEqual([
      expect.stringMatching(/^done in \d+ s$/),
      'samples: run/samples.png',
      'report: run/report.html',
      expect.stringMatching(/^next: npx rectiflow sample --checkpoint run --steps 1 --out new\.png$/),
    ]);
    const report = pathToFileURL(join(folder, 'run/report.html')).href;
    expect(written).toContain(`\x1b]8;;${report}\x1b\\run/report.html\x1b]8;;\x1b\\`);
    expect(existsSync(join(folder, 'run/report.html'))).toBe(true);
    // That of `npm start` can be copied from one line.
    expect(last[3].replace('run ', 'runs/quickstart ').length).toBeLessThanOrEqual(80);
    const next = last[3].replace('next: npx rectiflow ', '').split(' ');
    const { status, stderr } = spawnSync(process.execPath, [bin, ...next], { cwd: folder, encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    expect(existsSync(join(folder, 'new.png'))).toBe(true);
  }, 60_000);

  it('opens the report where that was asked for', async () => {
    await vi.waitFor(() => expect(existsSync(join(folder, 'opened'))).toBe(true), 10_000);
    expect(readFileSync(join(folder, 'opened'), 'utf8')).toBe(`${join(folder, 'run/report.html')}\n`);
  });

  it.each<[string, number, NodeJS.ProcessEnv, RegExp]>([
    ['of 200 x 60', 200, {}, /▀/],
    ['without colours', 80, { NO_COLOR: '1' }, /[░▒▓█]/],
  ])(
    'again, in a terminal %s: only the report is written anew',
    async (_, columns, more, picture) => {
      const env = { ...environment, ...more };
      const run = runInTerminal(chain('run'), { columns, rows: 60, cwd: folder, env });
      expect(await run.ended, run.text()).toBe(0);
      const shown = linesOn(columns, run.text());
      expectClean(shown);
      expect(shown.some((line) => line.startsWith('all '))).toBe(false);
      expect(run.text()).toMatch(picture);
      if (more.NO_COLOR) expect(run.text().replaceAll('\x1b[K', '')).not.toContain('\x1b[');
    },
    120_000,
  );

  it('in a pipe has neither colours nor pictures', () => {
    const [node, ...words] = chain('run').split(' ');
    const env = { ...environment, TERM: undefined };
    const { stdout, stderr, status } = spawnSync(node, words, { cwd: folder, encoding: 'utf8', env });
    expect(status).toBe(0);
    expect(stdout + stderr).not.toMatch(/[▀░▒▓█━]|\p{Cc}(?<!\n)/u);
    expect(stdout).toMatch(/\nreport: run\/report\.html\nnext: npx rectiflow sample /);
  }, 60_000);

  it('Ctrl-C leaves readable lines', async () => {
    const run = runInTerminal(chain('stopped', { 'training.n_iters': 100_000 }), {
      ...{ columns: 80, rows: 24, cwd: folder, env: environment },
    });
    await run.until(/train .* 9\d?\/100001/);
    run.type('\x03');
    expect(await run.ended).toBe(0);
    const shown = linesOn(80, run.text());
    expect(shown).toContain('stopping within about a second, then saving; interrupt again to stop now');
    expect(shown).toContain('stopped; run the same command again to resume');
    expectClean(shown);
  }, 120_000);
});
