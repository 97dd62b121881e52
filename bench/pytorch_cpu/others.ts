// The other opponents, onnxruntime-node and TensorFlow.js in WebAssembly. They are not dependencies: they are installed next to the
// benchmarks at first use.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Comparison, torchSides } from './comparison.ts';
import { type LayerShape, layerFlops } from './layers.ts';
import type { TurnOptions } from './turns.ts';
import { Worker } from './worker.ts';

const FOLDER = fileURLToPath(new URL('../.opponents', import.meta.url));
const PACKAGES = ['onnxruntime-node@1.30.0', '@tensorflow/tfjs-core@4.22.0', '@tensorflow/tfjs-backend-wasm@4.22.0'];

/** @param say receives progress and errors @returns undefined if they cannot be installed */
export function startOthers(threads: number, say: (text: string) => void): Worker | undefined {
  if (!existsSync(join(FOLDER, 'node_modules')) && !install(say)) return undefined;
  const script = fileURLToPath(new URL('./engine/others.mjs', import.meta.url));
  const args = [script, '--folder', FOLDER, '--threads', String(threads)];
  return new Worker({ name: 'the worker of onnxruntime-node and TensorFlow.js', command: process.execPath, args });
}

function install(say: (text: string) => void): boolean {
  say(`installing ${PACKAGES.join(', ')} in bench/.opponents, once`);
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, 'package.json'), '{ "private": true }\n');
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...PACKAGES];
  const { status, error, stderr } = spawnSync('npm', args, { cwd: FOLDER, encoding: 'utf8' });
  if (status === 0) return true;
  rmSync(FOLDER, { recursive: true });
  say(`onnxruntime-node and TensorFlow.js cannot be installed: ${error?.message ?? stderr.trim().split('\n')[0]}`);
  return false;
}

/** The text for an opponent that is missing. */
export const ABSENT = 'not there';
export const OTHER_NAMES = ['onnxruntime-node', 'tfjs-backend-wasm'] as const;

/** The forward pass of one convolution against all opponents. */
export function convolutionComparison(
  shape: Extract<LayerShape, { op: 'conv' }>,
  batch: number,
  turns: TurnOptions,
): Comparison {
  const others = OTHER_NAMES.map((library) => [library, { worker: 'others', options: { library } }] as const);
  return {
    name: `others: conv ${shape.kernel}x${shape.kernel} ${shape.size}x${shape.size}x${shape.inputs} -> ${shape.outputs} b${batch}`,
    workload: { kind: 'layer', shape, batch, backward: false },
    opponents: { ...torchSides(['contiguous', 'channels_last']), ...Object.fromEntries(others) },
    flops: batch * layerFlops(shape),
    turns,
  };
}
