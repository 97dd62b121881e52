// What is made from the schema of configurations: docs/config.md, and the type of a configuration, whose comments an editor
// shows in configuration files.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { summaries } from '../../src/cli/summaries.ts';
import { allKeys, factsOf, tablesOf } from '../../src/run/config/explain.ts';
import { loadConfig, presetNames } from '../../src/run/config/index.ts';
import type { configSchema } from '../../src/run/config/schema.ts';
import { keyProperties } from '../../src/run/config/tree.ts';
import type { Config } from '../../src/run/config/types.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { configPages } = (await import(new URL('../../scripts/config_pages.ts', import.meta.url).href)) as {
  configPages(): Promise<Record<string, string>>;
};

it('the pages are what scripts/config_pages.ts writes', async () => {
  for (const [file, text] of Object.entries(await configPages()))
    expect(readFileSync(join(root, file), 'utf8'), file).toBe(text);
}, 60_000);

it('the type is that of the schema', () => {
  const there = (config: z.infer<typeof configSchema>): Config => config;
  const back = (config: Config): z.infer<typeof configSchema> => config;
  expect([there, back]).toHaveLength(2);
});

describe('every key', () => {
  it('has a text of whole sentences, and readers that are commands', () => {
    expect(allKeys().length).toBeGreaterThanOrEqual(119);
    for (const key of allKeys()) {
      const { text, readBy, needs } = keyProperties(key) as NonNullable<ReturnType<typeof keyProperties>>;
      expect(text, key).toMatch(/^[A-Z].{10,}[.]$/s);
      expect(readBy.length, key).toBeGreaterThan(0);
      expect(
        readBy.filter((reader) => !(reader in summaries)),
        key,
      ).toEqual([]);
      if (needs) expect(allKeys(), key).toContain(needs.key);
    }
    for (const { name, text } of tablesOf()) expect(text, name).toMatch(/^[A-Z].{10,}[.]$/s);
  });

  it('is in docs/config.md with its text, and in every configuration', async () => {
    const page = readFileSync(join(root, 'docs/config.md'), 'utf8');
    const base = await loadConfig('base');
    for (const key of allKeys()) {
      const facts = factsOf(key, base);
      expect(page).toContain(`| \`${key}\`${facts.binds === 'nothing' ? ' *' : ''} | ${facts.text}`);
      expect(facts.default, key).toBeDefined();
    }
    for (const name of presetNames()) if (name !== 'base') expect(page).toContain(`| \`${name}\` | `);
  });
});

/** An editor on one file that imports `rectiflow/run`. */
function editorOn(text: string, types: string) {
  const file = join(root, 'configs/in_an_editor.ts');
  const options = {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    strict: true,
    allowImportingTsExtensions: true,
    noEmit: true,
    types: [],
    paths: { 'rectiflow/run': [types] },
  };
  const service = ts.createLanguageService({
    getScriptFileNames: () => [file],
    getScriptVersion: () => '1',
    getScriptSnapshot: (name) => {
      const own = name === file ? text : ts.sys.readFile(name);
      return own === undefined ? undefined : ts.ScriptSnapshot.fromString(own);
    },
    getCurrentDirectory: () => root,
    getCompilationSettings: () => options,
    getDefaultLibFileName: (one) => ts.getDefaultLibFilePath(one),
    fileExists: (name) => name === file || ts.sys.fileExists(name),
    readFile: ts.sys.readFile,
    readDirectory: ts.sys.readDirectory,
    directoryExists: ts.sys.directoryExists,
    getDirectories: ts.sys.getDirectories,
  });
  return {
    hover: (word: string) =>
      ts.displayPartsToString(service.getQuickInfoAtPosition(file, text.indexOf(word))?.documentation),
    completion: (place: string, name: string) =>
      ts.displayPartsToString(
        service.getCompletionEntryDetails(file, text.indexOf(place), name, undefined, undefined, undefined, undefined)
          ?.documentation,
      ),
    errors: () =>
      service.getSemanticDiagnostics(file).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n')),
  };
}

// A clone without dist has the sources only.
const declarations = existsSync(join(root, 'dist/run/config/types.d.ts')) ? ['./dist/run/config/types.d.ts'] : [];

describe.each(['./src/run/config/types.ts', ...declarations])('an editor with %s', (types) => {
  const editor = editorOn(
    `import type { ConfigFile } from 'rectiflow/run';
export default { base: 'digits', seed: 1, optim: { lr: 1e-3, }, model: { nf: 8 } } satisfies ConfigFile;
`,
    types,
  );

  it('shows the text of a key', () => {
    expect(editor.errors()).toEqual([]);
    const lr = keyProperties('optim.lr')?.text as string;
    const plain = (text: string) => text.replaceAll('\n', ' ');
    expect(plain(editor.hover('lr: '))).toBe(`${lr} Expected: a number above 0, at most 1e+30. Default: 0.0002.`);
    expect(plain(editor.hover('seed: '))).toContain(keyProperties('seed')?.text);
    expect(plain(editor.hover('optim: '))).toBe(tablesOf().find(({ name }) => name === 'optim')?.text);
    expect(plain(editor.completion('}, model', 'warmup'))).toContain(keyProperties('optim.warmup')?.text);
  }, 60_000);
});
