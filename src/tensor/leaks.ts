// A leak report, not a memory manager: with RECTIFLOW_DEBUG set, standard error names each tensor that was garbage
// collected without having been disposed. The garbage collector does not see device memory, so it must not be relied
// on.
import { debugLevel, debugLine } from '../device/debug.ts';
import type { Storage } from './storage.ts';
import type { Tensor } from './tensor.ts';

let registry: FinalizationRegistry<{ storage: Storage; description: string; stack: string | undefined }> | undefined;

/** Read once per process, because this runs for every new tensor. */
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
