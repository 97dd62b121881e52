// The convolutions of the FID Inception-v3 by PyTorch's names, in the order of its state dict. A batch norm follows
// each.

export interface InceptionConv {
  inputs: number;
  outputs: number;
  /** [height, width] */
  kernel: readonly [number, number];
  stride: number;
  /** [vertical, horizontal] */
  padding: readonly [number, number];
}

type Row = readonly [name: string, inputs: number, outputs: number, kernel: string, stride?: number];

/** Kernels "h x w" with the padding that preserves height and width, or with "valid" without padding. */
const stem: Row[] = [
  ['Conv2d_1a_3x3', 3, 32, '3x3 valid', 2],
  ['Conv2d_2a_3x3', 32, 32, '3x3 valid'],
  ['Conv2d_2b_3x3', 32, 64, '3x3'],
  ['Conv2d_3b_1x1', 64, 80, '1x1'],
  ['Conv2d_4a_3x3', 80, 192, '3x3 valid'],
];

const blockA = (inputs: number, pooled: number): Row[] => [
  ['branch1x1', inputs, 64, '1x1'],
  ['branch5x5_1', inputs, 48, '1x1'],
  ['branch5x5_2', 48, 64, '5x5'],
  ['branch3x3dbl_1', inputs, 64, '1x1'],
  ['branch3x3dbl_2', 64, 96, '3x3'],
  ['branch3x3dbl_3', 96, 96, '3x3'],
  ['branch_pool', inputs, pooled, '1x1'],
];

const blockB = (inputs: number): Row[] => [
  ['branch3x3', inputs, 384, '3x3 valid', 2],
  ['branch3x3dbl_1', inputs, 64, '1x1'],
  ['branch3x3dbl_2', 64, 96, '3x3'],
  ['branch3x3dbl_3', 96, 96, '3x3 valid', 2],
];

const blockC = (inputs: number, inner: number): Row[] => [
  ['branch1x1', inputs, 192, '1x1'],
  ['branch7x7_1', inputs, inner, '1x1'],
  ['branch7x7_2', inner, inner, '1x7'],
  ['branch7x7_3', inner, 192, '7x1'],
  ['branch7x7dbl_1', inputs, inner, '1x1'],
  ['branch7x7dbl_2', inner, inner, '7x1'],
  ['branch7x7dbl_3', inner, inner, '1x7'],
  ['branch7x7dbl_4', inner, inner, '7x1'],
  ['branch7x7dbl_5', inner, 192, '1x7'],
  ['branch_pool', inputs, 192, '1x1'],
];

const blockD = (inputs: number): Row[] => [
  ['branch3x3_1', inputs, 192, '1x1'],
  ['branch3x3_2', 192, 320, '3x3 valid', 2],
  ['branch7x7x3_1', inputs, 192, '1x1'],
  ['branch7x7x3_2', 192, 192, '1x7'],
  ['branch7x7x3_3', 192, 192, '7x1'],
  ['branch7x7x3_4', 192, 192, '3x3 valid', 2],
];

const blockE = (inputs: number): Row[] => [
  ['branch1x1', inputs, 320, '1x1'],
  ['branch3x3_1', inputs, 384, '1x1'],
  ['branch3x3_2a', 384, 384, '1x3'],
  ['branch3x3_2b', 384, 384, '3x1'],
  ['branch3x3dbl_1', inputs, 448, '1x1'],
  ['branch3x3dbl_2', 448, 384, '3x3'],
  ['branch3x3dbl_3a', 384, 384, '1x3'],
  ['branch3x3dbl_3b', 384, 384, '3x1'],
  ['branch_pool', inputs, 192, '1x1'],
];

const blocks: Record<string, Row[]> = {
  Mixed_5b: blockA(192, 32),
  Mixed_5c: blockA(256, 64),
  Mixed_5d: blockA(288, 64),
  Mixed_6a: blockB(288),
  Mixed_6b: blockC(768, 128),
  Mixed_6c: blockC(768, 160),
  Mixed_6d: blockC(768, 160),
  Mixed_6e: blockC(768, 192),
  Mixed_7a: blockD(768),
  Mixed_7b: blockE(1280),
  Mixed_7c: blockE(2048),
};

/** The convolutions by name: `Conv2d_1a_3x3`, `Mixed_5b.branch1x1`. */
export const inceptionConvs: ReadonlyMap<string, InceptionConv> = new Map([
  ...stem.map(entryOf),
  ...Object.entries(blocks).flatMap(([block, rows]) =>
    rows.map(([name, ...rest]) => entryOf([`${block}.${name}`, ...rest])),
  ),
]);

function entryOf([name, inputs, outputs, description, stride = 1]: Row): [string, InceptionConv] {
  const [size, valid] = description.split(' ');
  const [height, width] = size.split('x').map(Number);
  const padding = valid ? ([0, 0] as const) : ([(height - 1) / 2, (width - 1) / 2] as const);
  return [name, { inputs, outputs, kernel: [height, width], stride, padding }];
}
