// The examples in docstrings: where they are, and what they give. A line of an example that ends in a comment states the value of
// its expression: `square(tensor([1, 2])); // [1, 4]`.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { Tensor } from '../../src/tensor/tensor.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface DocExample {
  entry: string;
  name: string;
  code: string;
}

export interface PublicFunction {
  entry: string;
  name: string;
}

/** The public functions of entry points, and the examples of all that they export. @param entries paths below src */
export function readExamples(entries: readonly string[]): { functions: PublicFunction[]; examples: DocExample[] } {
  const files = entries.map((entry) => join(root, 'src', entry));
  const { options } = ts.convertCompilerOptionsFromJson(
    ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config.compilerOptions,
    root,
  );
  const program = ts.createProgram(files, { ...options, skipLibCheck: true });
  const checker = program.getTypeChecker();
  const functions: PublicFunction[] = [];
  const examples: DocExample[] = [];
  entries.forEach((entry, i) => {
    const module = checker.getSymbolAtLocation(program.getSourceFile(files[i]) as ts.SourceFile) as ts.Symbol;
    for (const exported of checker.getExportsOfModule(module)) {
      const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
      const { name } = exported;
      const isValue = symbol.flags & (ts.SymbolFlags.Function | ts.SymbolFlags.Variable);
      if (isValue && checker.getTypeOfSymbol(symbol).getCallSignatures().length > 0) functions.push({ entry, name });
      for (const tag of symbol.getJsDocTags(checker))
        if (tag.name === 'example')
          examples.push({ entry, name, code: ts.displayPartsToString(tag.text).replace(/^```\w*\n|\n```$/g, '') });
    }
  });
  return { functions, examples };
}

/** A statement that states its value, or any other one. */
export interface Step {
  text: string;
  stated?: string;
}

/** The statements of an example. */
export function stepsOf(code: string): Step[] {
  const file = ts.createSourceFile('example.ts', code, ts.ScriptTarget.Latest, true);
  return file.statements.map((statement) => {
    const [, stated] = /^[ \t]*\/\/ (.*)/.exec(code.slice(statement.end)) ?? [];
    if (!ts.isExpressionStatement(statement)) return { text: statement.getText() };
    return { text: statement.expression.getText(), stated };
  });
}

/** Runs an example. @param scope names that it may use @param compare receives each stated value and what it is */
export async function runExample(
  code: string,
  scope: Record<string, unknown>,
  compare: (value: unknown, stated: string, text: string) => void,
): Promise<void> {
  const body = stepsOf(code).map(({ text, stated }) =>
    stated === undefined ? `${text};` : `await __compare(${text}, ${JSON.stringify(stated)}, ${JSON.stringify(text)});`,
  );
  const names = Object.keys(scope);
  const AsyncFunction = (async () => {}).constructor as new (
    ...text: string[]
  ) => (...given: unknown[]) => Promise<void>;
  const run = new AsyncFunction('__compare', ...names, body.join('\n'));
  await run(
    async (value: unknown, stated: string, text: string) => compare(plain(await value), stated, text),
    ...names.map((name) => scope[name]),
  );
}

/** The value as nested arrays, numbers and booleans. */
export function plain(value: unknown): unknown {
  if (Tensor.is(value)) return nest([...value.dataSync()], value.shape, value.dtype === 'bool');
  if (ArrayBuffer.isView(value)) return [...(value as Float32Array)];
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
  return value;
}

function nest(data: readonly number[], shape: readonly number[], isBool: boolean): unknown {
  if (shape.length === 0) return isBool ? data[0] !== 0 : data[0];
  const [count, ...rest] = shape;
  const size = rest.reduce((a, b) => a * b, 1);
  return Array.from({ length: count }, (_, i) => nest(data.slice(i * size, (i + 1) * size), rest, isBool));
}

/** Whether a value is the stated one, to as many digits as are printed: four for any number that is not whole. */
export function agrees(value: unknown, stated: unknown): boolean {
  if (typeof value === 'number' && typeof stated === 'number')
    return Object.is(value, stated) || value === stated || Math.abs(value - stated) <= 6e-4 * Math.abs(stated);
  if (Array.isArray(value) && Array.isArray(stated))
    return value.length === stated.length && value.every((one, i) => agrees(one, stated[i]));
  if (typeof value === 'object' && typeof stated === 'object' && value !== null && stated !== null) {
    const keys = Object.keys(value);
    const other = stated as Record<string, unknown>;
    return (
      keys.join() === Object.keys(other).join() &&
      keys.every((key) => agrees((value as Record<string, unknown>)[key], other[key]))
    );
  }
  return value === stated;
}
