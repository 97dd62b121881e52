// The chain of a domain transfer: its stages, its report in both directions, its files after kills at any moment, images that are carried over.
// RECTIFLOW_TEST_FULL=1 kills it 40 times, and runs the whole configuration with three seeds: what is measured has bounds.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readManifest } from '../../../src/data/index.ts';
import { readPng } from '../../../src/io/index.ts';
import { chainStages, reportConfig } from '../../../src/run/chain/stages.ts';
import type { ReportFigures } from '../../../src/run/index.ts';
import { bin, ChainRuns, smallChain } from '../../support/chain_runs.ts';
import { configWith } from '../../support/config.ts';
import { full } from '../../support/devices.ts';
import { noFaults } from '../../support/faults.ts';

const MOST_KILLS = full ? 40 : 2;
const root = mkdtempSync(join(tmpdir(), 'rectiflow-transfer-chain-'));
/** Its classifiers are tested in test/run/training/transfer.test.ts. */
const chains = new ChainRuns(root, 'digits_bold', { ...smallChain, 'eval.features': 'pixels' });
const reportOf = (path: string) => JSON.parse(readFileSync(join(path, 'report.json'), 'utf8')) as ReportFigures;

it('its stages train three classifiers that no flow sees', async () => {
  const config = await configWith('digits_bold', {});
  const stages = chainStages(config, 'W');
  expect(stages.map(({ name }) => name)).toEqual([
    'classifier for scores',
    'classifier of the source',
    'classifier of the domains',
    '1-rectified flow',
    'pairs of the 1-rectified flow',
    '2-rectified flow',
  ]);
  expect(stages.map(({ config: own }) => own.data.half)).toEqual([
    'second',
    'first',
    'second',
    'second',
    'second',
    'second',
  ]);
  expect(reportConfig(config, stages).eval).toMatchObject({
    features: 'classifier:W/classifier.safetensors',
    source_features: 'classifier:W/source_classifier.safetensors',
    domains: 'W/domains_classifier.safetensors',
  });
  const classes = await configWith('digits_bold', { 'data.category': '8', 'source.category': '3' });
  expect(chainStages(classes, 'W').map(({ config: own }) => own.data.category)).toEqual(['', '', '8', '8', '8', '8']);
});

describe('a small one', () => {
  beforeAll(() => {
    const { status, stderr } = chains.run('whole');
    expect(stderr).toContain('stage 4 of 4: report');
    expect(status).toBe(0);
  }, 120_000);

  it('its pairs name their source, and its report has both directions', async () => {
    const manifest = await readManifest(join(root, 'whole/chain/1_rectified_flow_pairs/42'));
    expect(manifest?.noise).toMatchObject({ law: 'images', seed: 42, scale: 0.05 });
    const report = reportOf(join(root, 'whole/chain'));
    expect(report.transfers?.map(({ name }) => name)).toEqual(['1-rectified flow', '2-rectified flow']);
    for (const { forward, reverse } of report.transfers ?? [])
      for (const direction of [forward, reverse]) {
        expect(Object.keys(direction.rows).sort()).toEqual(['1', '10', '2', 'rk45']);
        expect(direction.rows.rk45.to_rk45).toBe(0);
        expect(direction.rows['1'].nfe).toBe(1);
        // Bold digits are farther from thin ones than from other bold ones.
        expect(direction.anchors?.other).toBeGreaterThan(direction.anchors?.own ?? Number.NaN);
        expect(direction.random_cost).toBeGreaterThan(direction.rows.rk45.cost);
      }
    const page = readFileSync(join(root, 'whole/chain/report.html'), 'utf8');
    expect(page).toContain('Rectified flow: handwritten digits, first half to bold handwritten digits, second half');
    expect(page).toContain('1-rectified flow, target to source');
    expect(page).toContain('4 paths of the 2-rectified flow from an image of the target at the left');
    expect(page).not.toContain('same noise');
  });

  it('`transfer` writes a sheet with each image left of what it becomes, there and back', async () => {
    const checkpoint = 'chain/2_rectified_flow/checkpoints/checkpoint_0.safetensors';
    const [, options] = chains.start('whole');
    const transfer = (...words: string[]) =>
      spawnSync(process.execPath, [bin, 'transfer', '--checkpoint', checkpoint, '--threads', '1', ...words], {
        ...options,
        encoding: 'utf8',
      });
    const euler = ['--sampler', 'euler', '--steps', '1'];
    expect(transfer('--input', '2', '--out', '../sheet.png', ...euler).stdout).toMatch(
      /^NFE 1 {2}2 images from the source/,
    );
    const { width, height } = await readPng(join(root, 'sheet.png'));
    expect([width, height]).toEqual([2 * 10 + 2, 2 * 10 + 2]);
    expect(transfer('--input', '../sheet.png', '--reverse', '--out', '../back.npy', ...euler).stdout).toMatch(
      /1 image from the target to the source/,
    );
    const fault = transfer('--input', checkpoint, '--out', '../x.png', ...euler);
    expect(fault.stderr).toMatch(/is not an image that can be read/);
    expect(fault.status).toBe(1);
  }, 60_000);

  it(`gives byte-identical files after kill -9 right before a writing call, ${MOST_KILLS} times`, async (context) => {
    if (noFaults !== undefined) context.skip(noFaults);
    const whole = chains.filesOf('whole');
    expect(Object.keys(whole).filter((file) => file.endsWith('source.npy'))).toHaveLength(1);
    await chains.killedTimes(MOST_KILLS, full ? Date.now() : 3, whole);
  }, 900_000);
});

it.runIf(full)(
  'the whole one, mean of three seeds: distances, classes, costs and single steps are within their bounds in both directions',
  () => {
    const reports = [42, 43, 44].map((seed) => {
      const run = new ChainRuns(mkdtempSync(join(tmpdir(), 'rectiflow-transfer-chain-')), 'digits_bold', { seed });
      const [words, options] = run.start('whole');
      const all = words.filter((word, i) => word !== '--threads' && words[i - 1] !== '--threads');
      expect(spawnSync(process.execPath, [bin, ...all], { ...options, stdio: 'ignore' }).status).toBe(0);
      return reportOf(join(options.cwd, 'chain')).transfers ?? [];
    });
    const mean = (value: (transfers: (typeof reports)[number]) => number | undefined) =>
      reports.reduce((sum, transfers) => sum + (value(transfers) ?? Number.NaN) / reports.length, 0);
    for (const direction of ['forward', 'reverse'] as const) {
      const first = (value: (one: (typeof reports)[number][number][typeof direction]) => number | undefined) =>
        mean(([one]) => value(one[direction]));
      const second = (value: (one: (typeof reports)[number][number][typeof direction]) => number | undefined) =>
        mean(([, one]) => value(one[direction]));
      expect(first(({ rows }) => rows['10'].fd)).toBeLessThanOrEqual(first(({ anchors }) => anchors?.other) / 3);
      expect(first(({ rows }) => rows['10'].class_kept)).toBeGreaterThanOrEqual(0.9);
      const cost = first(({ rows }) => rows['10'].cost);
      expect(cost).toBeLessThan(first(({ random_cost }) => random_cost));
      expect(second(({ rows }) => rows['10'].cost)).toBeLessThanOrEqual(cost);
      expect(second(({ rows }) => rows['1'].fd)).toBeLessThanOrEqual(1.5 * second(({ rows }) => rows['10'].fd));
    }
  },
  3_600_000,
);
