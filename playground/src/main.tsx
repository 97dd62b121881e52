// The page: reads the link, starts the worker, and puts the parts together.
import { computed, effect } from '@preact/signals';
import { render } from 'preact';
import './styles/theme.css';
import './styles/layout.css';
import './styles/parts.css';
import './styles/screens.css';
import './styles/digits.css';
import { begin, refreshField, startWorker } from './engine/client.ts';
import { drawNoise, invert } from './engine/digit_client.ts';
import { ready as digitsReady } from './model/digit_store.ts';
import { defaults } from './model/settings.ts';
import { decodeSettings, LinkError } from './model/share.ts';
import * as store from './model/store.ts';
import { ProblemControls, Transport, ViewControls } from './view/controls.tsx';
import { DigitsPage } from './view/digits.tsx';
import { Clouds } from './view/draw.tsx';
import { Header, Notice } from './view/header.tsx';
import { Numbers } from './view/numbers.tsx';
import { Stage } from './view/stage.tsx';
import { followSystem } from './view/theme.ts';
import { leaveTour, Tour, tourStop } from './view/tour.tsx';

function App() {
  return (
    <>
      <button type="button" class="skip" onClick={skip}>
        Skip to the picture
      </button>
      <Header />
      <Notice />
      {store.view.value.page === 'digits' ? <DigitsPage /> : <PlanePage />}
      <footer>
        {footnote()}{' '}
        {crossOriginIsolated
          ? `This page is isolated, so it uses all of the ${navigator.hardwareConcurrency} cores but one.`
          : 'This page is not isolated, so it has one thread; the command "rectiflow playground" serves it for all cores but one.'}{' '}
        Rectified Flow: Liu, Gong, Liu, ICLR 2023.
      </footer>
    </>
  );
}

/** Goes to the picture; the address keeps the link that it may hold. */
function skip(): void {
  document.getElementById('plane')?.focus();
}

function footnote(): string {
  const device = store.device.value;
  if (device === undefined) return 'Opening the engine ...';
  return device === '' ? 'The engine did not open.' : `Computed in this page: WebAssembly, ${device}.`;
}

function PlanePage() {
  return (
    <main class={tourStop.value === undefined ? '' : 'touring'}>
      <Tour />
      <div class="left">
        <Clouds />
        <ProblemControls />
      </div>
      <div class="middle">
        <Transport />
        <Stage />
      </div>
      <div class="right">
        <ViewControls />
        <Numbers />
      </div>
    </main>
  );
}

/** The settings of the address; the defaults where it has none, or a link that cannot be read. */
function readLink(): void {
  let settings = defaults;
  store.notice.value = undefined;
  try {
    if (location.hash.length > 1) settings = decodeSettings(location.hash);
  } catch (error) {
    if (!(error instanceof LinkError)) throw error;
    store.say(error.message, true);
  }
  store.problem.value = settings.problem;
  store.view.value = settings.view;
}

readLink();
window.addEventListener('hashchange', () => {
  leaveTour();
  readLink();
  begin();
  if (!digitsReady.value) return;
  drawNoise();
  invert();
});
render(<App />, document.getElementById('app') as HTMLElement);
followSystem();
startWorker();
begin();
/** What the arrows depend on. */
const arrows = computed(() => {
  const { field, difference, time } = store.view.value;
  return field || difference ? `${store.flow.value} ${difference} ${time} ${store.velocityKey.value}` : '';
});
effect(() => {
  if (arrows.value !== '') refreshField();
});
/** A point that was followed belongs to one flow and sampler. */
const followed = computed(() => {
  const { steps, solver } = store.view.value;
  return `${store.flow.value} ${store.velocityKey.value} ${steps} ${solver}`;
});
effect(() => {
  if (followed.value !== '') store.probe.value = undefined;
});
// What tests and the curious can read.
effect(() => {
  document.body.dataset.working = String(store.working.value);
});
