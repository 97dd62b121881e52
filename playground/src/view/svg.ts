// The picture as SVG: clouds, paths in the colours of their times, points and one-step arrows.
import { EXTENT } from '../model/settings.ts';
import { colourAt, type Inks, type Rgb, type Scene } from './paint.ts';

const SIZE = 600;
const scale = SIZE / (2 * EXTENT);
const X = (x: number) => ((x + EXTENT) * scale).toFixed(2);
const Y = (y: number) => ((EXTENT - y) * scale).toFixed(2);
const colour = ([r, g, b]: Rgb) => `rgb(${r},${g},${b})`;

/** A picture of 600 x 600 in the colours of the theme. */
export function svgOf({ clouds, paths, show }: Scene, inks: Inks): string {
  const parts: string[] = [`<rect width="${SIZE}" height="${SIZE}" fill="${colour(inks.paper)}"/>`];
  const dots = (points: ArrayLike<number>, ink: Rgb, opacity: number, radius: number) => {
    let d = '';
    for (let i = 0; i < points.length; i += 2) d += `M${X(points[i])} ${Y(points[i + 1])}h0`;
    parts.push(
      `<path d="${d}" stroke="${colour(ink)}" stroke-opacity="${opacity}" stroke-width="${2 * radius}" stroke-linecap="round" fill="none"/>`,
    );
  };
  if (clouds && show.target) {
    dots(clouds.from, inks.from, 0.25, 1.4);
    dots(clouds.to, inks.to, 0.3, 1.4);
  }
  if (clouds && show.pairs)
    for (let i = 0; i < clouds.partners.length; i += 4) {
      const [a, b, c, d] = clouds.partners.subarray(i, i + 4);
      parts.push(
        `<path d="M${X(a)} ${Y(b)}L${X(c)} ${Y(d)}" stroke="${colour(colourAt(inks, 0.5))}" stroke-opacity="0.35" fill="none"/>`,
      );
    }
  if (paths) {
    const { count, times, points, first } = paths;
    const last = times.length - 1;
    const at = (k: number, i: number) => `${X(points[2 * (k * count + i)])} ${Y(points[2 * (k * count + i) + 1])}`;
    if (show.paths) {
      const pieces = Math.min(8, last);
      for (let piece = 0; piece < pieces; piece++) {
        const begin = Math.round((piece * last) / pieces);
        const end = Math.round(((piece + 1) * last) / pieces);
        let d = '';
        for (let i = 0; i < Math.min(count, 160); i++) {
          d += `M${at(begin, i)}`;
          for (let k = begin + 1; k <= end; k++) if (k === end || (k - begin) % 3 === 0) d += `L${at(k, i)}`;
        }
        const ink = colourAt(inks, (times[begin] + times[end]) / 2);
        parts.push(`<path d="${d}" stroke="${colour(ink)}" stroke-opacity="0.7" fill="none" stroke-linejoin="round"/>`);
      }
    }
    if (show.arrows) {
      let [steps, misses] = ['', ''];
      for (let i = 0; i < Math.min(count, 100); i++) {
        const tip = `${X(points[2 * i] + first[2 * i])} ${Y(points[2 * i + 1] + first[2 * i + 1])}`;
        steps += `M${at(0, i)}L${tip}`;
        misses += `M${tip}L${at(last, i)}`;
      }
      parts.push(`<path d="${steps}" stroke="${colour(inks.ink)}" stroke-opacity="0.5" fill="none"/>`);
      parts.push(`<path d="${misses}" stroke="${colour(inks.error)}" stroke-width="1.4" fill="none"/>`);
    }
    const k = Math.round(show.time * last);
    dots(points.subarray(2 * k * count, 2 * (k + 1) * count), colourAt(inks, times[k]), 0.95, 2);
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${SIZE}" height="${SIZE}" viewBox="0 0 ${SIZE} ${SIZE}">${parts.join('')}</svg>\n`;
}
