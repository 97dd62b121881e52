// The numbers of the flows, which the page computes: a table and three charts.
import { type Flow, flows, type Measures } from '../engine/messages.ts';
import { short } from '../model/short.ts';
import * as store from '../model/store.ts';
import { Chart } from './chart.tsx';
import { Panel } from './fields.tsx';
import { flowNames } from './stage.tsx';

export const flowColours: Record<Flow, string> = { 1: '--from', 2: '--mid', 3: '--to', distilled: '--error' };

/** Measures of the flows that exist with the chosen velocity. */
function measured(): Measures[] {
  return flows.flatMap((flow) => store.measures.value[store.keyOf(flow, store.velocityKey.value)] ?? []);
}

/** The energy distance after N steps, less what two fresh draws of the target have. */
export const errorOf = ({ byStepCount }: Measures, steps: number): number =>
  byStepCount.find((one) => one.steps === steps)?.distance ?? Number.NaN;

const rows: { name: string; help: string; value: (m: Measures) => number }[] = [
  {
    name: 'Straightness',
    help: 'Mean over time and points of |v - (Z1 - Z0)|^2. It is 0 if all paths are straight.',
    value: (m) => m.straightness,
  },
  { name: 'Cost', help: 'Mean of |Z1 - Z0|^2 over 300 points', value: (m) => m.cost },
  {
    name: 'Excess cost',
    help: 'The cost above that of the optimal assignment of the same 300 ends, which is exact',
    value: (m) => m.excess,
  },
  {
    name: 'Error, N = 1',
    help: 'Energy distance of one Euler step from fresh points of the target, less that of two fresh draws',
    value: (m) => errorOf(m, 1),
  },
  { name: 'Error, N = 100', help: 'The same after 100 Euler steps', value: (m) => errorOf(m, 100) },
  {
    name: 'Crossings',
    help: 'Pairs of lines from Z0 to Z1 that cross, of the 44,850 pairs of 300 lines',
    value: (m) => m.crossings,
  },
];

export function Numbers() {
  const all = measured();
  const pairs = store.pairNumbers.value;
  return (
    <Panel title="Numbers">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls needs the focus, so that keys can scroll it. */}
      <section class="scroll" aria-label="Table of numbers" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">
                <span class="unseen">Measure</span>
              </th>
              <th scope="col">Pairs</th>
              {all.map((one) => (
                <th scope="col">
                  <i style={{ background: `var(${flowColours[one.flow]})` }} />
                  {flowNames[one.flow]}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(({ name, help, value }) => (
              <tr>
                <th scope="row" title={help}>
                  {name}
                </th>
                <td>{pairs && pairValue(name, pairs)}</td>
                {all.map((one) => (
                  <td data-measure={`${name} ${one.flow}`}>
                    {name === 'Crossings' ? one.crossings.toLocaleString('en') : short(value(one))}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      <Charts all={all} />
    </Panel>
  );
}

function pairValue(
  name: string,
  { cost, optimal, crossings }: { cost: number; optimal: number; crossings: number },
): string {
  if (name === 'Cost') return short(cost);
  if (name === 'Excess cost') return short(cost - optimal);
  return name === 'Crossings' ? crossings.toLocaleString('en') : '';
}

function Charts({ all }: { all: Measures[] }) {
  const losses = flows.flatMap((flow) => {
    const state = store.states.value[flow];
    if (!state || state.losses.length < 2) return [];
    return [
      {
        name: flowNames[flow],
        colour: flowColours[flow],
        x: state.losses.map(({ step }) => step),
        y: state.losses.map(({ loss }) => loss),
      },
    ];
  });
  const errors = all.map((one) => ({
    ...{ name: flowNames[one.flow], colour: flowColours[one.flow], points: true },
    x: one.byStepCount.map(({ steps }) => steps),
    y: one.byStepCount.map(({ distance }) => Math.max(distance, 1e-3)),
  }));
  const rectified = all.filter(({ flow }) => flow !== 'distilled');
  const curve = {
    name: 'Straightness',
    colour: '--mid',
    points: true,
    x: rectified.map(({ flow }) => flow as number),
    y: rectified.map(({ straightness }) => Math.max(straightness, 1e-4)),
  };
  return (
    <div class="charts">
      <figure>
        <figcaption>Loss against step</figcaption>
        {losses.length > 0 ? (
          <Chart
            lines={losses}
            logY
            label="Loss of each flow against the training step"
            xText={(v) => (v >= 1000 ? `${v / 1000}k` : String(v))}
          />
        ) : (
          <p class="none">Train, and the loss appears here.</p>
        )}
      </figure>
      <figure>
        <figcaption>Error against the number of steps N</figcaption>
        {errors.length > 0 ? (
          <Chart
            lines={errors}
            logX
            logY
            label="Energy distance of each flow against the number of Euler steps"
            marks={[1, 2, 5, 10, 25, 100]}
            xText={String}
          />
        ) : (
          <p class="none">
            {store.view.value.velocity === 'kernel' ? 'Computing ...' : 'Train, and the errors appear here.'}
          </p>
        )}
      </figure>
      <figure>
        <figcaption>Straightness against reflow</figcaption>
        {rectified.length > 1 ? (
          <Chart
            lines={[curve]}
            logY
            label="Straightness of each rectified flow"
            marks={[1, 2, 3]}
            xText={(v) => `${v}-RF`}
          />
        ) : (
          <p class="none">Reflow, and the curve begins.</p>
        )}
      </figure>
    </div>
  );
}
