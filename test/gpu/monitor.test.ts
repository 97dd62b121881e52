// The monitor of the card's clock on a machine without nvidia-smi.
import { ChildProcess } from 'node:child_process';
import { afterEach, expect, test, vi } from 'vitest';
import { CardMonitor } from '../../bench/gpu/monitor.ts';

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

test('sends no signal if it is closed before the system says that nvidia-smi is absent', async () => {
  vi.stubEnv('PATH', '/nowhere');
  const kill = vi.spyOn(ChildProcess.prototype, 'kill').mockReturnValue(true);
  const monitor = new CardMonitor('0');
  monitor.close();
  // Node never set the process id that it would use then. Often it is 0, which stands for the own process group.
  expect(kill).not.toHaveBeenCalled();
  await vi.waitFor(() => expect(monitor.absent).toBe('nvidia-smi is not installed'));
});
