// A one-file program from each bundler without custom configuration, run where the package is not installed: kernels, the
// WebAssembly module and its threads come out of the bundle; koffi is installed next to it.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';
import { rollup } from 'rollup';
import * as vite from 'vite';
import { afterAll, beforeAll, expect, it } from 'vitest';
import webpack from 'webpack';
import { buildWasm } from '../support/wasm.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-bundlers-'));
const modules = join(folder, 'node_modules');
const installed = join(modules, 'rectiflow');
const entry = join(folder, 'program.mjs');

/** Imports every entry point except rectiflow/run, and convolves on two threads; conv.c includes headers from a parent folder. */
const program = `
import { conv2d, openDevice, randn } from 'rectiflow';
import 'rectiflow/fluent';
import * as data from 'rectiflow/data';
import * as evaluation from 'rectiflow/eval';
import * as flow from 'rectiflow/flow';
import * as io from 'rectiflow/io';
import * as nn from 'rectiflow/nn';
globalThis.all = [data, evaluation, flow, io, nn].map((entry) => Object.values(entry));
async function main() {
  for (const name of ['cpu', 'wasm']) {
    const device = await openDevice(name, { threads: 2 }).catch((error) => console.log(error.message));
    if (device === undefined) continue;
    const x = randn([2, 8, 8, 16], { device, seed: 1 });
    const w = randn([16, 3, 3, 16], { device, seed: 2 });
    console.log(name, conv2d(x, w, { padding: 1 }).sum().item(), x.square().mean().item());
  }
}
main();
`;
const alone = `
import { writeSafetensors } from 'rectiflow/io';
writeSafetensors('x.safetensors', new Map());
`;

type Format = 'esm' | 'cjs';
const ending = { esm: 'mjs', cjs: 'cjs' };
const formats: Format[] = ['esm', 'cjs'];

/** Writes the program as out/main.mjs or out/main.cjs. @returns the warnings of the bundler */
type Bundler = (out: string, format: Format) => Promise<string[]>;

async function byEsbuild(out: string, format: Format): Promise<string[]> {
  const outfile = join(out, `main.${ending[format]}`);
  const { warnings } = await esbuild.build({
    entryPoints: [entry],
    outfile,
    format,
    bundle: true,
    minify: true,
    platform: 'node',
    logLevel: 'silent',
  });
  return warnings.map(({ text }) => text);
}

async function byRollup(out: string, format: Format): Promise<string[]> {
  const warnings: string[] = [];
  // This does what the plugin node-resolve does with the names of the package; other packages stay external.
  const resolveId = (name: string) =>
    ours.test(name) ? join(installed, 'dist', name === 'rectiflow' ? 'index.js' : resolved(name)) : null;
  const bundle = await rollup({
    input: entry,
    external: (name) => !ours.test(name) && !/^[./]/.test(name),
    plugins: [{ name: 'resolve', resolveId }],
    onwarn: ({ code, message }) => {
      // This warning comes from the output of the TypeScript compiler.
      if (code !== 'THIS_IS_UNDEFINED' && code !== 'CIRCULAR_DEPENDENCY') warnings.push(message);
    },
  });
  await bundle.write({ dir: out, entryFileNames: `main.${ending[format]}`, format });
  return warnings;
}

