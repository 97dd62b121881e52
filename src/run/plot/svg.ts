// Writes a drawing as SVG: inside a page, or as a file of its own.
import { escapeText } from '../../text.ts';
import type { Drawing, Marker, Point, Shape } from './drawing.ts';

/** The drawing as an element of an HTML page. */
export function inlineSvg(drawing: Drawing): string {
  return svg(drawing, '');
}

/** The drawing as the text of an .svg file. @param unit of its coordinates; default: pixels */
export function svgFile(drawing: Drawing, unit: 'px' | 'pt' = 'px'): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${svg(drawing, ' xmlns="http://www.w3.org/2000/svg"', unit === 'pt' ? unit : '')}\n`;
}

/** Text as the contents or an attribute of an element of HTML or SVG. */
export function escapeHtml(text: string): string {
  return escapeText(text.split('\n')).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

function svg(drawing: Drawing, namespace: string, unit = ''): string {
  const { width, height, description, font, background, shapes } = drawing;
  const back = background === undefined ? [] : [`<rect width="100%" height="100%" fill="${escapeHtml(background)}"/>`];
  return [
    `<svg${namespace} viewBox="0 0 ${number(width)} ${number(height)}" width="${number(width)}${unit}" height="${number(height)}${unit}" ` +
      `font-family="${escapeHtml(font)}" role="img" aria-label="${escapeHtml(description)}">`,
    ...back,
    ...shapes.map(element),
    '</svg>',
  ].join('\n');
}

function element(shape: Shape): string {
  switch (shape.kind) {
    case 'line': {
      const { points, color, width, dash, opacity } = shape;
      return (
        `<polyline fill="none" stroke="${escapeHtml(color)}" stroke-width="${number(width)}" stroke-linejoin="round"` +
        (dash ? ` stroke-dasharray="${dash.map(number).join(' ')}"` : '') +
        `${opacityOf(opacity)} points="${points.map(pair).join(' ')}"/>`
      );
    }
    case 'marker': {
      const { marker, at, radius, color, fill, hint } = shape;
      const outline = outlineOf(marker, at, radius);
      const title = hint === undefined ? '/>' : `><title>${escapeHtml(hint)}</title></path>`;
      const inside = marker === 'cross' ? 'none' : escapeHtml(fill);
      return `<path d="${outline}" fill="${inside}" stroke="${escapeHtml(color)}" stroke-width="${number(radius * 0.4)}"${title}`;
    }
    case 'dots': {
      const { points, radius, fill, stroke, opacity } = shape;
      const r = number(radius);
      // One path: a circle of its own for each dot would take three times the bytes.
      const circles = points.map(
        ([x, y]) =>
          `M${number(x - radius)},${number(y)}a${r},${r} 0 1 0 ${number(2 * radius)},0a${r},${r} 0 1 0 -${number(2 * radius)},0`,
      );
      const edge = stroke === undefined ? '' : ` stroke="${escapeHtml(stroke)}" stroke-width="${number(radius / 2)}"`;
      return `<path fill="${escapeHtml(fill)}"${edge}${opacityOf(opacity)} d="${circles.join('')}"/>`;
    }
    case 'text': {
      const { text, at, anchor, size, color, bold } = shape;
      const weight = bold ? ' font-weight="600"' : '';
      const position = `x="${number(at[0])}" y="${number(at[1])}" text-anchor="${anchor}" font-size="${number(size)}"`;
      return `<text ${position}${weight} fill="${escapeHtml(color)}">${escapeHtml(text)}</text>`;
    }
    case 'image': {
      const { png, at, width, height, description } = shape;
      const data = Buffer.from(png).toString('base64');
      return (
        `<image x="${number(at[0])}" y="${number(at[1])}" width="${number(width)}" height="${number(height)}" ` +
        `image-rendering="pixelated" aria-label="${escapeHtml(description)}" href="data:image/png;base64,${data}"/>`
      );
    }
  }
}

/** The outline of a marker as path data; markers of one radius look equally large. */
export function outlineOf(marker: Marker, [x, y]: Point, radius: number): string {
  const polygon = (corners: readonly Point[]) =>
    `M${corners.map(([dx, dy]) => pair([x + radius * dx, y + radius * dy])).join('L')}Z`;
  switch (marker) {
    case 'circle': {
      const r = number(radius);
      return `M${number(x - radius)},${number(y)}a${r},${r} 0 1 0 ${number(2 * radius)},0a${r},${r} 0 1 0 -${number(2 * radius)},0Z`;
    }
    case 'square':
      return polygon([
        [-0.9, -0.9],
        [0.9, -0.9],
        [0.9, 0.9],
        [-0.9, 0.9],
      ]);
    case 'triangle':
      return polygon([
        [0, -1.2],
        [1.1, 0.8],
        [-1.1, 0.8],
      ]);
    case 'inverted triangle':
      return polygon([
        [0, 1.2],
        [1.1, -0.8],
        [-1.1, -0.8],
      ]);
    case 'diamond':
      return polygon([
        [0, -1.25],
        [1.25, 0],
        [0, 1.25],
        [-1.25, 0],
      ]);
    case 'cross': {
      const [a, b] = [x - radius, x + radius];
      return `M${pair([a, y - radius])}L${pair([b, y + radius])}M${pair([a, y + radius])}L${pair([b, y - radius])}`;
    }
  }
}

function opacityOf(opacity: number | undefined): string {
  return opacity === undefined ? '' : ` opacity="${opacity}"`;
}

function pair([x, y]: Point): string {
  return `${number(x)},${number(y)}`;
}

/** A coordinate in tenths of a unit, without a trailing zero. */
function number(value: number): string {
  return String(Math.round(value * 10) / 10);
}
