// The head of the page: the name, the tour, the link, the exports and the theme; and notices.
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { encodeSettings, LINKED_POINTS } from '../model/share.ts';
import * as store from '../model/store.ts';
import { themeVersion } from './canvas.tsx';
import { exporters } from './exports.ts';
import { Icon } from './icons.tsx';
import { startTour, tourStop } from './tour.tsx';

/** The address of the page with its state. */
export const linkOf = () =>
  `${location.href.split('#')[0]}#${encodeSettings({ problem: store.problem.peek(), view: store.view.peek() })}`;

export function Header() {
  const exporting = useSignal(false);
  useEffect(() => {
    if (!exporting.value) return;
    const close = (event: Event) => {
      if (event instanceof KeyboardEvent ? event.key === 'Escape' : !(event.target as Element).closest?.('.menu'))
        exporting.value = false;
    };
    document.addEventListener('keydown', close);
    document.addEventListener('pointerdown', close);
    return () => {
      document.removeEventListener('keydown', close);
      document.removeEventListener('pointerdown', close);
    };
  }, [exporting.value]);
  const share = async () => {
    const link = linkOf();
    history.replaceState(null, '', `#${link.split('#')[1]}`);
    const { from, to } = store.problem.peek();
    const many = [from, to].some((source) => 'points' in source && source.points.length > 2 * LINKED_POINTS);
    const kept = many ? ` It holds ${LINKED_POINTS.toLocaleString('en')} points of a cloud.` : '';
    try {
      await navigator.clipboard.writeText(link);
      store.say(`The link is copied. It restores the clouds and all settings.${kept}`);
    } catch {
      store.say(`The link is in the address bar: copy it from there.${kept}`);
    }
  };
  const theme = () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === 'dark';
    document.documentElement.dataset.theme = dark ? 'light' : 'dark';
    themeVersion.value++;
  };
  return (
    <header>
      <h1>
        <svg viewBox="0 0 32 20" aria-hidden="true">
          <path d="M5 16C12 15 12 5 27 4" class="bent" />
          <path d="M5 16 27 4" class="straight" />
          <circle cx="5" cy="16" r="3.2" class="a" />
          <circle cx="27" cy="4" r="3.2" class="b" />
        </svg>
        rectiflow <span>playground</span>
      </h1>
      <p class="lead">Draw two clouds, train a flow between them, and straighten its paths.</p>
      <nav aria-label="Page">
        <button type="button" onClick={() => startTour()} aria-pressed={tourStop.value !== undefined}>
          <Icon name="flag" /> Tour
        </button>
        <button type="button" onClick={share}>
          <Icon name="share" /> Link
        </button>
        <div class="menu">
          <button
            type="button"
            aria-expanded={exporting.value}
            aria-haspopup="true"
            onClick={() => {
              exporting.value = !exporting.value;
            }}
          >
            <Icon name="download" /> Export
          </button>
          {exporting.value && (
            <ul>
              {exporters.map(({ name, run }) => (
                <li>
                  <button
                    type="button"
                    onClick={async () => {
                      exporting.value = false;
                      await run().catch((error: Error) => store.say(error.message, true));
                    }}
                  >
                    {name}
                  </button>
                </li>
              ))}
            </ul>
          )}
        </div>
        <button type="button" class="tool" onClick={theme} aria-label="Light or dark">
          <Icon name="moon" />
        </button>
      </nav>
    </header>
  );
}

export function Notice() {
  const notice = store.notice.value;
  return (
    <div class="notices" role="status" aria-live="polite">
      {notice && (
        <p class={notice.serious ? 'notice serious' : 'notice'}>
          {notice.text}
          <button
            type="button"
            class="tool"
            aria-label="Close this message"
            onClick={() => {
              store.notice.value = undefined;
            }}
          >
            <Icon name="close" />
          </button>
        </p>
      )}
    </div>
  );
}
