// Loads the checks that the build puts next to this program: the tests' op cases and golden networks.
import type { Device, Precision } from '../../src/device/device.ts';

export interface Check {
  name: string;
  /** @throws Error saying what differs and by how much */
  run(device: Device): Promise<void> | void;
}

/** A case at one size to time: creates its operands on the device and returns the work with its operation and byte counts. */
export interface Timing {
  name: string;
  prepare(device: Device): { forward: () => void; flops?: number; bytes?: number; dispose: () => void };
}

/** The exports of test/gpu/checks.ts. */
export interface Checks {
  opChecks(precision: Precision): Check[];
  goldenChecks(precision: Precision): Check[];
  timings(): Timing[];
}

/** @throws Error if the build is incomplete */
export async function loadChecks(): Promise<Checks> {
  return (await import(new URL('./test/gpu/checks.js', import.meta.url).href)) as Checks;
}
