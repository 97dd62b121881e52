// The layout of torchvision's make_grid, worked out by hand.
import { describe, expect, it } from 'vitest';
import { ValueError } from '../../src/errors.ts';
import { imageGrid } from '../../src/io/index.ts';

describe('imageGrid', () => {
  it('lays out three 1 x 2 images in two columns, two black pixels apart', () => {
    const grid = imageGrid(Uint8Array.of(1, 2, 3, 4, 5, 6), [3, 1, 2, 1], { columns: 2 });
    expect([grid.width, grid.height, grid.channels]).toEqual([10, 8, 1]);
    const rows = Array.from({ length: 8 }, (_, y) => [...grid.data.subarray(10 * y, 10 * y + 10)].join(' '));
    const black = '0 0 0 0 0 0 0 0 0 0';
    expect(rows).toEqual([black, black, '0 0 1 2 0 0 3 4 0 0', black, black, '0 0 5 6 0 0 0 0 0 0', black, black]);
  });

  it('puts floor(sqrt(N)) images in a row', () => {
    const grid = imageGrid(new Uint8Array(10 * 12), [10, 2, 2, 3]);
    expect([grid.width, grid.height]).toEqual([3 * 4 + 2, 4 * 4 + 2]);
  });

  it('repeats pixels, not the padding', () => {
    const grid = imageGrid(Uint8Array.of(1, 2), [2, 1, 1, 1], { columns: 2, padding: 1, scale: 2 });
    expect([grid.width, grid.height]).toEqual([7, 4]);
    expect([...grid.data.subarray(7, 14)]).toEqual([0, 1, 1, 0, 2, 2, 0]);
    expect([...grid.data.subarray(14, 21)]).toEqual([0, 1, 1, 0, 2, 2, 0]);
  });

  it('leaves a single image as it is', () => {
    expect(imageGrid(Uint8Array.of(9), [1, 1, 1, 1])).toEqual({
      width: 1,
      height: 1,
      channels: 1,
      data: Uint8Array.of(9),
    });
  });

  it('refuses sizes that do not match the data', () => {
    expect(() => imageGrid(new Uint8Array(5), [2, 1, 1, 3])).toThrow(ValueError);
    expect(() => imageGrid(new Uint8Array(0), [0, 1, 1, 3])).toThrow(ValueError);
    expect(() => imageGrid(new Uint8Array(3), [1, 1, 1, 3], { scale: 0.5 })).toThrow(
      /scale to be a whole number >= 1, got 0.5/,
    );
  });
});
