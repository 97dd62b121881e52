// Written by `npm run gpu:sweep`. No card was swept yet: tiles are chosen by arithmetic (sm_90a.ts).
import type { MeasuredTiles } from './sm_90a.ts';

export const measuredTiles: MeasuredTiles = { forward: {}, input: {}, weight: {} };
