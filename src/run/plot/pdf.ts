// Writes a drawing as a PDF of one page, with vector graphics and text (ISO 32000-1). A unit of the drawing is a point,
// 1/72 inch. The font is Helvetica, one of the 14 that every reader has, so it is not in the file.
//   objects: 1 catalog, 2 pages, 3 page, 4 and 5 fonts, 6 content, then opacities, images and the title
import { deflateSync } from 'node:zlib';
import { decodePng, type Image } from '../../io/png.ts';
import type { Drawing, Marker, Point, Shape } from './drawing.ts';
import { helveticaWidth } from './helvetica.ts';
import { outlineOf } from './svg.ts';

/** The bytes of a .pdf file of a drawing. Its colours must be of the form #rrggbb. */
export async function pdfFile(drawing: Drawing): Promise<Uint8Array> {
  const { width, height, background, description, shapes } = drawing;
  const page = new Page(height);
  const commands = ['1 j'];
  if (background) commands.push(`${rgb(background)} rg 0 0 ${number(width)} ${number(height)} re f`);
  for (const shape of shapes) commands.push(`q ${await page.draw(shape)} Q`);
  const content = deflateSync(Buffer.from(commands.join('\n'), 'latin1'));
  const extra = [...page.opacities.keys()].map((opacity) => `<< /Type /ExtGState /CA ${opacity} /ca ${opacity} >>`);
  const resources = [
    '/Font << /F1 4 0 R /F2 5 0 R >>',
    `/ExtGState << ${references(page.opacities.values(), 7)} >>`,
    `/XObject << ${references(
      page.images.map((_, i) => imageName(i)),
      7 + extra.length,
    )} >>`,
  ];
  return assemble(
    [
      '<< /Type /Catalog /Pages 2 0 R >>',
      '<< /Type /Pages /Kids [3 0 R] /Count 1 >>',
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 ${number(width)} ${number(height)}] ` +
        `/Resources << ${resources.join(' ')} >> /Contents 6 0 R >>`,
      ...['Helvetica', 'Helvetica-Bold'].map(
        (name) => `<< /Type /Font /Subtype /Type1 /BaseFont /${name} /Encoding /WinAnsiEncoding >>`,
      ),
      stream('/Filter /FlateDecode', content),
      ...extra,
      ...page.images.map(imageObject),
    ],
    description,
  );
}

/** Turns shapes into operators, and collects the resources that these name. */
class Page {
  private readonly height: number;
  /** The name of each opacity. */
  readonly opacities = new Map<number, string>();
  readonly images: Image[] = [];

  constructor(height: number) {
    this.height = height;
  }

  async draw(shape: Shape): Promise<string> {
    switch (shape.kind) {
      case 'line': {
        const { points, color, width, dash = [], opacity } = shape;
        if (points.length < 2) return '';
        const path = points.map((point, i) => `${this.at(point)} ${i === 0 ? 'm' : 'l'}`).join(' ');
        return `${this.opacity(opacity)}${rgb(color)} RG ${number(width)} w [${dash.map(number).join(' ')}] 0 d ${path} S`;
      }
      case 'marker': {
        const { marker, at, radius, color, fill } = shape;
        const look = `${rgb(color)} RG ${number(0.4 * radius)} w`;
        const outline = this.outline(marker, at, radius);
        return marker === 'cross' ? `${look} ${outline} S` : `${look} ${rgb(fill)} rg ${outline} B`;
      }
      case 'dots': {
        const { points, radius, fill, stroke, opacity } = shape;
        const circles = points.map((point) => this.circle(point, radius)).join(' ');
        const edge = stroke === undefined ? '' : `${rgb(stroke)} RG ${number(radius / 2)} w `;
        return `${this.opacity(opacity)}${rgb(fill)} rg ${edge}${circles} ${stroke === undefined ? 'f' : 'B'}`;
      }
      case 'text': {
        const { text, at, anchor, size, color, bold = false } = shape;
        const [x, y] = at;
        const left = x - { start: 0, middle: 0.5, end: 1 }[anchor] * helveticaWidth(text, size, bold);
        const position = this.at([left, y]);
        return `BT /${bold ? 'F2' : 'F1'} ${number(size)} Tf ${rgb(color)} rg 1 0 0 1 ${position} Tm <${winAnsi(text)}> Tj ET`;
      }
      case 'image': {
        const { png, at, width, height } = shape;
        this.images.push(await decodePng(png));
        const corner = this.at([at[0], at[1] + height]);
        return `${number(width)} 0 0 ${number(height)} ${corner} cm /${imageName(this.images.length - 1)} Do`;
      }
    }
  }

  /** The position in the page's coordinates, whose origin is at the bottom. */
  private at([x, y]: Point): string {
    return `${number(x)} ${number(this.height - y)}`;
  }

  private opacity(value: number | undefined): string {
    if (value === undefined) return '';
    const name = this.opacities.get(value) ?? `G${this.opacities.size}`;
    this.opacities.set(value, name);
    return `/${name} gs `;
  }

  private outline(marker: Marker, at: Point, radius: number): string {
    if (marker === 'circle') return this.circle(at, radius);
    // The other outlines consist of straight lines only.
    return outlineOf(marker, at, radius).replace(/([ML])([-\d.]+),([-\d.]+)|Z/g, (_, letter, x, y) =>
      letter === undefined ? ' h' : ` ${this.at([Number(x), Number(y)])} ${letter === 'M' ? 'm' : 'l'}`,
    );
  }

  /** Four Bezier curves. */
  private circle([x, y]: Point, r: number): string {
    const k = 0.5523 * r;
    const curve = (...points: readonly Point[]) => `${points.map(([dx, dy]) => this.at([x + dx, y + dy])).join(' ')} c`;
    return [
      `${this.at([x + r, y])} m`,
      curve([r, k], [k, r], [0, r]),
      curve([-k, r], [-r, k], [-r, 0]),
      curve([-r, -k], [-k, -r], [0, -r]),
      curve([k, -r], [r, -k], [r, 0]),
      'h',
    ].join(' ');
  }
}

const imageName = (i: number) => `I${i}`;

/** The entries of a table of resources whose objects have consecutive numbers. */
function references(names: Iterable<string>, first: number): string {
  return [...names].map((name, i) => `/${name} ${first + i} 0 R`).join(' ');
}

function rgb(color: string): string {
  if (!/^#[0-9a-f]{6}$/i.test(color)) throw new TypeError(`expected a colour #rrggbb, got ${color}`);
  return [1, 3, 5]
    .map((at) => String(Number((Number.parseInt(color.slice(at, at + 2), 16) / 255).toFixed(4))))
    .join(' ');
}

/** A decimal number: PDF knows no exponents. */
function number(value: number): string {
  return String(Number(value.toFixed(2)));
}

/** Characters of Windows-1252 that Latin-1 does not have. */
const windows: Readonly<Record<string, number>> = {
  '€': 0x80,
  '…': 0x85,
  '‘': 0x91,
  '’': 0x92,
  '“': 0x93,
  '”': 0x94,
  '–': 0x96,
  '—': 0x97,
};

/** Text in the encoding of the fonts, as hexadecimal digits; characters that it lacks become question marks. */
function winAnsi(text: string): string {
  const codes = Array.from(text, (letter) => {
    const code = letter.codePointAt(0) as number;
    return (code >= 0x20 && code <= 0x7e) || (code >= 0xa0 && code <= 0xff) ? code : (windows[letter] ?? 0x3f);
  });
  return Buffer.from(codes).toString('hex');
}

function stream(entries: string, bytes: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.from(`<< ${entries} /Length ${bytes.length} >>\nstream\n`),
    bytes,
    Buffer.from('\nendstream'),
  ]);
}

