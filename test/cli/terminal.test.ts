// What terminals show: colours where they are wanted, links, pictures in block characters; and the end of a chain in a
// small and a large terminal, without colours, and in a pipe.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { blockPicture } from '../../src/cli/block_picture.ts';
import { hanging } from '../../src/cli/columns.ts';
import { openFile, quoted } from '../../src/cli/open_file.ts';
import { describeElapsed, showReport } from '../../src/cli/results.ts';
import { cutLine, drawsUnicode, fileLink, paint, paintLine } from '../../src/cli/terminal.ts';
import type { FlowReport } from '../../src/run/report/index.ts';
import { fakeTerminal, linesOn, plain, terminalVariables } from '../support/terminal.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

/** The environment of a terminal, without what the machine of the test sets. */
function environment(values: Record<string, string> = {}): void {
  for (const name of terminalVariables) vi.stubEnv(name, values[name]);
}

describe('colours', () => {
  it.each<[values: Record<string, string>, columns: number | undefined, coloured: boolean]>([
    [{ TERM: 'xterm-256color' }, 80, true],
    [{ TERM: 'xterm-256color', NO_COLOR: '1' }, 80, false],
    [{ TERM: 'xterm-256color' }, undefined, false],
    [{ FORCE_COLOR: '1' }, undefined, true],
    [{ TERM: 'xterm-256color', FORCE_COLOR: '0' }, 80, false],
    [{ TERM: 'dumb' }, 80, false],
  ])('with %o and %s columns: %s', (values, columns, coloured) => {
    environment(values);
    using _terminal = fakeTerminal(process.stdout, columns);
    expect(paint('red', 'text')).toBe(coloured ? '\x1b[31mtext\x1b[39m' : 'text');
  });

  it('do not count when a line is cut', () => {
    environment({ TERM: 'xterm' });
    using _terminal = fakeTerminal(process.stdout, 80);
    const cut = cutLine(['ab', ['red', 'cdef'], 'gh', ['dim', 'i']], 4);
    expect(paintLine(cut, process.stdout)).toContain('ab\x1b[31mcd\x1b[39m');
    expect(plain(paintLine(cut, process.stdout))).toBe('abcd');
  });
});

describe('a link to a file', () => {
  it('is an address that a terminal opens, with special characters encoded', () => {
    environment({ TERM: 'xterm' });
    using _terminal = fakeTerminal(process.stdout, 80);
    expect(fileLink('a b', '/tmp/a b#1.html')).toBe('\x1b]8;;file:///tmp/a%20b%231.html\x1b\\a b\x1b]8;;\x1b\\');
  });

  it.each<[columns: number | undefined, term: string]>([
    [undefined, 'xterm'],
    [80, 'dumb'],
  ])('with %s columns on %s is plain text', (columns, TERM) => {
    environment({ TERM });
    using _terminal = fakeTerminal(process.stdout, columns);
    expect(fileLink('a.html', '/a.html')).toBe('a.html');
  });
});

it.each<[columns: number | undefined, lines: string[]]>([
  [42, ['ok  name  a text that is long and ends', '          below itself']],
  [undefined, ['ok  name  a text that is long and ends below itself']],
])('a text after its name, with %s columns', (columns, lines) => {
  environment({ TERM: 'xterm' });
  using _terminal = fakeTerminal(process.stdout, columns);
  expect(hanging('ok  name  ', 'a text that is long and ends below itself')).toEqual(lines);
});

it.each<[values: Record<string, string>, drawn: boolean]>([
  [{}, true],
  [{ LANG: 'en_GB.UTF-8' }, true],
  [{ LANG: 'C.utf8', TERM: 'xterm' }, true],
  [{ LANG: 'en_GB.UTF-8', LC_ALL: 'C' }, false],
  [{ LANG: 'de_DE.ISO-8859-1' }, false],
  [{ LANG: 'en_GB.UTF-8', TERM: 'linux' }, false],
])('with %o, characters beyond ASCII are drawn: %s', (values, drawn) => {
  expect(drawsUnicode(values)).toBe(drawn);
});

