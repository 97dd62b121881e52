// What the page reads from outside: links and pasted points.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { slerp, walkBetween } from '../../playground/src/model/digits.ts';
import { packNetworks, unpackNetworks } from '../../playground/src/model/packed_weights.ts';
import { readPoints } from '../../playground/src/model/paste.ts';
import { defaults, EXTENT, MOST_POINTS, type Settings } from '../../playground/src/model/settings.ts';
import { decodeSettings, encodeSettings, LINKED_POINTS, LinkError } from '../../playground/src/model/share.ts';
import { threadsOf } from '../../playground/src/model/threads.ts';
import { planeSettings } from '../../src/plane/index.ts';

const points = (count: number) => Float32Array.from({ length: 2 * count }, (_, i) => 10 * Math.sin(i));
const changed: Settings = {
  problem: {
    ...defaults.problem,
    from: { points: points(50) },
    to: { preset: 'rings' },
    coupling: 'minibatch',
    rate: 0.01,
  },
  view: {
    ...defaults.view,
    velocity: 'kernel',
    bandwidth: 0.4,
    steps: 7,
    arrows: true,
    tab: 3,
    digitTo: 9,
    digitOwn: '#'.repeat(64),
  },
};

it('the page begins with the network and the training of PlaneSession and of the command toy', () => {
  const { from, to, noise: _noise, ...own } = defaults.problem;
  expect(planeSettings({})).toMatchObject({
    ...own,
    from: (from as { preset: string }).preset,
    to: (to as { preset: string }).preset,
  });
});

describe('noises and weights of digits', () => {
  it('slerp keeps angles and lengths, and ends in its ends', () => {
    const [a, b] = [Float32Array.of(3, 0, 0, 0), Float32Array.of(0, 5, 0, 0)];
    expect([...slerp(a, b, 0)]).toEqual([3, 0, 0, 0]);
    expect(Math.hypot(...slerp(a, b, 0.5))).toBeCloseTo(4, 5);
    const [x, y] = slerp(a, b, 1 / 3);
    expect(Math.atan2(y, x)).toBeCloseTo(Math.PI / 6, 5);
    expect([...slerp(a, a, 0.3)]).toEqual([3, 0, 0, 0]);
    expect([...slerp(a, new Float32Array(4), 0.5)]).toEqual([1.5, 0, 0, 0]);
    const walk = walkBetween(a, b, 5);
    expect([walk.length, walk[0], walk[17]]).toEqual([20, 3, 5]);
  });

  it('8 bits keep each weight within half a level of its row, and vectors exactly', () => {
    const networks = [1, 2, 3].map(
      (k) =>
        new Map([
          [
            'w',
            { shape: [4, 3, 2], data: Float32Array.from({ length: 24 }, (_, i) => 10 ** (i % 3) * Math.sin(k * i)) },
          ],
          ['zero', { shape: [2, 2], data: new Float32Array(4) }],
          ['b', { shape: [3], data: Float32Array.of(k, 0.1, -k) }],
        ]),
    );
    const packed = packNetworks(networks);
    const again = unpackNetworks(new Map(Object.entries(packed)), 3);
    const scale = packed['scale.w'].data;
    const wide = (network: Map<string, { data: Float32Array }>) => (network.get('w') as { data: Float32Array }).data;
    for (const [k, network] of again.entries()) {
      expect(network.get('b')?.data).toEqual(networks[k].get('b')?.data);
      expect(network.get('zero')?.data).toEqual(new Float32Array(4));
      wide(network).forEach((value, i) => {
        const exact = wide(networks[k])[i];
        expect(Math.abs(value - exact)).toBeLessThanOrEqual(0.5001 * scale[Math.floor(i / 6)]);
      });
    }
  });

  it('the page computes on all cores but one where it is isolated, and on one elsewhere', () => {
    expect([threadsOf(true, 8), threadsOf(true, 1), threadsOf(true, Number.NaN), threadsOf(false, 8)]).toEqual([
      7, 1, 1, 1,
    ]);
  });
});

