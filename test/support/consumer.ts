// A TypeScript project with the packed package installed: the errors of each compiler, and the types of the package.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The compilers of package.json, by the version that users know them by. */
export const compilers = { '5.9': 'typescript-5.9', '6.0': 'typescript', '7.0': 'typescript-native' } as const;
export const resolutions = ['node16', 'nodenext', 'bundler'] as const;

/** The options of a strict project. `types` stays empty, the default of TypeScript 6: nothing is included implicitly. */
export const strictest = {
  noEmit: true,
  skipLibCheck: false,
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noPropertyAccessFromIndexSignature: true,
  isolatedModules: true,
  verbatimModuleSyntax: true,
  target: 'es2022',
  lib: ['es2022'],
  types: [],
} as const;

export interface Compilation {
  compiler: keyof typeof compilers;
  resolution: (typeof resolutions)[number];
  files: readonly string[];
  /** Options in addition to those of `strictest`. */
  options?: object;
}

/** The folder of a new project. @param packed the unpacked package @param packages names of those installed next to it */
export function makeConsumer(packed: string, packages: readonly string[]): string {
  const project = mkdtempSync(join(tmpdir(), 'rectiflow-consumer-'));
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }\n');
  const links = [['rectiflow', packed], ...packages.map((name) => [name, join(root, 'node_modules', name)])];
  for (const [name, target] of links) {
    const link = join(project, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(target, link);
  }
  return project;
}

let configurations = 0;

/** Compiles files of a project. @returns "file.ts(3): TS2322" for each error, except those in the types of other packages */
export async function compile(
  project: string,
  { compiler, resolution, files, options }: Compilation,
): Promise<string[]> {
  const config = join(project, `tsconfig.${configurations++}.json`);
  // Links are not resolved, so that the package finds its dependencies in the project.
  const module = resolution === 'bundler' ? 'esnext' : resolution;
  const compilerOptions = { ...strictest, module, moduleResolution: resolution, preserveSymlinks: true, ...options };
  writeFileSync(config, JSON.stringify({ compilerOptions, files }));
  const tsc = join(root, 'node_modules', compilers[compiler], 'bin/tsc');
  const child = spawn(process.execPath, [tsc, '--pretty', 'false', '-p', config], { cwd: project });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const status = await new Promise((resolve) => child.on('close', resolve));
  const errors = [...output.matchAll(/^(?:(\S+)\((\d+),\d+\): )?error (TS\d+)/gm)].map(([, file, line, code]) =>
    file === undefined ? code : `${file}(${line}): ${code}`,
  );
  if ((status === 0) !== (errors.length === 0)) throw new Error(`${tsc} ended with ${status}:\n${output}`);
  return errors.filter((error) => !/^node_modules\/(?!rectiflow\/)/.test(error));
}

/** Runs jobs two at a time. */
export async function twoAtATime<Job, Result>(jobs: readonly Job[], run: (job: Job) => Promise<Result>) {
  const results: Result[] = [];
  let next = 0;
  const worker = async () => {
    while (next < jobs.length) {
      const index = next++;
      results[index] = await run(jobs[index]);
    }
  };
  await Promise.all([worker(), worker()]);
  return results;
}

/** The types of modules that one file of a project imports, by the compiler's API. */
export class ModuleTypes {
  private readonly checker: ts.TypeChecker;
  private readonly source: ts.SourceFile;

  constructor(project: string, file: string) {
    const path = join(project, file);
    const program = ts.createProgram([path], {
      noEmit: true,
      strict: true,
      target: ts.ScriptTarget.ES2022,
      lib: ['lib.es2022.d.ts'],
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      preserveSymlinks: true,
      types: [],
    });
    this.checker = program.getTypeChecker();
    this.source = program.getSourceFile(path) as ts.SourceFile;
  }

  /** The type that a class or an interface, exported by a module, declares. */
  declared(module: string, name: string): ts.Type {
    const symbol = this.exports(module).find((one) => one.name === name) as ts.Symbol;
    return this.checker.getDeclaredTypeOfSymbol(this.resolved(symbol));
  }

