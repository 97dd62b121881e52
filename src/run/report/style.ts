// The style sheet and the script of a report. The page's security policy names both by their SHA-256, so that nothing
// else in the page can run or load.
import { darkTheme, lightTheme, themeVariables } from '../plot/index.ts';

export const style = `
:root { color-scheme: light dark; ${themeVariables(lightTheme)} }
@media (prefers-color-scheme: dark) { :root { ${themeVariables(darkTheme)} } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 70rem; background: var(--background); color: var(--text);
  font: 1rem/1.55 ${lightTheme.font}; overflow-wrap: anywhere }
h1 { font-size: 1.75rem; line-height: 1.2; margin: .5rem 0 1rem }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 3rem 0 .75rem; padding-top: 1rem; border-top: 1px solid var(--grid) }
h3 { font-size: 1.05rem; margin: 1.25rem 0 .5rem }
p, ul.text { max-width: 44rem; margin: .75rem 0 }
ul.text { padding-left: 1.25rem }
a { color: var(--series-1) }
.muted, figcaption, footer { color: var(--muted) }
figcaption, footer, .small { font-size: .875rem }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; padding: 0; margin: 1rem 0 }
nav a { display: inline-block; padding: .25rem 0 }
dl.tiles { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.5rem 0 }
dl.tiles > div { flex: 1 1 9.25rem; max-width: 17rem; display: flex; flex-direction: column; border: 1px solid var(--grid); border-radius: .5rem; padding: .75rem }
dl.tiles dt { order: 2; font-size: .875rem; line-height: 1.35; color: var(--muted) }
dl.tiles dd { margin: 0; white-space: nowrap; font-size: 1.5rem; line-height: 1.3; font-weight: 600; font-variant-numeric: tabular-nums }
.notice { border-left: .25rem solid var(--series-2); padding: .25rem 0 .25rem .75rem; margin: 1rem 0; max-width: 44rem }
.notice p { margin: .25rem 0 }
.panels { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start }
.panels > * { width: 20.5rem; max-width: 100% }
figure { margin: 0 0 .75rem }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem }
figcaption > * { min-width: 0 } figcaption b { color: var(--text); font-weight: 600 }
button { font: inherit; color: inherit }
button.zoom { display: block; padding: 0; border: 0; background: none; cursor: zoom-in; max-width: 100% }
:focus-visible { outline: 3px solid var(--series-1); outline-offset: 2px }
img, svg { display: block; max-width: 100%; height: auto }
img.pixels { image-rendering: pixelated }
.narrow { display: block } .wide { display: none }
@media (min-width: 46rem) { .narrow { display: none } .wide { display: block } }
.scroll { overflow-x: auto; max-width: 100% }
table { overflow-wrap: break-word; border-collapse: collapse; font-size: .9375rem; margin: .75rem 0 }
caption { text-align: left; color: var(--muted); font-size: .875rem; padding-bottom: .25rem }
th, td { padding: .35rem .5rem; border-bottom: 1px solid var(--grid); text-align: left; vertical-align: top }
th { font-weight: 600 } tbody th { font-weight: 400 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } td.n { white-space: nowrap }
@media (max-width: 45.99rem) { table { font-size: .8125rem } th, td { padding: .35rem .25rem } tr > :first-child { padding-left: 0 } }
td.text { overflow-wrap: anywhere }
td b { font-weight: 700 }
pre { background: color-mix(in srgb, var(--grid) 35%, transparent); border-radius: .375rem; padding: .75rem; margin: .5rem 0;
  font: .875rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
pre.once { user-select: all }
details { margin: .75rem 0 } summary { cursor: pointer; padding: .25rem 0 }
footer { margin-top: 3rem; border-top: 1px solid var(--grid); padding-top: 1rem }
dialog { border: 1px solid var(--grid); border-radius: .5rem; padding: 1rem; background: var(--background); color: var(--text);
  max-width: 100vw; max-height: 100vh }
dialog::backdrop { background: rgb(0 0 0 / .75) }
dialog p { margin: .5rem 0; text-align: center; max-width: none }
dialog .large { overflow: auto; max-width: 100%; max-height: calc(100vh - 11rem) }
dialog .large img { margin: 0 auto; max-width: none }
dialog .buttons { display: flex; justify-content: center; gap: .5rem; margin-top: .5rem }
dialog button { border: 1px solid var(--muted); border-radius: .375rem; background: none; padding: .4rem .9rem; min-height: 2.5rem; cursor: pointer }
@media print {
  :root { color-scheme: light; ${themeVariables(lightTheme)} }
  body { max-width: none; padding: 0; font-size: 10.5pt }
  nav, dialog { display: none }
  figure, tr, svg, h2, h3 { break-inside: avoid } h2, h3 { break-after: avoid }
}
`;

/** Enlarges pictures: a click or Enter opens one, arrow keys turn to the next, Escape closes. */
export const script = `
const dialog = document.querySelector('dialog');
const [large, caption] = dialog.querySelectorAll('img, p');
const [back, forward, close] = dialog.querySelectorAll('button');
const pictures = [...document.querySelectorAll('button.zoom')];
let shown = 0;
function show(index) {
  shown = (index + pictures.length) % pictures.length;
  const small = pictures[shown].querySelector('img');
  large.src = small.src;
  large.alt = small.alt;
  large.className = small.className;
  caption.textContent = small.alt + ' (' + (shown + 1) + ' of ' + pictures.length + ')';
  const [width, height] = [small.naturalWidth, small.naturalHeight];
  const room = Math.min((innerWidth - 48) / width, (innerHeight - 190) / height);
  const scale = Math.max(1, Math.floor(room), 2 * Math.round(small.width / width));
  large.width = width * scale;
  large.height = height * scale;
}
pictures.forEach((picture, index) => picture.addEventListener('click', () => {
  show(index);
  dialog.showModal();
}));
back.addEventListener('click', () => show(shown - 1));
forward.addEventListener('click', () => show(shown + 1));
close.addEventListener('click', () => dialog.close());
large.addEventListener('click', () => dialog.close());
addEventListener('resize', () => dialog.open && show(shown));
dialog.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  show(shown + step);
});
`;
