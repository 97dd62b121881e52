// Drawings as PDF files: their structure, texts, lines and images; and the units of figures.
import { inflateSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { encodePng } from '../../../src/io/index.ts';
import {
  type Drawing,
  linePlot,
  markers,
  pageTheme,
  paperTheme,
  parseLength,
  pdfFile,
  type Shape,
  svgFile,
} from '../../../src/run/plot/index.ts';

const drawingOf = (...shapes: Shape[]): Drawing => ({ width: 20, height: 10, description: 'żółw', font: '', shapes });

/** The objects of a PDF, found by its table of positions. */
function objectsOf(pdf: Uint8Array): Map<number, { text: string; stream?: Buffer }> {
  const bytes = Buffer.from(pdf);
  const file = bytes.toString('latin1');
  const start = Number(/startxref\n(\d+)\n%%EOF\n$/.exec(file)?.[1]);
  const [, count] = /^xref\n0 (\d+)\n/.exec(file.slice(start)) as RegExpExecArray;
  const rows = file
    .slice(start)
    .split('\n')
    .slice(3, 2 + Number(count));
  return new Map(
    rows.map((row, i) => {
      const at = Number(row.slice(0, 10));
      const head = `${i + 1} 0 obj\n`;
      expect(file.slice(at, at + head.length)).toBe(head);
      const text = file.slice(at + head.length, file.indexOf('endobj', at));
      const length = Number(/\/Length (\d+)/.exec(text)?.[1]);
      const from = at + head.length + text.indexOf('stream\n') + 7;
      const stream = length > 0 ? inflateSync(bytes.subarray(from, from + length)) : undefined;
      return [i + 1, { text, stream }];
    }),
  );
}

const contentOf = async (drawing: Drawing) =>
  objectsOf(await pdfFile(drawing))
    .get(6)
    ?.stream?.toString('latin1') as string;

it('has one page of the size of the drawing, with text as text and lines as lines', async () => {
  const plot = linePlot(
    [
      {
        label: 'a flow',
        points: [
          [1, 3],
          [2, 2],
          [4, 1],
        ],
      },
      {
        label: 'another',
        points: [
          [1, 1],
          [2, 1.5],
        ],
      },
    ],
    { theme: paperTheme(8), title: 'Loss', xLabel: 'step', yLabel: 'loss', width: 238.11, height: 142 },
  ) as Drawing;
  const objects = objectsOf(await pdfFile(plot));
  expect(objects.get(3)?.text).toContain(`/MediaBox [0 0 238.11 ${plot.height}]`);
  const content = objects.get(6)?.stream?.toString('latin1') as string;
  for (const name of ['a flow', 'another', 'Loss', 'step'])
    expect(content).toContain(`<${Buffer.from(name).toString('hex')}> Tj`);
  expect(content).toMatch(/w \[\] 0 d [\d.]+ [\d.]+ m [\d.]+ [\d.]+ l [\d.]+ [\d.]+ l S/);
  expect(content.match(/\bq\b/g)?.length).toBe(content.match(/\bQ\b/g)?.length);
  expect(content.replace(/<\w*>/g, '')).not.toMatch(/NaN|undefined|[\d.]e-?\d/);
});

it('places text by its anchor, in the widths of Helvetica', async () => {
  const text = (anchor: 'start' | 'middle' | 'end'): Shape => ({
    kind: 'text',
    text: 'Hello',
    at: [40, 2],
    anchor,
    size: 10,
    color: '#000000',
  });
  expect(await contentOf(drawingOf(text('start')))).toContain('1 0 0 1 40 8 Tm');
  expect(await contentOf(drawingOf(text('middle')))).toContain('1 0 0 1 28.61 8 Tm');
  expect(await contentOf(drawingOf(text('end')))).toContain('1 0 0 1 17.22 8 Tm');
});

it('holds the pixels of images, opacities, and question marks for letters that the font lacks', async () => {
  const data = Uint8Array.of(1, 2, 3, 250, 251, 252);
  const png = await encodePng({ width: 2, height: 1, channels: 3, data });
  const objects = objectsOf(
    await pdfFile(
      drawingOf(
        { kind: 'image', png, at: [0, 0], width: 20, height: 10, description: '' },
        {
          kind: 'line',
          points: [
            [0, 0],
            [1, 1],
          ],
          color: '#ff0000',
          width: 1,
          opacity: 0.4,
        },
        { kind: 'text', text: 'é–日)', at: [1, 2], anchor: 'start', size: 8, color: '#000000' },
      ),
    ),
  );
  const content = objects.get(6)?.stream?.toString('latin1');
  expect(content).toContain('20 0 0 10 0 0 cm /I0 Do');
  expect(content).toContain('/G0 gs 1 0 0 RG');
  expect(content).toContain('<e9963f29> Tj');
  expect(objects.get(7)?.text).toContain('/CA 0.4');
  expect([...(objects.get(8)?.stream ?? [])]).toEqual([...data]);
  expect(objects.get(9)?.text).toContain(Buffer.from('żółw', 'utf16le').swap16().toString('hex'));
});

it('draws each marker, and dots as circles', async () => {
  for (const marker of markers) {
    const shape: Shape = { kind: 'marker', marker, at: [5, 5], radius: 2, color: '#000000', fill: '#ffffff' };
    expect(await contentOf(drawingOf(shape)), marker).toMatch(/ m .*(h B|l S) Q$/);
  }
  const dots = await contentOf(
    drawingOf({
      kind: 'dots',
      points: [
        [3, 4],
        [5, 6],
      ],
      radius: 1,
      fill: '#123456',
    }),
  );
  expect(dots.match(/ c\b/g)).toHaveLength(8);
});

it('refuses the colours of a page, which only a style sheet knows', async () => {
  const shape: Shape = {
    kind: 'line',
    points: [
      [0, 0],
      [1, 1],
    ],
    color: pageTheme.text,
    width: 1,
  };
  await expect(pdfFile(drawingOf(shape))).rejects.toThrow('expected a colour #rrggbb, got var(--text)');
});

it('reads lengths in points', () => {
  expect(['84mm', '3.5in', '240pt', '96px', '10cm'].map(parseLength)).toEqual([
    84 * (72 / 25.4),
    252,
    240,
    72,
    720 / 2.54,
  ]);
  expect(['84', 'mm', '-1mm', '1e9mm', '84 mm', '12345678mm'].map(parseLength)).toEqual(Array(6).fill(undefined));
});

it('an SVG states the unit of its size', () => {
  expect(svgFile(drawingOf(), 'pt')).toContain('width="20pt" height="10pt"');
  expect(svgFile(drawingOf())).toContain('width="20" height="10"');
});
