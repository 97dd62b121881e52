// Plots as drawings: which points, ticks and names they show, and that texts do not overlap; the palette's contrast and
// its distances for people with each kind of colour vision.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Drawing,
  darkTheme,
  fitText,
  inlineSvg,
  type LinePlotOptions,
  lightTheme,
  linePlot,
  pathPlot,
  type Series,
  svgFile,
  textWidth,
} from '../../../src/run/plot/index.ts';
import { axisOver, tickLabel, tickValues } from '../../../src/run/plot/scale.ts';
import { full } from '../../support/devices.ts';

const options: LinePlotOptions = {
  theme: lightTheme,
  title: 'title',
  xLabel: 'step',
  yLabel: 'loss',
  width: 690,
  height: 320,
};

const textsOf = (drawing: Drawing) => drawing.shapes.flatMap((shape) => (shape.kind === 'text' ? [shape] : []));

/** Pairs of texts whose boxes overlap, by the estimated width. */
function overlaps(drawing: Drawing): string[] {
  const boxes = textsOf(drawing).map(({ text, at: [x, y], anchor, size }) => {
    const width = textWidth(text, size);
    const left = x - { start: 0, middle: width / 2, end: width }[anchor];
    return { text, left, right: left + width, top: y - 0.8 * size, bottom: y + 0.2 * size };
  });
  return boxes.flatMap((a, i) =>
    boxes
      .slice(i + 1)
      .filter((b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
      .map((b) => `${a.text} | ${b.text}`),
  );
}

describe('a line plot', () => {
  const series: Series[] = [
    { label: '1-rectified flow', points: [1, 2, 4, 10, 100].map((n) => [n, 26 / n] as const) },
    { label: '2-rectified flow', points: [1, 2, 4, 10, 100].map((n) => [n, 0.5] as const) },
    { label: 'distilled to 1 step', points: [[1, 0.5]] },
  ];
  const plot = (more: Partial<LinePlotOptions>) =>
    linePlot(series, { ...options, logX: true, logY: true, xTicks: [1, 2, 4, 10, 100], ...more }) as Drawing;

  it.each([690, 328])('of %s pixels names every series and reference, with a marker of its own', (width) => {
    const drawing = plot({ width, references: [{ label: 'real images', y: 0.2 }] });
    const names = [...series.map(({ label }) => label), 'real images'];
    expect(textsOf(drawing).map(({ text }) => text)).toEqual(
      expect.arrayContaining([...names, '1', '2', '4', '10', '100']),
    );
    const markers = drawing.shapes.flatMap((shape) =>
      shape.kind === 'marker' ? [`${shape.marker} ${shape.color}`] : [],
    );
    expect(new Set(markers).size).toBe(3);
    // Five points each for two series and one for the third, and one sign next to each name.
    expect(markers).toHaveLength(5 + 5 + 1 + 3);
    expect(drawing.shapes.filter((shape) => shape.kind === 'line' && shape.dash)).toHaveLength(2);
    expect(overlaps(drawing)).toEqual([]);
    expect(drawing.description).toBe(
      'title. Line plot of loss against step. 1-rectified flow ends at 0.26; 2-rectified flow ends at 0.5; ' +
        'distilled to 1 step ends at 0.5; real images: 0.2.',
    );
  });

  it('has texts that do not overlap and points inside, for any data', () => {
    const value = fc.double({ min: -1e12, max: 1e12, noNaN: true });
    const one = fc.record({
      label: fc.string({ unit: 'binary', maxLength: 80 }),
      points: fc.array(fc.tuple(value, value), { maxLength: 20 }),
    });
    const any = fc.record({ logX: fc.boolean(), logY: fc.boolean(), width: fc.constantFrom(328, 690) });
    fc.assert(
      fc.property(fc.array(one, { maxLength: 8 }), any, (list, more) => {
        const drawing = linePlot(list, { ...options, ...more });
        if (drawing === undefined) return;
        expect(overlaps(drawing)).toEqual([]);
        const points = drawing.shapes.flatMap((shape) => (shape.kind === 'line' ? shape.points : []));
        const inside = ([x, y]: readonly number[]) => x >= 0 && x <= drawing.width && y >= 0 && y <= drawing.height;
        expect(points.filter((point) => !inside(point))).toEqual([]);
      }),
      { numRuns: full ? 1000 : 50 },
    );
  });

  it('labels the x axis inside the plot only, at whole numbers if asked', () => {
    const labels = (more: Partial<LinePlotOptions>) => {
      const points = [0, 1, 2].map((x) => [x, 10 + x] as const);
      const { shapes } = linePlot([{ label: 'a', points }], { ...options, ...more }) as Drawing;
      return shapes.flatMap((shape) => (shape.kind === 'text' && shape.anchor === 'middle' ? [shape.text] : []));
    };
    expect(labels({ xTicks: [0, 1, 2, 4, 100] })).toEqual(['0', '1', '2', 'step']);
    expect(labels({})).toEqual(['0', '0.5', '1', '1.5', '2', 'step']);
    expect(labels({ wholeX: true })).toEqual(['0', '1', '2', 'step']);
  });

  it('leaves out what cannot be drawn, and is absent without a point', () => {
    const points: [number, number][] = [
      [1, Number.NaN],
      [2, Number.POSITIVE_INFINITY],
      [3, 1e301],
      [4, 0],
      [5, 2],
      [6, 3],
    ];
    const drawn = linePlot([{ label: 'a', points }], { ...options, logY: true }) as Drawing;
    expect(drawn.shapes.filter(({ kind }) => kind === 'marker')).toHaveLength(2);
    expect(linePlot([{ label: 'a', points: points.slice(0, 4) }], { ...options, logY: true })).toBeUndefined();
    expect(linePlot([], options)).toBeUndefined();
  });

  it('escapes names from outside', () => {
    const label = '</svg><script>alert(1)</script>\u202e"\'&';
    const drawing = linePlot(
      [
        { label, points: [[0, 1]] },
        { label: 'b', points: [[0, 2]] },
      ],
      { ...options, title: label },
    );
    for (const text of [inlineSvg(drawing as Drawing), svgFile(drawing as Drawing)]) {
      expect(text).not.toContain('<script');
      expect(text).not.toContain('\u202e');
      expect(text.match(/<\/svg>/g)).toHaveLength(1);
    }
  });
});

it('a path plot draws every path and skips points that are not finite', () => {
  const cloud = (...values: number[]) => Float32Array.from(values);
  const drawing = pathPlot([cloud(0, 0, 1, 1), cloud(1, 0, Number.NaN, 1), cloud(2, 0, 3, 3)], {
    theme: lightTheme,
    title: 'paths',
    background: cloud(-4, 0),
    size: 300,
  });
  const lines = drawing.shapes.flatMap((shape) => (shape.kind === 'line' ? [shape.points.length] : []));
  expect(lines).toEqual([3, 2]);
  expect(inlineSvg(drawing)).not.toContain('NaN');
});

it.each([
  [[0, 500], false, ['0', '100', '200', '300', '400', '500']],
  [[0.1, 0.3], false, ['0.1', '0.15', '0.2', '0.25', '0.3']],
  [[0.2, 26], true, ['1', '10', '0.5', '5', '0.2', '2', '20']],
  [[1e-9, 1e6], true, ['1e-9', '1e-6', '0.001', '1', '1,000', '1,000,000']],
])('ticks over %j, log %s', (ends, log, labels) => {
  expect(tickValues(axisOver(ends, log)).map(tickLabel)).toEqual(labels);
});

it('shortens text to a width', () => {
  expect(fitText('a name', 13, 100)).toBe('a name');
  const short = fitText('a name that is much too long', 13, 100);
  expect(short).toMatch(/^a name.*…$/);
  expect(textWidth(short, 13)).toBeLessThanOrEqual(100);
});

describe('the palette', () => {
  const linear = (color: string) =>
    [1, 3, 5]
      .map((at) => Number.parseInt(color.slice(at, at + 2), 16) / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  const luminance = (color: string) => {
    const [r, g, b] = linear(color);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a: string, b: string) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  // Machado, Oliveira and Fernandes (2009), severity 1.
  const visions = {
    normal: [1, 0, 0, 0, 1, 0, 0, 0, 1],
    protanopia: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
    deuteranopia: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
    tritanopia: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
  };
  const lab = (color: string, m: readonly number[]) => {
    const rgb = linear(color);
    const [r, g, b] = [0, 3, 6].map((row) => Math.max(0, m[row] * rgb[0] + m[row + 1] * rgb[1] + m[row + 2] * rgb[2]));
    const f = (t: number) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
    const x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505);
    const y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
    const z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089);
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
  };

  describe.each([
    ['light', lightTheme],
    ['dark', darkTheme],
  ])('%s', (_, { series, background, text, muted }) => {
    it('has a contrast of at least 4.5 with the background', () => {
      for (const color of [...series, text, muted]) expect(contrast(color, background), color).toBeGreaterThan(4.5);
    });

    it.each(Object.entries(visions))('has colours that differ with %s', (vision, matrix) => {
      for (const [i, a] of series.entries())
        for (const b of series.slice(i + 1)) {
          const [p, q] = [lab(a, matrix), lab(b, matrix)];
          expect(Math.hypot(...p.map((v, k) => v - q[k])), `${a} ${b} ${vision}`).toBeGreaterThan(10);
        }
    });
  });
});