describe('a picture in block characters', () => {
  // A 2 x 2 image: black and white above, grey and red below.
  const rgb = Uint8Array.of(0, 0, 0, 255, 255, 255, 128, 128, 128, 255, 0, 0);
  const draw = (images: Uint8Array, shape: number[], values: Record<string, string>, columns = 80) => {
    environment(values);
    using _terminal = fakeTerminal(process.stdout, columns);
    return blockPicture(images, shape, process.stdout);
  };

  it('has two rows of pixels to a line, in the colours of the image', () => {
    const [line, ...others] = draw(rgb, [1, 2, 2, 3], { TERM: 'xterm', COLORTERM: 'truecolor' });
    expect(line).toBe('\x1b[38;2;0;0;0;48;2;128;128;128m▀\x1b[38;2;255;255;255;48;2;255;0;0m▀\x1b[0m');
    expect(others).toEqual([]);
  });

  it('uses a palette where there is one', () => {
    expect(draw(rgb, [1, 2, 2, 3], { TERM: 'xterm-256color' })).toEqual([
      '\x1b[38;5;16;48;5;244m▀\x1b[38;5;231;48;5;196m▀\x1b[0m',
    ]);
  });

  it('uses shades without colours, and ASCII where nothing else is drawn', () => {
    const grey = Uint8Array.of(0, 255, 0, 255);
    expect(draw(grey, [1, 2, 2, 1], { TERM: 'xterm', NO_COLOR: '1' })).toEqual([' █']);
    expect(draw(grey, [1, 2, 2, 1], { TERM: 'linux', LANG: 'C' })).toEqual([' #']);
  });

  it('shows as many images as fit, and averages large ones', () => {
    const shades = { TERM: 'xterm', NO_COLOR: '1' };
    const many = draw(new Uint8Array(20 * 64).fill(255), [20, 8, 8, 1], shades, 80);
    expect(many).toEqual(Array(4).fill(Array(8).fill('█'.repeat(8)).join(' ')));
    const large = draw(new Uint8Array(2 * 32 * 32 * 3).fill(255), [2, 32, 32, 3], shades, 80);
    expect(large).toEqual(Array(8).fill(Array(2).fill('█'.repeat(16)).join(' ')));
    // An image that is wider than the terminal is shown all the same.
    expect(draw(new Uint8Array(64).fill(255), [1, 8, 8, 1], shades, 4)).toHaveLength(4);
  });
});

