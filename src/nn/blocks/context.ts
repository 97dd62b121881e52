// What all blocks of one network share.
import type { Nonlinearity } from '../activation.ts';
import type { Initializer } from '../init.ts';
import type { DropoutState } from '../layers.ts';

export interface BlockContext {
  /** 'biggan': blocks resample and have 1x1 shortcuts; 'ddpm': resampling is done between blocks. */
  resblock: 'biggan' | 'ddpm';
  nonlinearity: Nonlinearity;
  /** Taps of the filter of all resampling; undefined for nearest and mean. */
  fir: readonly number[] | undefined;
  /** Channels of the time embedding. */
  embeddingChannels: number;
  dropout: number;
  dropoutState: DropoutState;
  /** Scale of the initialiser of the last convolution of a block. */
  initScale: number;
  /** Divide the sum of a block and its shortcut by sqrt 2. */
  skipRescale: boolean;
  init: Initializer;
  /** Streams of the dropout layers made so far. */
  streams: { next: number };
}

/** Factor of the sum of a block and its shortcut. */
export const sumScale = ({ skipRescale }: Pick<BlockContext, 'skipRescale'>) => (skipRescale ? Math.SQRT1_2 : 1);
