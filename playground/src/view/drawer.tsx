// The drawer of interpolations and samplers: curves in place of straight lines between the two ends, and samplers that draw new noise. The
// table shows what is equal: natural Euler ends where straight Euler ends, for each interpolation.
import { computed, effect } from '@preact/signals';
import { compare } from '../engine/client.ts';
import { type Interpolant, interpolants, ranges, type Sampler, samplers } from '../model/settings.ts';
import { short } from '../model/short.ts';
import * as store from '../model/store.ts';
import { changeFollow } from './actions.ts';
import { Choice, Slider } from './fields.tsx';

/** What the table depends on; it is computed again once the reader rests. */
const wanted = computed(() => {
  const { drawer, steps, page } = store.view.value;
  if (!drawer || page !== 'plane' || store.working.value || !store.shownPaths.value) return '';
  return `${store.flow.value} ${store.velocityKey.value} ${steps} ${store.states.value[store.flow.value ?? 1]?.step}`;
});
let resting: ReturnType<typeof setTimeout> | undefined;
effect(() => {
  clearTimeout(resting);
  if (wanted.value !== '') resting = setTimeout(compare, 150);
});

export function Drawer() {
  const { drawer, interpolant, sampler, fresh } = store.view.value;
  const gaussian = store.gaussian.value;
  const drawn = sampler === 'refresh' || sampler === 'sde';
  const { refresh: _refresh, sde: _sde, ...steady } = samplers;
  return (
    <details open={drawer} onToggle={(event) => store.setView({ drawer: event.currentTarget.open })}>
      <summary>Interpolants and noise</summary>
      <Choice<Interpolant>
        label="Interpolant"
        value={interpolant}
        of={interpolants}
        onChange={(value) =>
          changeFollow({ interpolant: value, ...(sampler === 'sde' ? { sampler: 'solver' as const } : {}) }, 0)
        }
      />
      <Choice<Sampler>
        label="Steps by"
        value={drawn && !gaussian ? 'solver' : sampler}
        of={gaussian ? samplers : (steady as Record<Sampler, string>)}
        onChange={(value) =>
          changeFollow({ sampler: value, ...(value === 'sde' ? { interpolant: 'straight' as const } : {}) }, 0)
        }
      />
      {gaussian && drawn && (
        <Slider
          label="New noise in a step"
          value={fresh}
          range={ranges.fresh}
          step={0.01}
          text={fresh.toFixed(2)}
          onChange={(value) => changeFollow({ fresh: value })}
        />
      )}
      {!gaussian && <p class="legend">With the Gaussian as the source, noise refresh and the SDE are here too.</p>}
      <Table />
    </details>
  );
}

function Table() {
  const compared = store.compared.value;
  if (!compared)
    return (
      <p class="legend">
        Train a flow; then this table compares the interpolants: their steps differ, natural Euler's agree.
      </p>
    );
  return (
    <table class="compared">
      <caption>
        Largest distance from where {compared.steps} straight Euler step{compared.steps === 1 ? '' : 's'} end
      </caption>
      <thead>
        <tr>
          <th scope="col">
            <span class="unseen">Interpolant</span>
          </th>
          <th scope="col">Euler</th>
          <th scope="col">Natural Euler</th>
        </tr>
      </thead>
      <tbody>
        {compared.rows.map(({ interpolant, euler, natural }) => (
          <tr>
            <th scope="row">{interpolants[interpolant]}</th>
            <td data-compared={`${interpolant} euler`}>{distance(euler)}</td>
            <td data-compared={`${interpolant} natural`}>{distance(natural)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** A distance in the unit of the plane; rounding of 32-bit floats is shown as such. */
const distance = (value: number) => (value === 0 ? '0' : value < 1e-3 ? value.toExponential(0) : short(value));
