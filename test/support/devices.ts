/**
 * The devices under test: RECTIFLOW_TEST_DEVICES, a comma-separated list, `cpu` by default.
 * A device that is asked for and cannot be opened fails its tests; nothing is skipped silently.
 */
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';

export const deviceNames: readonly string[] = (process.env.RECTIFLOW_TEST_DEVICES ?? 'cpu')
  .split(',')
  .map((name) => name.trim())
  .filter((name) => name !== '');

if (deviceNames.length === 0) throw new Error('RECTIFLOW_TEST_DEVICES names no device');

/** Longer tests: every random property runs many more times. */
export const full = process.env.RECTIFLOW_TEST_FULL === '1';

/** Opens a device under test, or fails with what to change. */
export async function openTestDevice(name: string): Promise<Device> {
  try {
    return await openDevice(name as Parameters<typeof openDevice>[0]);
  } catch (cause) {
    throw new Error(`device '${name}' of RECTIFLOW_TEST_DEVICES does not open: ${(cause as Error).message}`, { cause });
  }
}
