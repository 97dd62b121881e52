// Checks that both sides compute the same: the velocity and gradients of one network from the same weights.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../../src/run/config/index.ts';
import type { Workers } from './comparison.ts';

export interface NetworkDifference {
  /** Parameter counts of our network and PyTorch's. */
  parameters: [number, number];
  /** RMS of the difference relative to the RMS of PyTorch's values. */
  velocity: number;
  gradients: number;
}

export async function networkDifference(config: Config, { engine, torch }: Workers): Promise<NetworkDifference> {
  const batch = 2;
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-same-'));
  try {
    const [input, ours, theirs] = ['input', 'ours', 'theirs'].map((name) => join(folder, name));
    const ask = (side: typeof engine, output: string) =>
      side.ask<{ parameters: number }>('evaluate', { config, batch, input, output });
    const parameters: NetworkDifference['parameters'] = [
      (await ask(engine, ours)).parameters,
      (await ask(torch, theirs)).parameters,
    ];
    const [a, b] = [ours, theirs].map((path) => new Float32Array(new Uint8Array(readFileSync(path)).buffer));
    const { image_size: size, num_channels: channels } = config.data;
    const values = batch * size * size * channels;
    return {
      parameters,
      velocity: relativeError(a.subarray(0, values), b.subarray(0, values)),
      gradients: relativeError(a.subarray(values), b.subarray(values)),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Tolerance. Single precision over about forty layers with fast convolutions stays below a tenth of it. */
const ALLOWED = 1e-3;

/** @throws Error saying where the networks differ */
export async function requireSameNetwork(config: Config, workers: Workers): Promise<NetworkDifference> {
  const found = await networkDifference(config, workers);
  const [ours, theirs] = found.parameters;
  if (ours !== theirs) throw new Error(`our network has ${ours} parameters, PyTorch's ${theirs}`);
  for (const what of ['velocity', 'gradients'] as const)
    if (!(found[what] <= ALLOWED))
      throw new Error(`the ${what} of our network and PyTorch's differ by ${found[what]} of them, allowed ${ALLOWED}`);
  return found;
}

function relativeError(values: Float32Array, expected: Float32Array): number {
  if (values.length !== expected.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let total = 0;
  for (let i = 0; i < values.length; i++) {
    difference += (values[i] - expected[i]) ** 2;
    total += expected[i] ** 2;
  }
  return Math.sqrt(difference / total);
}
