// Building blocks of a self-contained HTML page: text, tables, plots and pictures. The page fetches nothing, follows the
// reader's light or dark mode, and fits any width from 320 pixels on.
import { createHash } from 'node:crypto';
import { type Drawing, escapeHtml, inlineSvg } from '../plot/index.ts';
import { script, style } from './style.ts';

/** A cell of a table: text, or a number as text, which is bold where it is the best of its row. */
export type Cell = string | { number: string; best?: boolean };

/** Longer texts in a table, such as paths, break inside a word where the page is narrow. */
const LONGEST_WORD = 16;

/**
 * A table. Its first column names the rows. Tables that are too wide scroll by themselves.
 * @param caption what the table shows
 */
export function htmlTable(caption: string, header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const numeric = header.map((_, column) => rows.every((row) => column > 0 && typeof row[column] !== 'string'));
  const head = header.map((text, i) => `<th scope="col"${numeric[i] ? ' class="n"' : ''}>${escapeHtml(text)}</th>`);
  const cell = (value: Cell, column: number) => {
    if (column === 0) return `<th scope="row">${escapeHtml(value as string)}</th>`;
    if (typeof value === 'string')
      return `<td${value.length > LONGEST_WORD ? ' class="text"' : ''}>${escapeHtml(value)}</td>`;
    const text = escapeHtml(value.number);
    return `<td class="n">${value.best ? `<b>${text}</b>` : text}</td>`;
  };
  const name = escapeHtml(caption);
  return (
    `<div class="scroll" role="region" aria-label="${name}" tabindex="0"><table><caption>${name}</caption>` +
    `<thead><tr>${head.join('')}</tr></thead>\n<tbody>${rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`).join('\n')}</tbody></table></div>`
  );
}

export interface Picture {
  png: Uint8Array;
  /** Size of the PNG in pixels. */
  width: number;
  height: number;
  /** Screen pixels for each pixel: a whole number, which keeps pixels equally large. */
  scale: number;
  /** What it shows, for readers who do not see it. */
  description: string;
}

/** A picture that a click enlarges, below its caption. @param detail text at the right end of the caption */
export function figure(picture: Picture, caption: string, detail = ''): string {
  const { png, width, height, scale, description } = picture;
  const data = Buffer.from(png).toString('base64');
  const size = `width="${width * scale}" height="${height * scale}"`;
  return (
    `<figure><figcaption><b>${escapeHtml(caption)}</b><span>${escapeHtml(detail)}</span></figcaption>` +
    `<button type="button" class="zoom" title="Enlarge"><img class="pixels" ${size} src="data:image/png;base64,${data}" alt="${escapeHtml(description)}"></button></figure>`
  );
}

/** A plot that is drawn for wide and for narrow pages, because text in a plot that is scaled down would be too small. */
export function responsivePlot(plot: (width: number) => Drawing | undefined): string {
  return [690, NARROW]
    .map((width) => `<div class="${width === NARROW ? 'narrow' : 'wide'}">${svgOf(plot(width))}</div>`)
    .join('\n');
}

/** Width of a plot in a panel, and on the narrowest pages. */
export const NARROW = 328;

export function svgOf(drawing: Drawing | undefined): string {
  return drawing === undefined ? '' : inlineSvg(drawing);
}

export function paragraph(text: string): string {
  return `<p>${escapeHtml(text)}</p>`;
}

/** A line of smaller text. */
export function small(text: string): string {
  return `<p class="small muted">${escapeHtml(text)}</p>`;
}

/** A list of terms with their meanings. */
export function termList(items: readonly (readonly [term: string, text: string])[]): string {
  const lines = items.map(([term, text]) => `<li><b>${escapeHtml(term)}</b> ${escapeHtml(text)}</li>`);
  return `<ul class="text">${lines.join('\n')}</ul>`;
}

/** Numbers that sum up the page, each with what it is. */
export function tiles(items: readonly (readonly [value: string, label: string])[]): string {
  const boxes = items.map(([value, label]) => `<div><dt>${escapeHtml(label)}</dt><dd>${escapeHtml(value)}</dd></div>`);
  return items.length === 0 ? '' : `<dl class="tiles">${boxes.join('\n')}</dl>`;
}

export function notice(...texts: readonly string[]): string {
  return texts.length === 0 ? '' : `<div class="notice">${texts.map(paragraph).join('\n')}</div>`;
}

/** Text to copy, such as a command; one click selects it whole. */
export function code(text: string): string {
  return `<pre class="once">${text.split('\n').map(escapeHtml).join('\n')}</pre>`;
}

export function details(summary: string, ...parts: readonly string[]): string {
  return `<details><summary>${escapeHtml(summary)}</summary>${parts.join('\n')}</details>`;
}

/** Blocks side by side, as many as fit. */
export function panels(...parts: readonly string[]): string {
  return `<div class="panels">${parts.filter((part) => part !== '').join('\n')}</div>`;
}

/** A block of panels with a heading. */
export function panel(title: string, ...parts: readonly string[]): string {
  return `<div><h3>${escapeHtml(title)}</h3>${parts.join('\n')}</div>`;
}

export interface Section {
  title: string;
  parts: readonly string[];
}

/** A section; a page leaves out those without content. */
export function section(title: string, ...parts: readonly string[]): Section {
  return { title, parts: parts.filter((part) => part !== '') };
}

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

export function page(
  title: string,
  { intro, sections, footer }: { intro: readonly string[]; sections: readonly Section[]; footer: string },
): string {
  const shown = sections.filter(({ parts }) => parts.length > 0);
  const links = shown.map((one, i) => `<li><a href="#s${i + 1}">${escapeHtml(one.title)}</a></li>`);
  const blocks = shown.map(
    (one, i) =>
      `<section aria-labelledby="s${i + 1}"><h2 id="s${i + 1}">${escapeHtml(one.title)}</h2>\n${one.parts.join('\n')}\n</section>`,
  );
  const zooms = blocks.some((block) => block.includes('class="zoom"'));
  const policy = `default-src 'none'; img-src data:; style-src ${hashOf(style)}; script-src ${zooms ? hashOf(script) : "'none'"}; base-uri 'none'; form-action 'none'`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${escapeHtml(title)}</title>
<style>${style}</style></head><body>
<header><h1>${escapeHtml(title)}</h1>
${intro.join('\n')}
${shown.length > 2 ? `<nav aria-label="Sections"><ul>${links.join('')}</ul></nav>` : ''}</header>
<main>
${blocks.join('\n')}
</main>
<footer>${escapeHtml(footer)}</footer>
${zooms ? zoomDialog : ''}</body></html>
`;
}

const zoomDialog = `<dialog aria-label="Enlarged picture"><div class="large" tabindex="0"><img alt=""></div><p aria-live="polite"></p>
<div class="buttons"><button type="button">Previous</button><button type="button">Next</button><button type="button" autofocus>Close</button></div></dialog>
<script>${script}</script>
`;
