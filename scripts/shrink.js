// Makes dist small enough to publish: JavaScript without comments, which are in the declarations and in src; source maps that give
// each line its line in src, for stack traces; and no declaration that no entry point needs.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { decode, encode } from '@jridgewell/sourcemap-codec';
import { transform } from 'esbuild';

/** Rewrites every file of dist that has a source map. @param root the package's folder */
export async function shrinkJavaScript(root) {
  for (const path of filesOf(root).filter((file) => file.endsWith('.js.map'))) {
    const file = path.slice(0, -'.map'.length);
    const full = readFileSync(path, 'utf8');
    const text = readFileSync(file, 'utf8').replace(/\n\/\/# sourceMappingURL=.*\n?$/, '\n');
    const inline = `//# sourceMappingURL=data:application/json;base64,${Buffer.from(full).toString('base64')}\n`;
    const options = { sourcemap: 'external', sourcesContent: false, legalComments: 'none', target: 'es2022' };
    // esbuild keeps the comments that bundlers read. It composes its map with the one in the text.
    const { code, map } = await transform(text + inline, options);
    const { file: name, sources } = JSON.parse(full);
    // Stack traces and breakpoints need no more than the first segment of a line.
    const lines = decode(JSON.parse(map).mappings).map(([first]) => (first === undefined ? [] : [first.slice(0, 4)]));
    writeFileSync(file, `${code}//# sourceMappingURL=${name}.map\n`);
    writeFileSync(path, JSON.stringify({ version: 3, file: name, sources, names: [], mappings: encode(lines) }));
  }
}

/**
 * Removes the statements that use types of zod from declarations, so that a program needs no zod. A type that an entry point needs
 * must not be among them; test/repository/package compiles every entry point.
 * @param ts the compiler
 */
export function dropTypesOfZod(ts, root) {
  for (const path of filesOf(root).filter((file) => file.endsWith('.d.ts'))) {
    const text = readFileSync(path, 'utf8');
    if (!/ from ['"]zod['"];/.test(text)) continue;
    const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
    const gone = new Set();
    const kept = source.statements.filter((node) => {
      const code = node.getText(source);
      const name = node.name?.text ?? node.declarationList?.declarations[0].name.text;
      const uses =
        / from ['"]zod['"];$|\bz\.\w/.test(code) || [...gone].some((one) => new RegExp(`\\b${one}\\b`).test(code));
      if (uses && name !== undefined) gone.add(name);
      return !uses;
    });
    writeFileSync(path, `${kept.map((node) => node.getFullText(source).trim()).join('\n')}\n`);
  }
}

/** @param root the package's folder. Declarations there import .js files. */
export function dropUnreachedDeclarations(root) {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const reached = new Set();
  const reach = (path) => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const [, to] of readFileSync(path, 'utf8').matchAll(
      /(?:from |import |import\(|module )["'](\.[^"']*)\.js["']/g,
    ))
      reach(join(dirname(path), `${to}.d.ts`));
  };
  for (const { types } of Object.values(exports)) if (types !== undefined) reach(join(root, types));
  for (const path of filesOf(root)) if (path.endsWith('.d.ts') && !reached.has(path)) rmSync(path);
}

function filesOf(root) {
  return readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' }).map((file) => join(root, 'dist', file));
}
