// Writes the text files below src (kernel sources, their headers, tuning tables, a worker's script) as modules below
// dist/texts, one a file. A module of dist that names a text by its path imports that text's module, and the module of a
// source imports those of its headers. A bundler therefore keeps the texts that a program reaches, and drops all others.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';

const TEXT = /\.(c|h|cu|cuh|cjs|json)$/;
const INCLUDE = /^[ \t]*#[ \t]*include[ \t]+"([^"]+)"[ \t]*$/gm;

/**
 * The store of texts, by path below src. embed() returns the path, so that only the texts whose paths are used are kept. The
 * store also holds the paths of a text's headers, so that bundlers keep those.
 */
const store = `// Made by scripts/texts.js.
export const texts = new Map();
export function embed(path, text, headers) {
  texts.set(path, { text, headers });
  return path;
}
`;

/** What a bundle for browsers has in place of each text. */
const none = `// Made by scripts/texts.js.
export default undefined;
`;

/** The replacement of src/device/texts.ts. @param otherwise what to do for a text that is not the package's */
const readerOf = (otherwise, imports, headers = '') => `// Made by scripts/texts.js.
${imports}import { texts } from '../texts/store.js';
export const textRoot = 'rectiflow:/';
export function readText(url) {
  if (url.protocol !== 'rectiflow:') ${otherwise};
  const entry = texts.get(url.pathname.slice(1));
  if (entry === undefined) throw new Error(\`the package has no \${url.pathname}\`);
  return entry.text;
}
${headers}`;

const nodeReader = readerOf(
  "return readFileSync(url, 'utf8')",
  "import { readFileSync } from 'node:fs';\nimport { headers } from '../texts/headers.js';\n",
  'export function needHeaders() {\n  return headers;\n}\n',
);
const browserReader = readerOf("throw new Error('a program in a browser has no ' + url.href)", '');

/** @param root the package's folder, whose dist has the compiled TypeScript. @throws Error for a text that no module reaches */
export async function embedTexts(root) {
  // This is the compiled src/device/texts.ts; it is replaced below.
  const { withoutComments } = await import('../dist/device/texts.js');
  const files = (folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) => file.replaceAll('\\', '/'));
  const texts = new Map(
    files('src')
      .filter((file) => TEXT.test(file))
      .sort()
      .map((file) => [file, withoutComments(file, readFileSync(join(root, 'src', file), 'utf8'))]),
  );
  const write = (file, text) => {
    const path = join(root, 'dist', file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  };
  write('texts/store.js', store);
  write('device/texts.js', nodeReader);
  write('device/texts.browser.js', browserReader);
  rmSync(join(root, 'dist/device/texts.browser.js.map'));
  write('texts/none.js', none);
  rmSync(join(root, 'dist/device/texts.js.map'));

  const reached = new Set();
  for (const [file, text] of texts) {
    const headers = headersOf(file, text, texts);
    for (const header of headers) reached.add(header);
    write(`texts/${file}.js`, textModule(file, text, headers));
  }
  const shared = [...texts.keys()].filter((file) => file.startsWith('kernels/include/'));
  const list = shared.map((_, i) => `text${i}`).join(', ');
  write('texts/headers.js', `${imports('texts/headers.js', shared)}export const headers = [${list}];\n`);

  for (const file of files('dist')) {
    if (!file.endsWith('.js') || file.startsWith('texts/')) continue;
    const named = [];
    const code = readFileSync(join(root, 'dist', file), 'utf8').replace(
      /'((?:kernels|device)\/[\w./]+)'/g,
      (all, path) => {
        if (!texts.has(path)) return all;
        if (!named.includes(path)) named.push(path);
        // A bundle for browsers has no texts, and only the name.
        return `(text${named.indexOf(path)} ?? ${all})`;
      },
    );
    if (named.length === 0) continue;
    for (const path of named) reached.add(path);
    // Imports are hoisted, and at the end they move no line that the source map knows.
    const lines = imports(file, named, (path) => !path.endsWith('.json'));
    write(file, code.replace(/(?=\/\/# sourceMappingURL)|$(?![\s\S])/, lines));
  }
  const lost = [...texts.keys()].filter((file) => !reached.has(file) && !file.startsWith('kernels/include/'));
  if (lost.length > 0) throw new Error(`no module names ${lost.join(', ')}`);
}

/**
 * Imports of the texts' paths as text0, text1, ...
 * @param byName which texts to import by names that the package's `imports` resolve; a bundle for browsers lacks those
 */
function imports(from, paths, byName = () => false) {
  const place = (path) => posix.relative(posix.dirname(from), `texts/${path}.js`).replace(/^(?!\.)/, './');
  const to = (path) => (byName(path) ? `#texts/${path}.js` : place(path));
  return paths.map((path, i) => `import text${i} from '${to(path)}';\n`).join('');
}

/** The module's value is the text's path. */
function textModule(file, text, headers) {
  const from = `texts/${file}.js`;
  const literal = text.replace(/[\\`]|\$(?=\{)/g, '\\$&');
  const list = headers.map((_, i) => `text${i}`).join(', ');
  const embed = posix.relative(posix.dirname(from), 'texts/store.js');
  return `import { embed } from '${embed}';\n${imports(from, headers)}export default /* @__PURE__ */ embed('${file}', \`${literal}\`, [${list}]);\n`;
}

/** The headers of a source, looked for where src/device/source.ts does. */
function headersOf(file, text, texts) {
  const found = [...text.matchAll(INCLUDE)].map(([, name]) => {
    const places = [name, `include/${name}`, `../include/${name}`].map((place) =>
      posix.join(posix.dirname(file), place),
    );
    const header = places.find((place) => texts.has(place));
    if (header === undefined) throw new Error(`${file}: its header "${name}" is missing`);
    return header;
  });
  return [...new Set(found)];
}
