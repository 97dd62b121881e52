// The settings and state that all blocks of one network share.

import { checkArgument, kind } from '../../arguments.ts';
import type { Nonlinearity } from '../activation.ts';
import { Initializer } from '../init.ts';
import type { DropoutState } from '../layers.ts';

export interface BlockContext {
  /** 'biggan': blocks resample and have 1x1 shortcuts; 'ddpm': resampling happens between blocks. */
  resblock: 'biggan' | 'ddpm';
  nonlinearity: Nonlinearity;
  /** Taps of the resampling filter; undefined for nearest neighbour and mean. */
  fir: readonly number[] | undefined;
  /** Channels of the time embedding. */
  embeddingChannels: number;
  dropout: number;
  dropoutState: DropoutState;
  /** Scale of the initialiser of the last convolution of a block. */
  initScale: number;
  /** Whether to divide the sum of a block and its shortcut by sqrt 2. */
  skipRescale: boolean;
  init: Initializer;
  /** The random stream of the next dropout layer. */
  streams: { next: number };
}

/** @throws ArgumentError for anything but a context, which a network creates for its blocks */
export function checkContext(block: string, context: BlockContext): void {
  checkArgument(block, 'context', context, contextKind);
}

const contextKind = kind('a BlockContext', (value) => {
  const { init, streams, dropoutState } = (value ?? {}) as Partial<BlockContext>;
  return init instanceof Initializer && typeof streams?.next === 'number' && typeof dropoutState === 'object';
});

/** The factor of the sum of a block and its shortcut. */
export const sumScale = ({ skipRescale }: Pick<BlockContext, 'skipRescale'>) => (skipRescale ? Math.SQRT1_2 : 1);
