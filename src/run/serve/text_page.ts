// The page of the server of pictures. It loads nothing from anywhere else, and its security policy names its style and its script by
// their SHA-256, so that nothing else can run in it.
import { createHash } from 'node:crypto';
import { darkTheme, lightTheme, themeVariables } from '../plot/index.ts';
import { script } from './text_page_script.ts';
import { MOST_EDGE, MOST_PICTURES, MOST_STEPS } from './text_request.ts';

const style = `
:root { color-scheme: light dark; ${themeVariables(lightTheme)} --field: #ffffff; --raised: #f5f7f9 }
@media (prefers-color-scheme: dark) { :root { ${themeVariables(darkTheme)} --field: #0c1015; --raised: #1a2027 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.25rem 1rem 4rem; max-width: 60rem; background: var(--background); color: var(--text);
  font: 1rem/1.5 ${lightTheme.font}; overflow-wrap: anywhere }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 1rem; margin-bottom: 1rem }
h1 { font-size: 1.4rem; line-height: 1.3; margin: 0 }
h2 { font-size: 1.05rem; line-height: 1.4; margin: 0 0 .25rem; font-weight: 600 }
p { margin: .25rem 0 }
.muted, footer { color: var(--muted) } .small, footer { font-size: .875rem }
form, article { background: var(--raised); border: 1px solid var(--grid); border-radius: .75rem; padding: 1rem; margin: 0 0 1.25rem }
label { display: block; font-size: .875rem; color: var(--muted) }
label.wide { margin-bottom: .75rem }
input, textarea, button { font: inherit; color: var(--text) }
input:not([type=checkbox]), textarea { display: block; width: 100%; margin-top: .25rem; padding: .5rem .625rem; min-height: 2.5rem;
  background: var(--field); border: 1px solid var(--muted); border-radius: .375rem }
textarea { resize: vertical; min-height: 4.5rem; font-size: 1.0625rem }
input:disabled { opacity: .6 }
.fields { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr)); gap: .75rem; margin-bottom: .75rem }
.check { display: flex; align-items: center; gap: .5rem; min-height: 2.5rem; color: var(--text) }
.check input { width: 1.125rem; height: 1.125rem; margin: 0; accent-color: var(--series-1) }
.buttons { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center }
button, a.button { display: inline-block; border: 1px solid var(--muted); border-radius: .375rem; background: none; padding: .4rem .9rem;
  min-height: 2.5rem; cursor: pointer; color: var(--text); text-decoration: none; font-size: .9375rem; line-height: 1.6 }
button.main { background: var(--series-1); border-color: var(--series-1); color: var(--background); font-weight: 600; font-size: 1rem }
button:disabled { opacity: .55; cursor: default }
:focus-visible { outline: 3px solid var(--series-1); outline-offset: 2px }
progress { display: block; width: 100%; height: .625rem; margin: .5rem 0; accent-color: var(--series-1) }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: .75rem; margin: .75rem 0 }
.buttons:empty { display: none }
.pictures.one { grid-template-columns: minmax(0, 32rem) }
.pictures img { display: block; width: 100%; height: auto; border-radius: .375rem; background: var(--grid) }
.error { border-left: .25rem solid var(--series-2); padding-left: .75rem }
[hidden] { display: none !important }
`;

const number = (name: string, label: string, attributes: string) =>
  `<label>${label}<input type="number" name="${name}" ${attributes} required></label>`;

const body = `
<header><h1>Pictures of texts</h1><p class="muted small" id="model" role="status">The model is loading ...</p></header>
<main>
<form id="form">
<label class="wide">What to show<textarea name="prompt" required maxlength="2000" rows="2" placeholder="a photo of a cat in a garden"></textarea></label>
<div class="fields">
${number('steps', 'Steps', `min="1" max="${MOST_STEPS}" value="1"`)}
${number('guidance', 'Guidance', 'min="0" max="100" step="any" value="0"')}
${number('height', 'Height', `min="8" max="${MOST_EDGE}" step="8" value="512"`)}
${number('width', 'Width', `min="8" max="${MOST_EDGE}" step="8" value="512"`)}
${number('count', 'Pictures', `min="1" max="${MOST_PICTURES}" value="1"`)}
${number('seed', 'Seed', 'min="0" max="9007199254740991" value="0"')}
</div>
<label class="wide" id="negative" hidden>What not to show<input name="negative" maxlength="2000"></label>
<div class="buttons"><button class="main" disabled>Make</button>
<label class="check"><input type="checkbox" name="fresh" checked>a new seed each time</label></div>
<p class="error" id="refusal" role="alert" hidden></p>
</form>
<section id="jobs" aria-label="Orders"></section>
</main>
<footer>
<p>Guidance up to 1 is none. One-step models such as InstaFlow need 1 step and no guidance. The same text, seed and options make the same picture.</p>
<p>Weights have licences of their own: those of InstaFlow are under CC BY-NC 4.0, those of Stable Diffusion under CreativeML Open RAIL-M. Pictures are
made by the computer that serves this page, and stay there until they are dropped.</p>
</footer>
`;

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Headers of the page. */
export function pageHeaders(): Record<string, string> {
  return {
    'content-security-policy':
      `default-src 'none'; script-src ${hashOf(script)}; style-src ${hashOf(style)}; img-src 'self' data:; connect-src 'self'; ` +
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
  };
}

export function textPage(): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pictures of texts</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>${body}<script>${script}</script></body>
</html>
`;
}
