// The head of the page: the name, the tour, the link, the exports and the theme; and notices.
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { type PageName, pages } from '../model/settings.ts';
import { encodeSettings, LINKED_POINTS } from '../model/share.ts';
import * as store from '../model/store.ts';
import { exporters } from './exports.ts';
import { Icon } from './icons.tsx';
import { toggleTheme } from './theme.ts';
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
  const onDigits = store.view.value.page === 'digits';
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
      <p class="lead">
        {onDigits
          ? 'Three generators of digits, trained by the quickstart, run in this page.'
          : 'Draw two clouds, train a flow between them, and straighten its paths.'}
      </p>
      <nav aria-label="Page">
        <fieldset class="pages" aria-label="What the page shows">
          {Object.entries(pages).map(([page, text]) => (
            <button
              type="button"
              aria-pressed={store.view.value.page === page}
              onClick={() => store.setView({ page: page as PageName })}
            >
              {text}
            </button>
          ))}
        </fieldset>
        {!onDigits && (
          <button type="button" onClick={() => startTour()} aria-pressed={tourStop.value !== undefined}>
            <Icon name="flag" /> Tour
          </button>
        )}
        <button type="button" onClick={share}>
          <Icon name="share" /> Link
        </button>
        {!onDigits && (
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
        )}
        <button type="button" class="tool" onClick={toggleTheme} aria-label="Light or dark">
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
          <span>{notice.text}</span>
          {notice.action && (
            <button
              type="button"
              onClick={() => {
                store.notice.value = undefined;
                notice.action?.run();
              }}
            >
              {notice.action.text}
            </button>
          )}
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
