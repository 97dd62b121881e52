// A leak report, never a memory manager: with RECTIFLOW_DEBUG set, a tensor that was collected without having been
// disposed is named on standard error. Garbage collection does not see device memory, so it cannot be relied on.
import { debugLevel, debugLine } from '../device/debug.ts';
import type { Storage } from './storage.ts';
import type { Tensor } from './tensor.ts';

let registry: FinalizationRegistry<{ storage: Storage; description: string; stack: string | undefined }> | undefined;

/** Asked once a process: every tensor that is made comes by here. */
let level: number | undefined;

export function trackLeaks(tensor: Tensor): void {
  level ??= debugLevel();
  if (level === 0) return;
  registry ??= new FinalizationRegistry(({ storage, description, stack }) => {
    if (storage.references > 0)
      debugLine(1, `leak: ${description} was never disposed${stack ? `; made at\n${stack}` : ''}`);
  });
  const stack = level >= 2 ? new Error('made here').stack : undefined;
  registry.register(tensor, { storage: tensor.storage, description: tensor.describe(), stack });
}