function imageObject({ width, height, channels, data }: Image): Buffer {
  const colors = channels < 3 ? 1 : 3;
  const pixels = new Uint8Array(width * height * colors);
  for (let i = 0; i < width * height; i++)
    for (let c = 0; c < colors; c++) pixels[i * colors + c] = data[i * channels + c];
  return stream(
    `/Type /XObject /Subtype /Image /Width ${width} /Height ${height} /BitsPerComponent 8 /Interpolate false ` +
      `/ColorSpace /${colors === 1 ? 'DeviceGray' : 'DeviceRGB'} /Filter /FlateDecode`,
    deflateSync(pixels),
  );
}

/** Numbers the objects from 1, and adds the header and the table of their positions. */
function assemble(objects: readonly (string | Buffer)[], title: string): Uint8Array {
  const utf16 = Buffer.from(`\ufeff${title.replace(/\p{Cs}/gu, '\ufffd')}`, 'utf16le').swap16();
  const all = [...objects, `<< /Title <${utf16.toString('hex')}> /Producer (rectiflow) >>`];
  // The comment of four high bytes tells programs that transfer files that this one is binary.
  const parts = [Buffer.from('%PDF-1.4\n%\xe2\xe3\xcf\xd3\n', 'latin1')];
  const positions: number[] = [];
  let at = parts[0].length;
  for (const [i, object] of all.entries()) {
    const part = Buffer.concat([Buffer.from(`${i + 1} 0 obj\n`), Buffer.from(object), Buffer.from('\nendobj\n')]);
    positions.push(at);
    parts.push(part);
    at += part.length;
  }
  const rows = positions.map((position) => `${String(position).padStart(10, '0')} 00000 n \n`).join('');
  const size = all.length + 1;
  const trailer = `trailer\n<< /Size ${size} /Root 1 0 R /Info ${all.length} 0 R >>\nstartxref\n${at}\n%%EOF\n`;
  return new Uint8Array(
    Buffer.concat([...parts, Buffer.from(`xref\n0 ${size}\n0000000000 65535 f \n${rows}${trailer}`)]),
  );
}
