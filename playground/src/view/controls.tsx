// The controls: training, the network and the coupling, and what the picture shows.
import { begin, distil, pause, reflow, step, train } from '../engine/client.ts';
import {
  type Coupling,
  couplings,
  type Problem,
  ranges,
  type Solver,
  solvers,
  type VelocityKind,
  type View,
  velocities,
} from '../model/settings.ts';
import * as store from '../model/store.ts';
import { changeFollow, changeProblem } from './actions.ts';
import { Drawer } from './drawer.tsx';
import { Choice, Panel, Slider } from './fields.tsx';
import { Icon } from './icons.tsx';
import { flowNames } from './stage.tsx';

export function Transport() {
  const working = store.working.value;
  const last = store.last.value;
  const { steps } = store.problem.value;
  const flow = last?.flow ?? 1;
  const state = store.states.value[flow];
  const kernel = store.view.value.velocity === 'kernel';
  const progress = state ? Math.min(1, state.step / steps) : 0;
  const complete = last?.complete === true;
  const more = complete && !kernel && store.ready.value && flow !== 'distilled';
  const doing =
    state?.task === 'pairs'
      ? 'making pairs'
      : state?.task === 'measure'
        ? 'measuring'
        : `step ${(state?.step ?? 0).toLocaleString('en')} of ${steps.toLocaleString('en')}`;
  return (
    <section class="transport" aria-label="Progress">
      <div class="buttons">
        {working ? (
          // The second click of a double click on Train does not pause it.
          <button type="button" class="main" onClick={({ detail }) => detail !== 2 && pause()}>
            <Icon name="pause" /> Pause
          </button>
        ) : (
          <button type="button" class="main" disabled={complete || kernel || !store.ready.value} onClick={train}>
            <Icon name="play" /> Train
          </button>
        )}
        <button
          type="button"
          class="tool"
          disabled={complete || kernel || working || !store.ready.value}
          onClick={step}
          aria-label="One training step"
          title="One training step"
        >
          <Icon name="step" />
        </button>
        <button type="button" class="tool" onClick={begin} aria-label="Reset the training" title="Reset">
          <Icon name="reset" />
        </button>
        <button type="button" disabled={!more || flow === 3} onClick={reflow}>
          Reflow
        </button>
        <button type="button" disabled={!more} onClick={distil}>
          Distil
        </button>
      </div>
      <p class="status">
        {kernel ? 'The kernel needs no training.' : `${flowNames[flow]}, ${doing}`}
        {working && state?.task === 'train' && (
          <span class="speed">{Math.round(store.stepsPerSecond.value).toLocaleString('en')} steps/s</span>
        )}
      </p>
      <div
        class="meter"
        role="progressbar"
        aria-label="Progress of the training"
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(100 * progress)}
      >
        <span style={{ width: `${100 * progress}%` }} />
      </div>
    </section>
  );
}

export function ViewControls() {
  const view = store.view.value;
  const kernel = view.velocity === 'kernel';
  return (
    <Panel title="Picture">
      <Choice<VelocityKind>
        label="Velocity"
        value={view.velocity}
        of={velocities}
        onChange={(velocity) =>
          changeFollow({ velocity, ...(velocity === 'kernel' && view.solver === 'rk45' ? { solver: 'euler' } : {}) }, 0)
        }
      />
      {kernel && (
        <>
          <Slider
            label="Bandwidth h"
            value={view.bandwidth}
            range={ranges.bandwidth}
            step={0.01}
            log
            text={view.bandwidth.toFixed(2)}
            onChange={(bandwidth) => changeFollow({ bandwidth }, 120)}
          />
          <Slider
            label="Neighbours m"
            value={view.neighbours}
            range={ranges.neighbours}
            log
            onChange={(neighbours) => changeFollow({ neighbours }, 120)}
          />
        </>
      )}
      {view.solver !== 'rk45' && (
        <Slider
          label="Steps N"
          value={view.steps}
          range={ranges.steps}
          log
          onChange={(steps) => changeFollow({ steps })}
        />
      )}
      <Choice<Solver>
        label="Sampler"
        value={view.solver}
        of={kernel ? ({ euler: solvers.euler, heun: solvers.heun } as Record<Solver, string>) : solvers}
        onChange={(solver) => changeFollow({ solver }, 0)}
      />
      <Drawer />
      <fieldset class="toggles">
        <legend>Show</legend>
        <Toggle name="paths" text="Paths" />
        <Toggle name="target" text="Clouds" />
        <Toggle name="arrows" text="One-step arrows" />
        <Toggle name="field" text="Field" />
        <Toggle name="density" text="Density" />
        <Toggle name="difference" text="Network less kernel" />
      </fieldset>
      {view.arrows && (
        <p class="legend">
          <i class="ink" /> one step from the source <i class="error" /> what it misses
        </p>
      )}
    </Panel>
  );
}

function Toggle({
  name,
  text,
}: {
  name: keyof Pick<View, 'paths' | 'target' | 'arrows' | 'field' | 'difference' | 'density'>;
  text: string;
}) {
  return (
    <label class="toggle">
      <input
        type="checkbox"
        checked={store.view.value[name]}
        onChange={(event) => {
          const { checked } = event.currentTarget;
          // One grid of arrows at a time.
          const other = name === 'field' ? { difference: false } : name === 'difference' ? { field: false } : {};
          if (name === 'field' || name === 'difference') store.field.value = undefined;
          store.setView({ [name]: checked, ...(checked ? other : {}) });
        }}
      />
      {text}
    </label>
  );
}

export function ProblemControls() {
  const problem = store.problem.value;
  const set = (change: Partial<Problem>) => changeProblem(change, 250);
  return (
    <Panel title="Training">
      <Choice<Coupling>
        label="Coupling"
        value={problem.coupling}
        of={couplings}
        onChange={(coupling) => changeProblem({ coupling })}
      />
      <Slider label="Width" value={problem.width} range={ranges.width} step={8} onChange={(width) => set({ width })} />
      <Slider label="Hidden layers" value={problem.depth} range={ranges.depth} onChange={(depth) => set({ depth })} />
      <Slider
        label="Steps"
        value={problem.steps}
        range={ranges.trainingSteps}
        log
        text={problem.steps.toLocaleString('en')}
        onChange={(steps) => set({ steps: steps > 1000 ? Math.round(steps / 100) * 100 : Math.round(steps / 10) * 10 })}
      />
      <details>
        <summary>More</summary>
        <Slider
          label="Batch"
          value={problem.batch}
          range={ranges.batch}
          step={32}
          log
          onChange={(batch) => set({ batch: Math.max(32, Math.round(batch / 32) * 32) })}
        />
        <Slider
          label="Learning rate"
          value={problem.rate}
          range={ranges.rate}
          step={0.0001}
          log
          text={problem.rate.toPrecision(2)}
          onChange={(rate) => set({ rate })}
        />
        <Slider
          label="L2 penalty"
          value={problem.l2}
          range={ranges.l2}
          step={0.001}
          text={String(problem.l2)}
          onChange={(l2) => set({ l2 })}
        />
        <Slider
          label="Noise on own points"
          value={problem.noise}
          range={ranges.noise}
          step={0.05}
          text={problem.noise.toFixed(2)}
          onChange={(noise) => set({ noise })}
        />
        <Slider label="Seed" value={problem.seed} range={{ least: 0, most: 99 }} onChange={(seed) => set({ seed })} />
      </details>
    </Panel>
  );
}
