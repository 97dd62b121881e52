// Building blocks of a self-contained HTML page: text, tables, plots and pictures. The page fetches nothing.
import { escapeHtml } from './svg.ts';

/** A table with right-aligned numbers. */
export function htmlTable(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const head = header.map((cell) => `<th>${escapeHtml(cell)}</th>`).join('');
  const body = rows.map(
    (row) =>
      `<tr>${row.map((cell) => `<td${typeof cell === 'number' ? ' class="n"' : ''}>${escapeHtml(String(cell))}</td>`).join('')}</tr>`,
  );
  return `<table><thead><tr>${head}</tr></thead><tbody>${body.join('\n')}</tbody></table>`;
}

/** An embedded PNG with a caption. */
export function figure(png: Uint8Array, caption: string): string {
  const data = Buffer.from(png).toString('base64');
  return `<figure><img src="data:image/png;base64,${data}" alt="${escapeHtml(caption)}"><figcaption>${escapeHtml(caption)}</figcaption></figure>`;
}

export function paragraph(text: string): string {
  return `<p>${escapeHtml(text)}</p>`;
}

export function section(title: string, ...parts: readonly string[]): string {
  return `<section><h2>${escapeHtml(title)}</h2>\n${parts.join('\n')}\n</section>`;
}

/** Figures side by side. */
export function row(...figures: readonly string[]): string {
  return `<div class="row">${figures.join('\n')}</div>`;
}

export function page(title: string, ...parts: readonly string[]): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #111827 }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } th, td { padding: .25rem .75rem; border-bottom: 1px solid #e5e7eb; text-align: left }
td.n { text-align: right; font-variant-numeric: tabular-nums }
.row { display: flex; flex-wrap: wrap; gap: .5rem } figure { margin: 0 } img { image-rendering: pixelated; max-width: 100% }
figcaption { color: #6b7280; font-size: .85rem }
</style></head><body>
<h1>${escapeHtml(title)}</h1>
${parts.join('\n')}
</body></html>
`;
}
