// Builds dist: compiles TypeScript and writes one module with the package's text files, that is kernel sources, tuning
// tables and a worker's script.
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
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

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

writeFileSync(join(root, 'dist/device/texts.js'), textsModule());
rmSync(join(root, 'dist/device/texts.js.map'));
// The module that the wasm device imports must exist even if it was not built, so that bundlers resolve it.
const wasm = join(root, 'dist/wasm/kernels.js');
mkdirSync(dirname(wasm), { recursive: true });
if (!existsSync(wasm)) writeFileSync(wasm, 'export const packed = undefined;\n');

chmodSync(join(root, 'dist/cli/main.js'), 0o755);
await buildGpu();

/** The replacement of src/device/texts.ts: all text files by their paths below src. */
function textsModule() {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' });
  const entries = files
    .filter((file) => /\.(c|h|cu|cuh|cjs|json)$/.test(file))
    .map((file) => file.split(sep).join('/'))
    .sort()
    .map((file) => {
      const text = readFileSync(join(root, 'src', file), 'utf8').replace(/[\\`]|\$(?=\{)/g, '\\$&');
      return `  '${file}': \`${text}\`,\n`;
    });
  return `// Made by scripts/build.js of the files below src.
import { readFileSync } from 'node:fs';
const texts = {
${entries.join('')}};
export const textRoot = 'rectiflow:/';
export function readText(url) {
  if (url.protocol !== 'rectiflow:') return readFileSync(url, 'utf8');
  const text = texts[url.pathname.slice(1)];
  if (text === undefined) throw new Error(\`the package has no \${url.pathname}\`);
  return text;
}
`;
}

/** Whether no input is newer than the file that a build writes last. */
function isCurrent() {
  const last = statSync(join(root, 'dist/package.json'), { throwIfNoEntry: false });
  const files = ['src', 'test', 'bench', 'scripts/build.js', 'tsconfig.json', 'tsconfig.build.json', 'package.json'];
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
