/** Cases of attention: one head with stored probabilities, and heads, masks and causal attention by blocks. */
import { attention } from '../../src/kernels/composed/attention.ts';
import { booleans, normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, defineCase } from './case.ts';

interface Tokens {
  samples: number;
  queries: number;
  keys: number;
  channels: number;
  values: number;
  heads?: number;
  mask?: number[];
}

const tokens = (
  samples: number,
  queries: number,
  keys: number,
  channels: number,
  values: number,
  rest: Pick<Tokens, 'heads' | 'mask'> = {},
): Tokens => ({ samples, queries, keys, channels, values, ...rest });

interface Variant {
  causal?: boolean;
  scale?: number;
}

function attentionCase(name: string, variant: Variant, check: Tokens[], more: Partial<Case<Tokens>> = {}): Case {
  return defineCase<Tokens>({
    op: 'attention',
    name,
    inputs: ({ samples, queries, keys, channels, values, mask }) => [
      normal([samples, queries, channels]),
      normal([samples, keys, channels]),
      normal([samples, keys, values]),
      ...(mask ? [booleans(mask)] : []),
    ],
    run: ([q, k, v, mask], { heads }) => attention(q, k, v, { ...variant, heads, mask }),
    reference: ([q, k, v, mask], { heads }) => reference.attention(q, k, v, { ...variant, heads, mask }),
    tolerance: {
      value: { absolute: 2e-6, ofLargest: 3e-6 },
      gradient: { absolute: 2e-6, ofLargest: 6e-6 },
      reason: 'two f32 products around a softmax',
    },
    check,
    flops: ({ samples, queries, keys, channels, values }) => 2 * samples * queries * keys * (channels + values),
    ...more,
  });
}

export const attentionCases: Case[] = [
  attentionCase(
    '',
    {},
    [
      tokens(1, 1, 1, 1, 1),
      tokens(2, 3, 5, 4, 6),
      tokens(1, 16, 16, 8, 8),
      tokens(2, 17, 33, 7, 9),
      tokens(1, 2, 70, 3, 5),
    ],
    {
      random: (pick) => tokens(pick(1, 3), pick(1, 18), pick(1, 18), pick(1, 12), pick(1, 12)),
      time: [tokens(4, 256, 256, 256, 256), tokens(4, 16, 16, 256, 256), tokens(16, 256, 256, 256, 256)],
    },
  ),
  attentionCase('scale 2', { scale: 2 }, [tokens(2, 4, 6, 3, 5)]),
  attentionCase('no samples', {}, [tokens(0, 4, 6, 3, 5)]),
  // Sizes around the blocks of 32 to 96 rows and 32 to 128 columns, and around vectors of channels.
  attentionCase(
    'heads',
    {},
    [
      tokens(1, 1, 1, 2, 2, { heads: 2 }),
      tokens(2, 3, 5, 8, 6, { heads: 2 }),
      tokens(1, 5, 150, 6, 9, { heads: 3 }),
      tokens(1, 110, 4, 10, 2, { heads: 2 }),
      tokens(1, 35, 34, 66, 34, { heads: 2 }),
      tokens(1, 2, 3, 4, 280, { heads: 2 }),
      tokens(0, 4, 6, 4, 4, { heads: 2 }),
    ],
    {
      random: (pick) => {
        const heads = pick(2, 4);
        return tokens(pick(1, 2), pick(1, 40), pick(1, 40), heads * pick(1, 9), heads * pick(1, 9), { heads });
      },
      time: [tokens(4, 1024, 1024, 512, 512, { heads: 8 }), tokens(4, 256, 256, 256, 256, { heads: 4 })],
    },
  ),
  attentionCase(
    'causal',
    { causal: true, scale: 0.7 },
    [
      tokens(1, 1, 1, 1, 1),
      tokens(2, 5, 5, 4, 6, { heads: 2 }),
      tokens(1, 3, 140, 3, 5),
      tokens(1, 130, 7, 3, 5),
      tokens(1, 40, 37, 6, 4, { heads: 2 }),
    ],
    {
      random: (pick) => {
        const heads = pick(1, 3);
        return tokens(pick(1, 2), pick(1, 40), pick(1, 40), heads * pick(1, 9), heads * pick(1, 9), { heads });
      },
      time: [tokens(4, 1024, 1024, 512, 512, { heads: 8 })],
    },
  ),
  attentionCase(
    'mask',
    {},
    [
      tokens(2, 3, 4, 4, 6, { heads: 2, mask: [2, 2, 3, 4] }),
      tokens(2, 3, 5, 4, 6, { mask: [3, 5] }),
      tokens(2, 5, 40, 6, 4, { heads: 2, mask: [2, 1, 1, 40] }),
      tokens(2, 37, 3, 6, 4, { heads: 2, mask: [2, 37, 1] }),
      tokens(2, 3, 5, 4, 6, { heads: 2, mask: [] }),
      tokens(2, 3, 5, 4, 6, { mask: [2, 1, 3, 1] }),
    ],
    {
      random: (pick) => {
        const heads = pick(1, 3);
        const [samples, queries, keys] = [pick(1, 2), pick(1, 36), pick(1, 36)];
        const full = [samples, heads, queries, keys].map((extent) => (pick(0, 2) === 0 ? 1 : extent));
        const mask = full.slice(pick(0, 4));
        return tokens(samples, queries, keys, heads * pick(1, 5), heads * pick(1, 5), { heads, mask });
      },
    },
  ),
  attentionCase('causal, mask', { causal: true }, [
    tokens(1, 4, 5, 4, 6, { heads: 2, mask: [4, 5] }),
    tokens(2, 6, 4, 3, 2, { mask: [2, 1, 1, 4] }),
    tokens(1, 36, 35, 4, 2, { heads: 2, mask: [2, 36, 35] }),
  ]),
];
