// Runs a configuration in TypeScript: sucrase turns each module into a script without types, and Node runs it with a `require` that
// treats the modules next to it in the same way. Packages and built-in modules are Node's own business.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, extname, isAbsolute, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileFunction } from 'node:vm';
import type { transform } from 'sucrase';
import { isFolder } from '../../io/file.ts';

/** The default export of a module. @throws whatever the module throws, and SyntaxError */
export async function importTypeScript(file: string): Promise<unknown> {
  const { transform } = await import('sucrase');
  const { default: value } = (await new Scripts(transform).import(file)) as { default?: unknown };
  return value;
}

/** What stands for the parts of a module that a script lacks. */
const replacements: Record<string, string> = {
  'import.meta':
    "({ url: require('node:url').pathToFileURL(__filename).href, filename: __filename, dirname: __dirname })",
  'import(': 'importModule(',
};
const parameters = ['exports', 'module', 'require', 'importModule', '__filename', '__dirname'];
const codeEndings = ['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs'];

/** The modules that one configuration consists of; each runs once. */
class Scripts {
  private readonly modules = new Map<string, { exports: unknown }>();

  private readonly transform: TransformFunction;

  constructor(transform: TransformFunction) {
    this.transform = transform;
  }

  /** The exports of a module, which may wait for promises outside of functions. */
  async import(file: string): Promise<unknown> {
    const module = this.modules.get(file);
    if (module) return module.exports;
    const run = this.prepare(file, (code) => `return (async () => {${code}\n})();`);
    await run();
    return this.modules.get(file)?.exports;
  }

  private require(file: string): unknown {
    if (!this.modules.has(file)) this.prepare(file, (code) => code)();
    return this.modules.get(file)?.exports;
  }

  /** Notes a module, so that modules which import each other end, and compiles it. @returns what runs it */
  private prepare(file: string, wrap: (code: string) => string): () => unknown {
    const { code } = this.transform(readFileSync(file, 'utf8'), {
      transforms: ['typescript', 'imports'],
      filePath: file,
      production: true,
      // Node knows the syntax of this decade.
      disableESTransforms: true,
      preserveDynamicImport: true,
    });
    const run = compileFunction(wrap(asScript(code)), parameters, { filename: file });
    const module: { exports: unknown } = { exports: {} };
    const native = createRequire(file);
    const require = (name: string) => {
      const found = nextTo(file, name);
      return found === undefined ? native(name) : this.require(found);
    };
    const importModule = async (name: unknown) => {
      const found = nextTo(file, String(name));
      return namespaceOf(found === undefined ? native(String(name)) : await this.import(found));
    };
    this.modules.set(file, module);
    return () => run(module.exports, module, require, importModule, file, dirname(file));
  }
}

type TransformFunction = typeof transform;

/** The path of the code that a relative or absolute name means; undefined for packages, other kinds of files and missing ones. */
function nextTo(file: string, name: string): string | undefined {
  const path = name.startsWith('file:') ? fileURLToPath(name) : name;
  if (!isAbsolute(path) && !/^\.\.?(?:[/\\]|$)/.test(path)) return undefined;
  const full = resolve(dirname(file), path);
  // "./size.js" may be size.ts, as the compiler of TypeScript has it.
  const typed = full.replace(/\.([mc]?)js$/, '.$1ts');
  const candidates = [
    full,
    typed,
    ...[full, resolve(full, 'index')].flatMap((one) => codeEndings.map((ending) => one + ending)),
  ];
  const found = candidates.find((one) => existsSync(one) && !isFolder(one));
  return found !== undefined && codeEndings.includes(extname(found)) ? found : undefined;
}

/** What `import()` resolves to: a CommonJS module is its own default export. */
function namespaceOf(exports: unknown): unknown {
  const isModule = typeof exports === 'object' && exports !== null && ('__esModule' in exports || 'default' in exports);
  return isModule ? exports : { ...(exports as object), default: exports };
}

/** Replaces what scripts lack, outside of strings and comments. */
function asScript(code: string): string {
  return code.replace(
    /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\/|\bimport\.meta\b|\bimport\(/g,
    (part) => replacements[part] ?? part,
  );
}
