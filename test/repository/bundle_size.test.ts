// What a bundle of a small program contains, and its size: minified by esbuild, compressed by gzip, for the device cpu. The code of
// the other devices is imported when they are opened, so a bundler puts it into files of its own.
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import * as esbuild from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-size-'));
const installed = join(folder, 'node_modules/rectiflow');

const program = `
import { mean, openDevice, randn, square, sub } from 'rectiflow';
import { Adam, MLP } from 'rectiflow/nn';
await openDevice('cpu');
const network = new MLP([2, 64, 1]);
const optimizer = new Adam(network, { learningRate: 1e-3 });
const x = randn([8, 2], { seed: 1 });
for (let i = 0; i < 9; i++) optimizer.minimize(() => mean(square(sub(network.forward(x), 1))));
`;

const withoutOtherDevices: esbuild.Plugin = {
  name: 'without the devices wasm and cuda',
  setup: (build) =>
    build.onResolve({ filter: /^\./ }, ({ kind, path }) =>
      kind === 'dynamic-import' ? { path, external: true } : undefined,
    ),
};

const withoutTexts: esbuild.Plugin = {
  name: 'without texts',
  setup: (build) =>
    build.onLoad({ filter: /\/dist\/texts\/.*\.(c|h|cu|cuh|cjs|json)\.js$/ }, () => ({
      contents: `export default ''`,
    })),
};

/** @returns bytes after gzip, and the files of dist whose code is in the bundle */
async function bundle(contents: string, plugins: esbuild.Plugin[] = []): Promise<{ bytes: number; files: string[] }> {
  const { outputFiles, metafile } = await esbuild.build({
    stdin: { contents, resolveDir: folder },
    outfile: join(folder, 'main.mjs'),
    format: 'esm',
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    platform: 'node',
    external: ['koffi'],
    logLevel: 'error',
    plugins: [withoutOtherDevices, ...plugins],
  });
  const [{ inputs }] = Object.values(metafile.outputs);
  const files = Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  return {
    bytes: gzipSync(outputFiles[0].contents, { level: 9 }).length,
    files: files.map(([path]) => path.replace(/^.*\/dist\//, '')).sort(),
  };
}

/** The families of ops: the files at the top of kernels. */
const familiesOf = (files: string[]) => files.filter((file) => /^kernels\/\w+\.js$/.test(file));

beforeAll(() => {
  mkdirSync(installed, { recursive: true });
  // dist/package.json is not part of the package.
  cpSync(join(root, 'dist'), join(installed, 'dist'), {
    recursive: true,
    filter: (path) => !/\/dist\/(gpu|wasm|package\.json)$/.test(path),
  });
  cpSync(join(root, 'package.json'), join(installed, 'package.json'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

it('a network trained by Adam: at most 40 kB of code, 80 kB with the kernel sources that it reaches', async () => {
  expect((await bundle(program, [withoutTexts])).bytes).toBeLessThan(40_000);
  expect((await bundle(program)).bytes).toBeLessThan(80_000);
});

it('that bundle contains the families of ops that the program uses, and no others', async () => {
  const { files } = await bundle(program);
  const families = ['cast', 'elementwise', 'matmul', 'movement', 'op', 'random', 'reduce'];
  expect(familiesOf(files)).toEqual(families.map((name) => `kernels/${name}.js`));
  const sources = files.filter((file) => /^texts\/kernels\/\w+\.cu?\.js$/.test(file));
  const compiled = ['cast', 'elementwise', 'integer', 'matmul', 'movement', 'random', 'reduce'];
  expect(sources).toEqual(compiled.flatMap((name) => [`texts/kernels/${name}.c.js`, `texts/kernels/${name}.cu.js`]));
});

it('a sum of tensors contains no family but those of sums and views', async () => {
  const { files } = await bundle(`
    import { add, openDevice, tensor } from 'rectiflow';
    await openDevice('cpu');
    console.log(add(tensor([1]), 2).item());
  `);
  expect(familiesOf(files)).toEqual(['elementwise', 'movement', 'op'].map((name) => `kernels/${name}.js`));
});
