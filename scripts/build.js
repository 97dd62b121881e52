// Builds dist: compiles TypeScript, writes the package's text files as modules (texts.js), bundles libraries (vendor.js)
// and drops what no user needs (shrink.js).
// dist/wasm stays if it is current; a module older than the kernels is refused when it is opened. dist/playground is the page that
// build_playground.js makes.
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
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dropTypesOfZod, dropUnreachedDeclarations, shrinkJavaScript } from './shrink.js';
import { embedTexts } from './texts.js';
import { bundleVendors } from './vendor.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');

// npm runs this after an install, before `npm start` and before tests; a current build is kept.
if (process.argv.includes('--unless-current') && isCurrent()) {
  await packWasm();
  process.exit(0);
}

for (const name of existsSync(join(root, 'dist')) ? readdirSync(join(root, 'dist')) : [])
  if (name !== 'wasm' && name !== 'playground') rmSync(join(root, 'dist', name), { recursive: true });

// `npm run check` checks types; skipping them makes the build faster.
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--noCheck'], {
  cwd: root,
  stdio: 'inherit',
});
if (status !== 0) process.exit(1);

const { default: ts } = await import('typescript');

for (const file of readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' })) {
  const path = join(root, 'dist', file);
  // TypeScript rewrites import extensions in JavaScript but not in declarations, where other tools do not resolve ./x.ts to x.d.ts.
  if (file.endsWith('.d.ts'))
    edit(path, (text) => text.replace(/((?:from |import |import\(|declare module )(["'])\.[^"']*)\.ts\2/g, '$1.js$2'));
  else if (file.endsWith('.js'))
    edit(path, (text) =>
      text.replace(/ from "tslib";/, ` from "${'../'.repeat(file.split(/[\\/]/).length - 1) || './'}using.js";`),
    );
}
writeUsing();
markPureCalls();
nameHostModules();

dropTypesOfZod(ts, root);
await embedTexts(root);
await bundleVendors(root);
await shrinkJavaScript(root);
dropUnreachedDeclarations(root);
await packWasm();

chmodSync(join(root, 'dist/cli/main.js'), 0o755);
await buildGpu();

/** Packs the module of the device wasm, which `npm run build:wasm` builds and the repository holds. */
async function packWasm() {
  const { isPacked, packedModule } = await import('../dist/device/wasm_package.js');
  const binary = readFileSync(join(root, 'wasm/kernels.wasm'));
  const path = join(root, 'dist/wasm/kernels.js');
  if (existsSync(path) && isPacked(readFileSync(path, 'utf8'), binary)) return;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, packedModule(binary));
}

function edit(path, change) {
  const text = readFileSync(path, 'utf8');
  const changed = change(text);
  if (changed !== text) writeFileSync(path, changed);
}

/** Writes the helpers that `using` compiles to into one module, because TypeScript offers either tslib or a copy in each file. */
function writeUsing() {
  const target = ts.ScriptTarget.ES2022;
  const { outputText } = ts.transpileModule('{ using x = null; }', { compilerOptions: { target } });
  const [helpers] = outputText.match(/^var __addDisposableResource [\s\S]*?^\}\)\([\s\S]*?^\}\);$/m);
  const names = [...helpers.matchAll(/^var (\w+)/gm)].map(([, name]) => name);
  writeFileSync(join(root, 'dist/using.js'), `${helpers}\nexport { ${names.join(', ')} };\n`);
}

/**
 * Marks the calls that make a constant by a function with @__NO_SIDE_EFFECTS__ as pure. Bundlers drop them where the constant
 * is unused; esbuild does so for functions of other files only if the call is marked.
 */
function markPureCalls() {
  const files = readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.js$/.test(file),
  );
  const annotated = (text) =>
    [...text.matchAll(/@__NO_SIDE_EFFECTS__ \*\/\n(?:export )?function (\w+)/g)].map(([, name]) => name);
  const pure = new Set(files.flatMap((file) => annotated(readFileSync(join(root, 'dist', file), 'utf8'))));
  for (const file of files)
    edit(join(root, 'dist', file), (text) => {
      const imported = [...text.matchAll(/^import \{([^}]*)\}/gm)].flatMap(([, names]) => names.match(/\w+/g) ?? []);
      const known = new Set([...annotated(text), ...imported.filter((name) => pure.has(name))]);
      return text.replace(/^((?:export )?const \w+ = )(\w+)\(/gm, (call, before, name) =>
        known.has(name) ? `${before}/* @__PURE__ */ ${name}(` : call,
      );
    });
}

/**
 * Imports each module x.js that has an x.browser.js next to it by the name #host/x, which the package's `imports` resolve to
 * either of them, by whether a program is bundled for browsers. Entry points are chosen by the package's `exports`.
 */
function nameHostModules() {
  const files = readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => file.endsWith('.js'));
  const hosts = files
    .filter((file) => /(?<!\bindex)\.browser\.js$/.test(file))
    .map((file) => file.replace(/\.browser\.js$/, '.js'));
  for (const file of files)
    edit(join(root, 'dist', file), (text) =>
      text.replace(/((?:from |import |import\())(["'])(\.[^"']*)\2/g, (all, before, quote, path) => {
        const target = posix.join(posix.dirname(file), path);
        return hosts.includes(target) ? `${before}${quote}#host/${target.slice(0, -3)}${quote}` : all;
      }),
    );
}

/** Whether no input is newer than the file that a build writes last. */
function isCurrent() {
  const last = statSync(join(root, 'dist/package.json'), { throwIfNoEntry: false });
  const files = [
    'src',
    'test',
    'bench',
    'scripts/build.js',
    'scripts/shrink.js',
    'scripts/texts.js',
    'scripts/vendor.js',
    'package-lock.json',
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
  // What the table of predictions is computed from.
  for (const file of ['kernels-static.json', 'step-d1dfdc6.json'])
    cpSync(join(root, 'bench/results', file), join(gpu, file));
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
  const { imports, sideEffects } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8').replaceAll('./dist/', './'),
  );
  writeFileSync(
    join(root, 'dist/package.json'),
    `${JSON.stringify({ type: 'module', sideEffects, imports }, null, 2)}\n`,
  );
}