describe('a link', () => {
  it('restores all settings, and points within half of 1/4095 of the plane', () => {
    const { problem, view } = decodeSettings(`#${encodeSettings(changed)}`);
    expect(view).toEqual(changed.view);
    expect({ ...problem, from: undefined }).toEqual({ ...changed.problem, from: undefined });
    const found = (problem.from as { points: Float32Array }).points;
    expect(found).toHaveLength(100);
    found.forEach((value, i) => expect(Math.abs(value - 10 * Math.sin(i))).toBeLessThan(EXTENT / 4095 + 1e-6));
    // The same picture again: what was rounded stays.
    expect(encodeSettings({ problem, view })).toBe(encodeSettings(changed));
  });

  it(`holds at most ${LINKED_POINTS} points of a cloud`, () => {
    const many = { ...changed, problem: { ...changed.problem, from: { points: points(MOST_POINTS) } } };
    const text = encodeSettings(many);
    expect(text.length).toBeLessThan(12_000);
    expect((decodeSettings(text).problem.from as { points: Float32Array }).points).toHaveLength(2 * LINKED_POINTS);
  });

  it('that is cut, edited, or of another version is refused with a sentence', () => {
    const text = encodeSettings(changed);
    expect(() => decodeSettings(text.slice(0, -9))).toThrow('This link was cut or edited');
    expect(() => decodeSettings(text.replace(/e/, 'f'))).toThrow(LinkError);
    expect(() => decodeSettings(text.replace('v1.', 'v2.'))).toThrow('This link was made by another version');
    expect(() => decodeSettings('#something')).toThrow('This link does not hold a playground.');
    expect(() => decodeSettings(`${text}.${text}`)).toThrow('cut or edited');
    fc.assert(
      fc.property(fc.string(), (garbage) => {
        expect(() => decodeSettings(garbage)).toThrow(LinkError);
      }),
    );
  });

  it('with numbers out of range and unknown names is moved into range', () => {
    const hostile = {
      problem: {
        ...defaults.problem,
        width: 1e9,
        depth: -3,
        batch: Number.NaN,
        seed: 0.5,
        coupling: 'none',
        steps: 1e12,
      },
      view: {
        ...defaults.view,
        steps: 0,
        neighbours: 1e9,
        solver: '__proto__',
        tab: 99,
        time: -1,
        digitTo: 99,
        digitOwn: '<b>',
      },
    } as unknown as Settings;
    const { problem, view } = decodeSettings(encodeSettings(hostile));
    expect(problem).toMatchObject({ width: 128, depth: 1, batch: 256, seed: 1, coupling: 'random', steps: 20_000 });
    expect(view).toMatchObject({ steps: 1, neighbours: 600, solver: 'euler', tab: 4, time: 0, digitTo: 15 });
    expect(view.digitOwn).toHaveLength(64);
  });
});

describe('pasted points', () => {
  it('are read with commas, semicolons, tabs and spaces, after a line of names', () => {
    const expected = Float32Array.of(1.5, -2, 3, 4);
    for (const text of ['1.5,-2\n3,4', 'x;y\n1.5; -2\n3; 4\n', '# two\r\n1.5\t-2\r\n\r\n 3   4 '])
      expect(readPoints(text)).toEqual({ points: expected, note: undefined });
  });

  it('with text in them are refused by line', () => {
    expect(() => readPoints('1,2\n3,four')).toThrow('Line 2 should hold two numbers, x and y, but it reads "3,four".');
    expect(() => readPoints('1,2\n3,4,5')).toThrow('Line 2');
    expect(() => readPoints('1,Infinity\n2,3')).toThrow('Line 1');
    expect(() => readPoints('')).toThrow('Paste at least two points');
    expect(() => readPoints('x,y\nx,y')).toThrow('Line 2');
  });

  it('beyond 10,000 are thinned, and those outside of the plane are scaled, both with a note', () => {
    const many = readPoints(Array.from({ length: 100_000 }, (_, i) => `${Math.sin(i)},${Math.cos(i)}`).join('\n'));
    expect(many.points).toHaveLength(2 * MOST_POINTS);
    expect(many.note).toBe('The list has 100,000 points; 10,000 of them, evenly spaced, are used.');
    const far = readPoints('0,0\n1000,0\n0,500');
    expect(far.note).toMatch(/^The points were outside of the plane, so they are moved and scaled by 0.024\.$/);
    expect(Math.max(...far.points.map(Math.abs))).toBeLessThanOrEqual(EXTENT);
    expect([...readPoints('1e300,1e300\n-1e300,0').points].every(Number.isFinite)).toBe(true);
  });
});