  /** Names of the callable properties of a type, without symbols. */
  methods(type: ts.Type): string[] {
    return type
      .getProperties()
      .filter((property) => this.checker.getTypeOfSymbol(property).getCallSignatures().length > 0)
      .map(({ name }) => name)
      .filter((name) => !name.startsWith('__@'));
  }

  /** Every place below the exports of a module whose type is `any`: "rectiflow.sum(x).grad". */
  anys(module: string): string[] {
    const found: string[] = [];
    const seen = new Set<ts.Type>();
    const walk = (type: ts.Type, path: string) => {
      if (type.flags & ts.TypeFlags.Any) found.push(path);
      if (seen.has(type)) return;
      seen.add(type);
      for (const [inner, step] of this.parts(type)) walk(inner, path + step);
    };
    for (const symbol of this.exports(module)) {
      const resolved = this.resolved(symbol);
      const path = `${module}.${symbol.name}`;
      if (resolved.flags & ts.SymbolFlags.Value) walk(this.checker.getTypeOfSymbol(resolved), path);
      if (resolved.flags & ts.SymbolFlags.Type) walk(this.checker.getDeclaredTypeOfSymbol(resolved), path);
    }
    return found;
  }

  private exports(module: string): ts.Symbol[] {
    for (const statement of this.source.statements)
      if (ts.isImportDeclaration(statement) && (statement.moduleSpecifier as ts.StringLiteral).text === module)
        return this.checker.getExportsOfModule(
          this.checker.getSymbolAtLocation(statement.moduleSpecifier) as ts.Symbol,
        );
    throw new Error(`${this.source.fileName} does not import ${module}`);
  }

  private resolved(symbol: ts.Symbol): ts.Symbol {
    return symbol.flags & ts.SymbolFlags.Alias ? this.checker.getAliasedSymbol(symbol) : symbol;
  }

  /** The types that a type consists of; for types of other packages only their arguments. */
  private parts(type: ts.Type): [type: ts.Type, step: string][] {
    if (type.isUnionOrIntersection()) return type.types.map((inner) => [inner, '']);
    const parts: [ts.Type, string][] = [];
    const { checker } = this;
    if ((type as ts.ObjectType).objectFlags & ts.ObjectFlags.Reference) {
      // The return and next types of iterables are any in the compiler's own library.
      const own = /^(Async)?(Itera|Generator)/.test(type.symbol?.name ?? '') ? 1 : Number.POSITIVE_INFINITY;
      for (const inner of checker.getTypeArguments(type as ts.TypeReference).slice(0, own)) parts.push([inner, '<>']);
    }
    if (!ours(type.symbol) && !ours(type.aliasSymbol)) return parts;
    for (const property of type.getProperties())
      if (ours(property) && !isPrivate(property)) parts.push([checker.getTypeOfSymbol(property), `.${property.name}`]);
    for (const signature of [...type.getCallSignatures(), ...type.getConstructSignatures()]) {
      for (const parameter of signature.parameters)
        parts.push([checker.getTypeOfSymbol(parameter), `(${parameter.name})`]);
      parts.push([signature.getReturnType(), '()']);
    }
    for (const { type: inner } of checker.getIndexInfosOfType(type)) parts.push([inner, '[]']);
    return parts;
  }
}

/** Whether a symbol is declared by the package. */
function ours(symbol: ts.Symbol | undefined): boolean {
  return symbol?.declarations?.some((one) => one.getSourceFile().fileName.includes('/rectiflow/dist/')) ?? false;
}

/** Declarations state no type for private members. */
function isPrivate(symbol: ts.Symbol): boolean {
  const [declaration] = symbol.declarations as ts.Declaration[];
  const name = ts.getNameOfDeclaration(declaration);
  const modified = (ts.getCombinedModifierFlags(declaration) & ts.ModifierFlags.Private) !== 0;
  return modified || (name !== undefined && ts.isPrivateIdentifier(name));
}
