// The examples in docstrings: where they are, whether their types are right, and what they give. A line of an example that ends in a
// comment states the value of its expression: `square(tensor([1, 2])); // [1, 4]`. Names of every entry point of the package can be
// used without an import.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { Tensor } from '../../src/tensor/tensor.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface DocExample {
  entry: string;
  /** What it is of: a function, a class or, with a dot, a member of a class. */
  name: string;
  code: string;
}

/** A function or a class that an entry point exports. */
export interface PublicName {
  entry: string;
  name: string;
  /** Whether only its type is exported, so that a program cannot name its value. */
  typeOnly: boolean;
}

export interface Documented {
  names: PublicName[];
  examples: DocExample[];
  /** What is wrong with the types of examples, by example. */
  faults: string[];
}

/** The public functions and classes of entry points, and the examples of all that they export. @param entries paths below src */
export function readExamples(entries: readonly string[]): Documented {
  const files = entries.map((entry) => join(root, 'src', entry));
  const { options } = ts.convertCompilerOptionsFromJson(
    ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config.compilerOptions,
    root,
  );
  // Examples are JavaScript: parameters have no types.
  const loose = { ...options, strict: false, noUnusedLocals: false, noUnusedParameters: false };
  const program = ts.createProgram(files, loose);
  const checker = program.getTypeChecker();
  const names: PublicName[] = [];
  const examples: DocExample[] = [];
  const values = new Map<string, string[]>();
  entries.forEach((entry, i) => {
    const module = checker.getSymbolAtLocation(program.getSourceFile(files[i]) as ts.SourceFile) as ts.Symbol;
    for (const exported of checker.getExportsOfModule(module)) {
      const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
      const { name } = exported;
      const typeOnly = exported.declarations?.some(ts.isTypeOnlyExportDeclaration) ?? false;
      if (symbol.flags & ts.SymbolFlags.Value && !typeOnly) values.set(entry, [...(values.get(entry) ?? []), name]);
      const isValue = symbol.flags & (ts.SymbolFlags.Function | ts.SymbolFlags.Variable);
      const isCalled = isValue && checker.getTypeOfSymbol(symbol).getCallSignatures().length > 0;
      const isClass = symbol.flags & ts.SymbolFlags.Class;
      if (isCalled || isClass) names.push({ entry, name, typeOnly });
      const members = isClass ? [...(symbol.members?.values() ?? []), ...(symbol.exports?.values() ?? [])] : [];
      for (const one of [symbol, ...members])
        for (const tag of one.getJsDocTags(checker)) {
          if (tag.name !== 'example') continue;
          const code = ts.displayPartsToString(tag.text).replace(/^```\w*\n|\n```$/g, '');
          examples.push({ entry, name: one === symbol ? name : `${name}.${one.name}`, code });
        }
    }
  });
  return { names, examples, faults: typeFaults(program, loose, values, examples) };
}

/** Checks the types of all examples in one file, which exists in memory. @param values what each entry point exports */
function typeFaults(
  program: ts.Program,
  options: ts.CompilerOptions,
  values: ReadonlyMap<string, readonly string[]>,
  examples: readonly DocExample[],
): string[] {
  const path = join(root, 'src', '.doc_examples.ts');
  const imports = Array.from(values, ([entry, names]) => `import { ${names.join(', ')} } from './${entry}';`);
  const parts = examples.map(({ code }, i) => `export async function example${i}() {\n${asBody(code)}\n}\n`);
  const head = `${imports.join('\n')}\n`;
  const text = head + parts.join('');
  const host = ts.createCompilerHost(options);
  const getSourceFile = host.getSourceFile.bind(host);
  host.getSourceFile = (name, ...rest) =>
    name === path
      ? ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true)
      : (program.getSourceFile(name) ?? getSourceFile(name, ...rest));
  const fileExists = host.fileExists.bind(host);
  host.fileExists = (name) => name === path || fileExists(name);
  const all = ts.createProgram([...program.getRootFileNames(), path], options, host, program);
  const file = all.getSourceFile(path);
  return [...all.getSyntacticDiagnostics(file), ...all.getSemanticDiagnostics(file)].map(
    ({ start = 0, messageText }) => {
      let at = head.length;
      const example = examples.find((_, i) => {
        at += parts[i].length;
        return start < at;
      });
      return `${example?.entry} ${example?.name}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    },
  );
}

/** A part of an example that states its value. */
export interface Stated {
  start: number;
  end: number;
  /** Text of the expression. */
  text: string;
  stated: string;
}

/** The expressions that state a value, those in blocks included; those in functions are not. */
export function statedIn(code: string): Stated[] {
  const found: Stated[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isExpressionStatement(node)) {
      const [, stated] = /^[ \t]*\/\/ (.*)/.exec(code.slice(node.end)) ?? [];
      const text = node.expression.getText();
      if (stated !== undefined) found.push({ start: node.getStart(), end: node.end, text, stated });
    } else if (!ts.isFunctionLike(node)) ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('example.ts', code, ts.ScriptTarget.Latest, true));
  return found;
}

/** The example as the body of an asynchronous function: static imports become dynamic ones. */
function asBody(code: string, load = 'import'): string {
  return code
    .replace(/^import \{ (.*) \} from (.*);$/gm, (_, names, from) => `const { ${names} } = await ${load}(${from});`)
    .replace(/^import (\w+) from (.*);$/gm, (_, name, from) => `const { default: ${name} } = await ${load}(${from});`);
}

/**
 * Runs an example.
 * @param scope names that it may use
 * @param compare receives each stated value and what it is
 * @throws Error if a line that states a value did not run
 */
export async function runExample(
  code: string,
  scope: Record<string, unknown>,
  compare: (value: unknown, stated: string, text: string) => void,
): Promise<void> {
  const steps = statedIn(code);
  const left = new Set(steps);
  let body = code;
  for (const [i, { start, end, text }] of [...steps.entries()].reverse())
    body = `${body.slice(0, start)}await __compare(${text}, ${i});${body.slice(end)}`;
  const names = Object.keys(scope);
  const AsyncFunction = (async () => {}).constructor as new (
    ...text: string[]
  ) => (...given: unknown[]) => Promise<void>;
  // The block lets an example use a name of the scope for a variable of its own.
  const run = new AsyncFunction('__compare', '__import', ...names, `{\n${asBody(body, '__import')}\n}`);
  await run(
    async (value: unknown, i: number) => {
      left.delete(steps[i]);
      compare(plain(await value), steps[i].stated, steps[i].text);
    },
    (from: string) => import(from),
    ...names.map((name) => scope[name]),
  );
  for (const { text } of left) throw new Error(`${text} did not run`);
}

/** The value as nested arrays, objects, numbers and booleans. */
export function plain(value: unknown): unknown {
  if (Tensor.is(value)) return nest([...value.dataSync()], value.shape, value.dtype === 'bool');
  if (ArrayBuffer.isView(value)) return [...(value as Float32Array)];
  if (Array.isArray(value)) return Array.from(value, plain);
  if (value instanceof Map) return plain(Object.fromEntries(value));
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