describe('the end of a chain', () => {
  const samples = ['1-rectified flow', 'distilled to 1 step'].map((name, i) => ({
    name,
    steps: 1,
    images: Uint8Array.from({ length: 3 * 16 }, (_, at) => (at % 4 < 2 ? 0 : 255 - i)),
    shape: [3, 4, 4, 1],
  }));
  const stage = (name: string, straightness: number, fd: number) => ({
    ...{ name, straightness, checkpoint: 'c', steps: 501, straightness_steps: 100, nfe: 26 },
    fd: { 1: fd, 2: fd / 2, rk45: 0.4 },
  });
  const report: FlowReport = {
    path: '/runs/quickstart/report.html',
    picture: '/runs/quickstart/samples.png',
    samples,
    figures: {
      ...{ version: '0.1.0', revision: 'r', created: 'c', device: 'd', seed: 43, samples: 192, features: 'classifier' },
      heldOut: { images: 192, fd: 0.2 },
      stages: [stage('1-rectified flow', 0.14462, 26.12), stage('distilled to 1 step', 0, 0.5634)],
    },
  };
  const next = 'npx rectiflow sample --checkpoint c --sampler euler --steps 1 --out samples.png';
  const shown = (columns: number | undefined, values: Record<string, string>, given = report) => {
    environment(values);
    using terminal = fakeTerminal(process.stdout, columns);
    showReport(given, { seconds: 185, next });
    return terminal.text();
  };
  const table = [
    '                     straightness  N = 1  N = 2    RK45',
    '1-rectified flow           0.1446  26.12  13.06  0.4000',
    'distilled to 1 step        0.0000  0.5634  0.2817  0.4000',
  ];

  it('in a pipe is text', () => {
    const text = shown(undefined, {});
    expect(text).toMatchSnapshot();
    expect(text).not.toContain('\x1b');
    expect(text.split('\n')[1]).toContain(table[1].slice(0, 33));
  });

  it.each<[string, number, Record<string, string>]>([
    ['80 columns', 80, { TERM: 'xterm-256color', COLORTERM: 'truecolor' }],
    ['200 columns', 200, { TERM: 'xterm-256color' }],
    ['80 columns without colours', 80, { TERM: 'xterm-256color', NO_COLOR: '1' }],
  ])('in a terminal of %s shows samples, and where everything is', (_, columns, values) => {
    const text = shown(columns, values);
    expect(text).toMatchSnapshot();
    const lines = plain(text).trimEnd().split('\n');
    expect(lines.slice(-4)).toEqual([
      'done in 3 min 5 s',
      'samples: /runs/quickstart/samples.png',
      'report: /runs/quickstart/report.html',
      `next: ${next}`,
    ]);
    expect(lines).toContain('smaller is better, in every column; 192 real images are at 0.2000');
    expect(text).toContain('\x1b]8;;file:///runs/quickstart/report.html\x1b\\');
    // Nothing but the next command, which is copied as a whole, is wider than the terminal.
    expect(linesOn(columns, text).length).toBe(lines.length + 1 + (next.length + 6 > columns ? 1 : 0));
    expect(text.includes('\x1b[')).toBe(!('NO_COLOR' in values));
  });

  it('fits the table of the quickstart into 80 columns, with narrower gaps', () => {
    const fd = { 1: 26.12, 2: 3.581, 4: 0.9042, 10: 0.4311, 100: 0.3818, rk45: 0.3796 };
    const last = { ...fd, 1: 0.5585, 2: 0.8537 };
    const stages = ['1-rectified flow', 'distilled to 1 step'].map((name, i) => ({
      ...stage(name, 0.1446, 1),
      fd: i === 0 ? fd : last,
    }));
    const given = { ...report, figures: { ...report.figures, stages } };
    const rows = (columns: number) =>
      plain(shown(columns, { TERM: 'xterm' }, given))
        .split('\n')
        .slice(0, 4);
    expect(Math.max(...rows(80).map(({ length }) => length))).toBe(75);
    expect(rows(80)[1]).toMatch(/^1-rectified flow +0\.1446 {2}26\.12 {2}3\.581 0\.9042 0\.4311 {2}0\.3818 0\.3796$/);
    expect(Math.max(...rows(82).map(({ length }) => length))).toBe(82);
  });

  it('without scores says what straightness means', () => {
    const { features: _, heldOut: __, ...rest } = report.figures;
    const figures = { ...rest, stages: rest.stages.map((one) => ({ ...one, fd: {} })) };
    expect(shown(undefined, {}, { ...report, figures })).toContain('smaller is better: 0 means straight paths\n');
  });

  it('escapes names', () => {
    const hostile = { ...report, path: '/a\x1b[2J.html' };
    expect(shown(undefined, {}, hostile)).toContain('report: /a\\x1b[2J.html\n');
  });
});

it('durations are exact to the second, then to the minute', () => {
  expect([4.2, 59.6, 185, 3 * 3600 + 60, 3 * 86_400].map(describeElapsed)).toEqual([
    ...['4 s', '1 min 0 s', '3 min 5 s', '3 h 1 min', '3.0 days'],
  ]);
});

it('words for a shell are quoted if they must be', () => {
  expect(['runs/k=1/c.safetensors', 'a b', "it's", ''].map(quoted)).toEqual([
    ...['runs/k=1/c.safetensors', "'a b'", `'it'\\''s'`, "''"],
  ]);
});

it('a desktop that opens nothing is a notice', async () => {
  environment({});
  vi.stubEnv('PATH', '/nonexistent');
  using terminal = fakeTerminal(process.stderr, undefined);
  openFile('/a.html');
  await vi.waitFor(() =>
    expect(terminal.text()).toMatch(/^note: \S+ is not available here, so the report was not opened\n$/),
  );
});