/** The names of the package, and those that its own `imports` resolve. */
const ours = /^(rectiflow|#host\/|#texts\/)/;

/** rectiflow/nn -> nn/index.js; #host/device/texts -> device/texts.js. */
function resolved(name: string): string {
  if (name.startsWith('#texts/')) return name.slice(1);
  if (name.startsWith('#host/')) return `${name.slice('#host/'.length)}.js`;
  const path = name.slice('rectiflow/'.length);
  return path === 'fluent' ? 'fluent.js' : `${path}/index.js`;
}

async function byVite(out: string, format: Format, ssr: boolean): Promise<string[]> {
  const warnings: string[] = [];
  const logger = vite.createLogger('silent');
  logger.info = () => {};
  logger.warn = (text) => {
    // CommonJS has no import.meta; the engine works without it.
    if (!text.includes('EMPTY_IMPORT_META')) warnings.push(text);
  };
  await vite.build({
    configFile: false,
    root: folder,
    customLogger: logger,
    ssr: { noExternal: true },
    // Without it, vite builds a library for browsers.
    resolve: { conditions: ['node'] },
    build: {
      outDir: out,
      ...(ssr ? { ssr: entry } : { lib: { entry, formats: [format === 'esm' ? 'es' : 'cjs'] } }),
      rolldownOptions: {
        external: ssr ? [] : /^node:/,
        output: { format, entryFileNames: `main.${ending[format]}` },
      },
    },
  });
  return warnings;
}

function byWebpack(out: string, format: Format): Promise<string[]> {
  const output = { path: out, filename: `main.${ending[format]}` };
  return new Promise((resolve, reject) => {
    webpack(
      {
        mode: 'production',
        optimization: { minimize: false },
        target: 'node',
        entry,
        context: folder,
        // This is an optional package that is not installed.
        externals: { sharp: 'commonjs sharp' },
        ...(format === 'esm'
          ? { experiments: { outputModule: true }, output: { ...output, module: true, chunkFormat: 'module' } }
          : { output }),
      },
      (error, stats) => {
        const { errors = [], warnings = [] } = stats?.toJson({ all: false, errors: true, warnings: true }) ?? {};
        if (error || errors.length > 0) reject(error ?? new Error(errors[0].message));
        else resolve(warnings.map(({ message }) => message));
      },
    );
  });
}

const bundlers: Record<string, Bundler> = {
  esbuild: byEsbuild,
  rollup: byRollup,
  'vite for a server': (out, format) => byVite(out, format, true),
  'a library by vite': (out, format) => byVite(out, format, false),
  webpack: byWebpack,
};

function link(name: string): void {
  symlinkSync(join(root, 'node_modules', name), join(modules, name));
}

function run(file: string) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 60_000 });
  return { stdout, stderr, status };
}

let unbundled: ReturnType<typeof run>;

beforeAll(() => {
  buildWasm();
  mkdirSync(modules);
  cpSync(join(root, 'dist'), join(installed, 'dist'), {
    recursive: true,
    filter: (path) => !path.endsWith('/dist/gpu'),
  });
  for (const name of ['assets', 'package.json']) cpSync(join(root, name), join(installed, name), { recursive: true });
  link('koffi');
  writeFileSync(entry, program);
  unbundled = run(entry);
  expect(unbundled.stdout, unbundled.stderr).toMatch(/^cpu .*\nwasm .*\n$/);
}, 120_000);

afterAll(() => {
  rmSync(folder, { recursive: true });
});

const cases = Object.keys(bundlers).flatMap((name) => formats.map((format) => [name, format] as const));

it.each(cases)('%s, %s: the bundle is self-contained and gives the same bits', async (name, format) => {
  const out = join(folder, 'out', name, format);
  expect(await bundlers[name](out, format)).toEqual([]);
  const away = join(folder, 'away');
  renameSync(installed, away);
  try {
    expect(run(join(out, `main.${ending[format]}`))).toEqual(unbundled);
  } finally {
    renameSync(away, installed);
  }
});

it('a program that opens no device bundles no kernels', async () => {
  const outfile = join(folder, 'alone.mjs');
  await esbuild.build({
    stdin: { contents: alone, resolveDir: folder },
    outfile,
    format: 'esm',
    bundle: true,
    minify: true,
    platform: 'node',
  });
  expect(statSync(outfile).size).toBeLessThan(16_000);
});

it('without koffi the bundle names what to install, and computes on the device wasm', async () => {
  const bare = mkdtempSync(join(tmpdir(), 'rectiflow-bare-'));
  for (const format of formats) {
    await byEsbuild(bare, format);
    const { stdout } = run(join(bare, `main.${ending[format]}`));
    expect(stdout).toMatch(/^native devices need the package koffi: run `npm install koffi`\nwasm .*\n$/);
  }
  rmSync(bare, { recursive: true });
});
