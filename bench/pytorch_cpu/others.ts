// The other opponents, onnxruntime-node and TensorFlow.js in WebAssembly: packages that are installed beside the benches when
// they are first asked for, and are no dependencies of this one.
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

/** @param say told what takes long, and why they are not there @returns undefined where they cannot be installed */
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

/** What is said of an opponent that is not there. */
export const ABSENT = 'not there';
export const OTHER_NAMES = ['onnxruntime-node', 'tfjs-backend-wasm'] as const;

/** One convolution, forward, against everybody. */
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
