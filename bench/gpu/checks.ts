// The checks that the build puts beside this program: the op cases and golden networks of the tests, which src must not import.
import type { Device, Precision } from '../../src/device/device.ts';

export interface Check {
  name: string;
  /** @throws Error saying what differs and by how much */
  run(device: Device): Promise<void> | void;
}

/** A case at one of its sizes to time: makes its operands on the device and gives the work, with what it takes. */
export interface Timing {
  name: string;
  prepare(device: Device): { forward: () => void; flops?: number; bytes?: number; dispose: () => void };
}

/** What test/gpu/checks.ts exports. */
export interface Checks {
  opChecks(precision: Precision): Check[];
  goldenChecks(precision: Precision): Check[];
  timings(): Timing[];
}

/** @throws Error where the build is not whole */
export async function loadChecks(): Promise<Checks> {
  return (await import(new URL('./test/gpu/checks.js', import.meta.url).href)) as Checks;
}
