// Counter-based random numbers: Philox's published answers, the kernels against the host's twin bit by bit, and moments.
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { add } from '../../src/kernels/elementwise.ts';
import { groupNorm } from '../../src/kernels/group_norm.ts';
import { type DrawOptions, dropout, randn, uniform } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { Counter } from '../../src/tensor/counter.ts';
import { ones } from '../../src/tensor/create.ts';
import { fillNormals, normalBlock, philox4x32 } from '../../src/tensor/philox.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

/** Known answers of Random123's kat_vectors for philox4x32 with 10 rounds. */
const known = [
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
] as const;

test.each(known)('philox matches the known answer for %j %j', (counter, key, words) => {
  expect(philox4x32(counter, key)).toEqual([...words]);
});

/** The bits of randn([4, 16], { seed: 42 }), which every device, compiler and version of this package must reproduce. */
// biome-ignore format: eight per line
const pinned = [
  0xbf785e5a, 0x3e46aceb, 0xbf9e28cd, 0x3ff6433e, 0xbd95e014, 0x3e0e79fe, 0xbf8da732, 0x3ea7430a,
  0xbeac8648, 0xbf04ccb4, 0x3e1821e9, 0xbf7ec66f, 0xbec26cf0, 0xbf328692, 0xbf3fd08e, 0x3f361e54,
  0xbfd167b8, 0x3db96b0f, 0xbfcb0008, 0x3f6a2dcb, 0xbfd795a0, 0x3f8c3949, 0x3f22c3dc, 0xbf550bbc,
  0x4005899b, 0x3f9cb852, 0x3f847235, 0xbe3ad547, 0xbf8bd09a, 0x3e516302, 0xbee4af3a, 0xbf1cb5eb,
  0x3f7d6382, 0xbde3392a, 0xbf8ea67c, 0xbf250aa8, 0x3f42c23c, 0xbf4dd91a, 0x3f436205, 0x3d785985,
  0x3eebff0e, 0x3f931229, 0xbd8dd3bf, 0x3dee4542, 0xbf823fe1, 0xbd0de7b9, 0x3fc54b75, 0xbebdb971,
  0xbd42d859, 0xbf56e44f, 0xbf84f91b, 0xbe2f81f6, 0x3f17111a, 0xbed691bf, 0x3eb633c1, 0xbf5f5b1f,
  0xbdf60b97, 0x3fa66104, 0xbfc58905, 0x3d8e1f4b, 0x3f181438, 0x4000f408, 0x3fc5f500, 0xbf8760ee,
];

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  test('64 normals match their pinned bits', () => {
    using x = randn([4, 16], { device, seed: 42 });
    expect([...new Uint32Array((x.dataSync() as Float32Array).buffer)]).toEqual(pinned);
  });

  test('samples are counted from an origin in memory, for values and gradients', () => {
    using origin = new Counter(device);
    origin.set(2 ** 33 + 5);
    const counted = { seed: 3, first: 2, origin, stream: 9 };
    const plain = { seed: 3, first: 2 ** 33 + 7, stream: 9 };
    const drawn = (draw: DrawOptions) =>
      scope(() => {
        const x = randn([3, 40], { device, seed: 1, requiresGrad: true });
        const norm = { groups: 4, dropout: { ...draw, p: 0.4 } };
        const y = add(dropout(x, 0.3, draw), groupNorm(x, ones([40], { device }), ones([40], { device }), norm));
        sum(y).backward();
        const values = [randn([3, 5], { device, ...draw }), uniform([3, 5], { device, ...draw }), y, x.grad as Tensor];
        return values.map((t) => t.dataSync());
      });
    expect(drawn(counted)).toEqual(drawn(plain));
    origin.set(0);
    expect(drawn(counted)).not.toEqual(drawn(plain));
    expect(drawn(counted)).toEqual(drawn({ ...plain, first: 2 }));
  });

  test('normals are bit-identical to the host for any seed, sample and stream', () => {
    for (const [seed, first, stream] of [
      [0, 0, 0],
      [1234, 7, 3],
      [2 ** 40 + 5, 2 ** 33 + 1, 2 ** 31 + 9],
    ]) {
      using x = randn([3, 10], { device, seed, first, stream });
      const bits = new Uint32Array((x.dataSync() as Float32Array).buffer);
      for (let n = 0; n < 3; n++)
        for (let block = 0; block < 3; block++) {
          const i = first + n;
          const words = philox4x32(
            [block, i >>> 0, Math.floor(i / 2 ** 32), stream],
            [seed >>> 0, Math.floor(seed / 2 ** 32)],
          );
          const want = new Uint32Array(normalBlock(words).buffer).subarray(0, Math.min(4, 10 - 4 * block));
          expect(Array.from(bits.subarray(n * 10 + block * 4, n * 10 + block * 4 + want.length))).toEqual(
            Array.from(want),
          );
        }
      for (let n = 0; n < 3; n++) {
        const host = new Float32Array(10);
        fillNormals(host, seed, first + n, stream);
        expect(new Uint32Array(host.buffer)).toEqual(bits.slice(n * 10, n * 10 + 10));
      }
    }
  });

  test('a sample draws the same numbers in any batch', () => {
    using whole = randn([8, 33], { device, seed: 5 });
    using tail = randn([3, 33], { device, seed: 5, first: 5 });
    expect(Array.from(tail.dataSync())).toEqual(Array.from(whole.dataSync()).slice(5 * 33));
  });

  test('2^20 normals and uniforms have the expected moments', () => {
    const count = 2 ** 20;
    const moments = (values: ArrayLike<number>, order: number) => {
      let sum = 0;
      for (let i = 0; i < values.length; i++) sum += values[i] ** order;
      return sum / values.length;
    };
    using x = randn([4, count / 4], { device, seed: 11 });
    const normals = x.dataSync();
    for (const [order, want, deviation] of [
      [1, 0, 1],
      [2, 1, Math.SQRT2],
      [3, 0, Math.sqrt(15)],
      [4, 3, Math.sqrt(96)],
    ])
      expect(Math.abs(moments(normals, order) - want)).toBeLessThan((5 * deviation) / Math.sqrt(count));
    using u = uniform([4, count / 4], { device, seed: 12 });
    const values = u.dataSync();
    expect(Math.abs(moments(values, 1) - 1 / 2)).toBeLessThan((5 * Math.sqrt(1 / 12)) / Math.sqrt(count));
    expect(Math.abs(moments(values, 2) - 1 / 3)).toBeLessThan((5 * Math.sqrt(4 / 45)) / Math.sqrt(count));
    expect(values.every((value: number) => value >= 0 && value < 1)).toBe(true);
  });
});
