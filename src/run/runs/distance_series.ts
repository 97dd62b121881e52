// Distances of a report as series of a plot.
import type { Point, Series } from '../plot/index.ts';
import type { StageFigures } from '../report/index.ts';

/** A generator distilled to k steps is meant for k steps only; 100 steps are those of a flow. */
const FLOW_STEPS = 100;

/** Distances of a report as series: Euler steps as lines, RK45 off the lines. */
export function distanceSeries(stages: readonly StageFigures[]): Series[] {
  return stages.map(({ name, fd, nfe, straightness_steps: steps }): Series => {
    const isMeant = (sampler: string) => steps === FLOW_STEPS || sampler === String(steps);
    const points = Object.entries(fd).flatMap(([sampler, value]): Point[] =>
      sampler !== 'rk45' && isMeant(sampler) ? [[Number(sampler), value]] : [],
    );
    const extra = fd.rk45 !== undefined && isMeant('rk45') ? [{ at: [nfe, fd.rk45] as const, label: 'RK45' }] : [];
    return { label: name, points: points.sort(([a], [b]) => a - b), extra };
  });
}
