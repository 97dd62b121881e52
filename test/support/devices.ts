// The devices under test: RECTIFLOW_TEST_DEVICES, a comma-separated list, `cpu,cuda-emulated` by default.
// A requested device that cannot be opened fails its tests; nothing is skipped silently.
// `wasm` is not among them by default: `ops/wasm` runs the case table on it, `device/wasm` and `run/wasm` the rest.
// `cuda-emulated` is the device cuda on the fakes of test/fakecuda, with guard pages around every tensor.
import { readFileSync } from 'node:fs';
import { type Device, type Precision, precisions } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import { fakeCuda } from './fakecuda.ts';
import { buildWasm } from './wasm.ts';

export const deviceNames: readonly string[] = (process.env.RECTIFLOW_TEST_DEVICES ?? 'cpu,cuda-emulated')
  .split(',')
  .map((name) => name.trim())
  .filter((name) => name !== '');

if (deviceNames.length === 0) throw new Error('RECTIFLOW_TEST_DEVICES names no device');
if (deviceNames.includes('cuda') && deviceNames.includes('cuda-emulated'))
  throw new Error('one process has one CUDA driver: name cuda or cuda-emulated in RECTIFLOW_TEST_DEVICES, not both');

/** A device and the options with which a test opens it. */
export interface DeviceMode {
  name: string;
  precision: Precision;
  exact: boolean;
  /** The instruction set of the device cpu; by default that of the processor. */
  march?: string;
  /** The name in test titles. */
  label: string;
}

/** Lesser instruction sets that the processor can run, whose kernels use other vectors and tiles. */
export const lesserSets: readonly string[] = process.arch === 'x64' ? ['x86-64-v3', 'x86-64-v2'].filter(runs) : [];

function runs(march: string): boolean {
  const asked = march === 'x86-64-v3' ? /\b(?=.*\bavx2\b)(?=.*\bfma\b)/ : /\bsse4_2\b/;
  try {
    return asked.test(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return false;
  }
}

/** Each device in each precision that it supports, with and without fast convolution algorithms where it has any. */
export const deviceModes: readonly DeviceMode[] = deviceNames.flatMap((name): DeviceMode[] =>
  name.startsWith('cuda')
    ? precisions.map((precision) => ({ name, precision, exact: true, label: `${name} in ${precision}` }))
    : [false, true].map((exact) => ({ name, precision: 'fp32', exact, label: exact ? `${name}, exact` : name })),
);

/** The device cpu with the kernels of other processors, including fast convolution algorithms. */
export const lesserModes: readonly DeviceMode[] = deviceNames.includes('cpu')
  ? lesserSets.map((march) => ({ name: 'cpu', precision: 'fp32', exact: false, march, label: `cpu as ${march}` }))
  : [];

/** Whether to run the longer tests: every random property runs many more times. */
export const full = process.env.RECTIFLOW_TEST_FULL === '1';

/** Opens a device under test, or fails with a remedy. */
export async function openTestDevice(
  name: string,
  { precision, exact, march }: Partial<DeviceMode> = {},
): Promise<Device> {
  try {
    if (name === 'wasm') buildWasm();
    if (name !== 'cuda-emulated') return await openDevice(name, { precision, exact, march });
    Object.assign(process.env, fakeCuda(), { RECTIFLOW_CUDA_CACHING: '0' });
    return await openDevice('cuda', { precision });
  } catch (cause) {
    throw new Error(`device '${name}' of RECTIFLOW_TEST_DEVICES does not open: ${(cause as Error).message}`, { cause });
  }
}
