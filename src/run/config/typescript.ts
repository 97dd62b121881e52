// Runs a configuration in TypeScript: jiti resolves and evaluates its modules, sucrase removes their types.
import type { TransformOptions } from 'jiti';

/** The default export of a module. @throws whatever the module throws, and SyntaxError */
export async function importTypeScript(file: string): Promise<unknown> {
  const [{ createJiti }, { transform }] = await Promise.all([import('jiti'), import('sucrase')]);
  const code = ({ source, filename }: TransformOptions) =>
    asScript(
      transform(source, {
        transforms: ['typescript', 'imports'],
        filePath: filename,
        production: true,
        // Node knows the syntax of this decade.
        disableESTransforms: true,
        preserveDynamicImport: true,
      }).code,
    );
  // The cache of jiti may be in a folder for temporary files, where other users could place code.
  const jiti = createJiti(import.meta.url, { fsCache: false, transform: (options) => ({ code: code(options) }) });
  return jiti.import(file, { default: true });
}

/** What stands for the parts of a module that a script lacks; jiti defines the names. */
const replacements: Record<string, string> = {
  'import.meta':
    "({ url: require('node:url').pathToFileURL(__filename).href, filename: __filename, dirname: __dirname })",
  'import(': 'jitiImport(',
};

/** Replaces these parts outside of strings and comments. */
function asScript(code: string): string {
  return code.replace(
    /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\/|\bimport\.meta\b|\bimport\(/g,
    (part) => replacements[part] ?? part,
  );
}
