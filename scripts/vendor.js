// Bundles the libraries that commands and file formats use into dist/vendor, one file each, and makes dist import these files, so
// that an installed package needs koffi alone. THIRD_PARTY_LICENSES holds the licences of everything that is in them.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join, posix } from 'node:path';
import * as esbuild from 'esbuild';
import { z } from 'zod';

/** The names that dist imports from each library; zod's are found in the code, so that its other parts are left out. */
const libraries = {
  zod: undefined,
  'fast-png': ['encode', 'decode', 'convertIndexedToRgb'],
  yauzl: ['fromRandomAccessReaderPromise', 'RandomAccessReader'],
  yazl: ['ZipFile'],
  sucrase: ['transform'],
};

const imported = new RegExp(`((?:from |import\\()['"])(${Object.keys(libraries).join('|')})(?=['"])`, 'g');
const usedOfZod = /\bz\.(\w+)/g;

/** Packages that sucrase imports for what we do not ask of it: source maps, and checks of its options. */
const unused = {
  '@jridgewell/gen-mapping': 'export const [GenMapping, maybeAddSegment, toEncodedMap] = [];',
  'ts-interface-checker':
    'const type = () => {}; export const [union, array, lit, iface, opt] = [type, type, type, type, type]; ' +
    'export const createCheckers = () => ({ Options: { strictCheck() {} } });',
};

const withoutUnused = {
  name: 'without-unused',
  setup(build) {
    const filter = new RegExp(`^(${Object.keys(unused).join('|')})$`);
    build.onResolve({ filter }, ({ path }) => ({ path, namespace: 'unused' }));
    build.onLoad({ filter: /.*/, namespace: 'unused' }, ({ path }) => ({ contents: unused[path] }));
  },
};

/** @param root the package's folder, whose dist has the compiled TypeScript */
export async function bundleVendors(root) {
  const vendor = join(root, 'dist/vendor');
  mkdirSync(vendor, { recursive: true });
  const ofZod = new Set();
  for (const name of readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' })) {
    const file = name.replaceAll('\\', '/');
    if (!file.endsWith('.js') || /^(vendor|texts|gpu)\//.test(file)) continue;
    const path = join(root, 'dist', file);
    const code = readFileSync(path, 'utf8');
    const replaced = code.replace(imported, (_, before, library) => {
      return before + posix.relative(posix.dirname(file), `vendor/${library}.js`).replace(/^(?!\.)/, './');
    });
    if (replaced === code) continue;
    if (/import \{ z \} from/.test(code))
      for (const [, used] of code.matchAll(usedOfZod)) if (used in z) ofZod.add(used);
    writeFileSync(path, replaced);
  }
  const packages = new Set();
  for (const [name, names] of Object.entries(libraries)) {
    const { metafile } = await esbuild.build({
      stdin: { contents: names ? `export { ${names} } from '${name}';` : entryOfZod([...ofZod]), resolveDir: root },
      outfile: join(vendor, `${name}.js`),
      absWorkingDir: root,
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'node',
      target: 'node20.19',
      // THIRD_PARTY_LICENSES has them.
      legalComments: 'none',
      banner: { js: `// ${name}, bundled by scripts/vendor.js. Its licence is in THIRD_PARTY_LICENSES.` },
      metafile: true,
      logLevel: 'error',
      plugins: [importedBuiltins, withoutUnused],
    });
    for (const input of Object.keys(metafile.inputs)) {
      const [, owner] = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input) ?? [];
      if (owner) packages.add(owner);
    }
  }
  writeFileSync(join(root, 'THIRD_PARTY_LICENSES'), licences(root, [...packages].sort()));
}

/** Turns `require('fs')` of a CommonJS library into an import, which other bundlers understand in a module. */
const importedBuiltins = {
  name: 'imported built-in modules',
  setup(build) {
    build.onResolve({ filter: new RegExp(`^(node:)?(${builtinModules.join('|')})$`) }, ({ path, kind }) => {
      const name = path.replace(/^(?!node:)/, 'node:');
      return kind === 'require-call' ? { path: name, namespace: 'required' } : { path: name, external: true };
    });
    build.onResolve({ filter: /^imported:/ }, ({ path }) => ({ path, namespace: 'imported' }));
    build.onLoad({ filter: /./, namespace: 'required' }, ({ path }) => ({
      contents: `module.exports = require('imported:${path}').default;`,
    }));
    build.onLoad({ filter: /./, namespace: 'imported' }, ({ path }) => ({
      contents: `export { default } from '${path.slice('imported:'.length)}';`,
    }));
  },
};

/** An object `z` of the functions in use; `export { z }` would contain all of zod. */
function entryOfZod(names) {
  const list = names.sort();
  return (
    `import { ${list.map((name) => `${name} as _${name}`).join(', ')} } from 'zod';\n` +
    `export const z = { ${list.map((name) => `${name}: _${name}`).join(', ')} };\n`
  );
}

/** Each package with its version and the text of its licence. */
function licences(root, packages) {
  const parts = packages.map((name) => {
    const folder = join(root, 'node_modules', name);
    const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const file = readdirSync(folder).find((one) => /^licen[cs]e(\.\w+)?$/i.test(one));
    if (file === undefined) throw new Error(`${name} has no file with its licence`);
    const title = `${name} ${version} (${license})`;
    return `${title}\n${'-'.repeat(title.length)}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
  });
  return `The folder dist/vendor contains these packages, or parts of them.\n\n${parts.join('\n')}`;
}
