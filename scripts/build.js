// Builds dist: compiles TypeScript and writes the package's text files as modules (texts.js).
// dist/wasm belongs to `npm run build:wasm` and stays; a module older than the kernels is refused when it is opened.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { embedTexts } from './texts.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');

// npm runs `prepare` again for npx and before tests; a current build is kept.
if (process.argv.includes('--unless-current') && isCurrent()) process.exit(0);

for (const name of existsSync(join(root, 'dist')) ? readdirSync(join(root, 'dist')) : [])
  if (name !== 'wasm') rmSync(join(root, 'dist', name), { recursive: true });

// `npm run check` checks types; skipping them makes the build faster.
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--noCheck'], {
  cwd: root,
  stdio: 'inherit',
});
if (status !== 0) process.exit(1);

// TypeScript rewrites import extensions in JavaScript but not in declarations, where other tools do not resolve ./x.ts to x.d.ts.
for (const file of readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' }))
  if (file.endsWith('.d.ts')) {
    const path = join(root, 'dist', file);
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, text.replace(/((?:from |import |import\(|declare module )(["'])\.[^"']*)\.ts\2/g, '$1.js$2'));
  }

await embedTexts(root);
// The module that the wasm device imports must exist even if it was not built, so that bundlers resolve it.
const wasm = join(root, 'dist/wasm/kernels.js');
mkdirSync(dirname(wasm), { recursive: true });
if (!existsSync(wasm)) writeFileSync(wasm, 'export const packed = undefined;\n');

chmodSync(join(root, 'dist/cli/main.js'), 0o755);
await buildGpu();

/** Whether no input is newer than the file that a build writes last. */
function isCurrent() {
  const last = statSync(join(root, 'dist/package.json'), { throwIfNoEntry: false });
  const files = [
    'src',
    'test',
    'bench',
    'scripts/build.js',
    'scripts/texts.js',
    'tsconfig.json',
    'tsconfig.build.json',
    'package.json',
  ];
  const younger = (path) => {
    const stat = statSync(path);
    // A folder's own time changes when files are removed.
    if (stat.mtimeMs > last.mtimeMs) return true;
    return stat.isDirectory() && readdirSync(path).some((name) => younger(join(path, name)));
  };
  return last !== undefined && !files.some((name) => younger(join(root, name)));
}

/** `npm run gpu`, with the tests' op cases and golden networks, PyTorch's scripts, and what it was built from. */
async function buildGpu() {
  const { default: ts } = await import('typescript');
  const { compilerOptions } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8'));
  const { options } = ts.convertCompilerOptionsFromJson(
    { ...compilerOptions, noEmit: false, module: 'esnext', moduleResolution: 'bundler' },
    root,
  );
  const gpu = join(root, 'dist/gpu');
  const files = [
    'cases.ts',
    'gpu/checks.ts',
    'support/check.ts',
    'support/compare.ts',
    'support/family.ts',
    'support/host_draws.ts',
    'support/random.ts',
  ];
  for (const folder of ['cases', 'support/reference'])
    files.push(...readdirSync(join(root, 'test', folder)).map((name) => join(folder, name)));
  /** @param sources how imports of src/ begin in the source and in the built file */
  const transpile = (from, to, sources) => {
    const { outputText } = ts.transpileModule(readFileSync(from, 'utf8'), { compilerOptions: options });
    mkdirSync(dirname(to), { recursive: true });
    writeFileSync(
      to,
      outputText.replace(new RegExp(`(from ['"])((?:\\.\\./)*)${sources[0]}`, 'g'), `$1$2${sources[1]}`),
    );
  };
  for (const file of files)
    transpile(join(root, 'test', file), join(gpu, 'test', file.replace(/ts$/, 'js')), ['\\.\\./src/', '../../']);
  for (const file of readdirSync(join(root, 'bench/gpu')))
    if (file.endsWith('.ts'))
      transpile(join(root, 'bench/gpu', file), join(gpu, file.replace(/ts$/, 'js')), ['\\.\\./\\.\\./src/', '../']);
    else cpSync(join(root, 'bench/gpu', file), join(gpu, file));
  const fixtures = join(root, 'test/fixtures/nn');
  const { readNpz } = await import('../dist/io/index.js');
  const arrays = [...(await readNpz(join(fixtures, 'family.npz')))].filter(([name]) => !name.endsWith('/keys'));
  const golden = {
    family: JSON.parse(readFileSync(join(fixtures, 'family.json'), 'utf8')),
    arrays: Object.fromEntries(
      arrays.map(([name, { data }]) => [name, Buffer.from(Float32Array.from(data).buffer).toString('base64')]),
    ),
  };
  writeFileSync(join(gpu, 'test/golden.json'), JSON.stringify(golden));
  cpSync(join(root, 'bench/pytorch'), join(gpu, 'pytorch'), { recursive: true });
  const { provenance } = await import('../dist/run/machine/provenance.js');
  writeFileSync(join(gpu, 'about.json'), JSON.stringify(provenance()));
  // dist must be a folder of ES modules even when it is copied on its own.
  writeFileSync(join(root, 'dist/package.json'), '{ "type": "module" }\n');
}
