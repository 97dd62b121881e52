// Light or dark: as the system says, until the reader chooses. index.html sets the first one before anything is painted.
import { signal } from '@preact/signals';

/** Raised when the theme changes, so that canvases take its colours. */
export const themeVersion = signal(0);

const system = matchMedia('(prefers-color-scheme: dark)');
let chosen = false;

function show(dark: boolean): void {
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  themeVersion.value++;
}

export function toggleTheme(): void {
  chosen = true;
  show(document.documentElement.dataset.theme !== 'dark');
}

export function followSystem(): void {
  system.addEventListener('change', ({ matches }) => {
    if (!chosen) show(matches);
  });
}
