// Writes what is made from the schema of configurations: src/run/config/types.ts and docs/config.md.
//   node --import jiti/register scripts/config_pages.ts          writes them
//   node --import jiti/register scripts/config_pages.ts --check  exits with 1 if one of them is not current
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { allKeys, factsOf, formatValue, type KeyFacts, tablesOf } from '../src/run/config/explain.ts';
import { describePreset, loadConfig, presetNames } from '../src/run/config/index.ts';
import { differences, typeAt } from '../src/run/config/tree.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Longest line of the written code. */
const LINE = 120;

/** Each file that this script writes, with its text. */
export async function configPages(): Promise<Record<string, string>> {
  const base = await loadConfig('base');
  const facts = allKeys().map((key) => factsOf(key, base));
  return { 'src/run/config/types.ts': format(typesFile(facts)), 'docs/config.md': await configPage(facts, base) };
}

function typesFile(facts: readonly KeyFacts[]): string {
  const member = (one: KeyFacts, indent: string) => {
    const name = one.key.split('.').at(-1);
    return `${comment(hoverText(one), indent)}${indent}${name}: ${typeScript(typeAt(one.key.split('.')) as z.ZodType)};\n`;
  };
  const top = facts.filter(({ key }) => !key.includes('.')).map((one) => member(one, '  '));
  const tables = tablesOf().map(({ name, text }) => {
    const members = facts.filter(({ key }) => key.startsWith(`${name}.`)).map((one) => member(one, '    '));
    return `${comment(text, '  ')}  ${name}: {\n${members.join('')}  };\n`;
  });
  return `// The type of a configuration, with the text of each key for editors. scripts/config_pages.ts writes this file from schema.ts.

/** A whole configuration. */
export type Config = {
${[...top, ...tables].join('')}};

/** The dotted path of a key. */
export type KeyPath = {
  [Name in keyof Config]: Config[Name] extends string | number | boolean
    ? Name
    : \`\${Name}.\${keyof Config[Name] & string}\`;
}[keyof Config];

type DeepPartial<T> = T extends readonly unknown[] ? T : T extends object ? { [K in keyof T]?: DeepPartial<T[K]> } : T;

/** Some keys of a configuration, nested as in the whole: \`{ model: { nf: 8 } }\`. */
export type ConfigOverrides = DeepPartial<Config>;

/**
 * The default export of a configuration file: its differences from \`base\`, a name or a path from the file; default
 * "base".
 */
export type ConfigFile = ConfigOverrides & { base?: string };
`;
}

/** The text of a key in an editor. */
function hoverText(facts: KeyFacts): string {
  const sentences = [facts.text];
  // A choice is what its TypeScript type says.
  if (!['choice', 'true or false'].includes(facts.type) && facts.expected !== 'text')
    sentences.push(`Expected: ${facts.expected}${facts.unit === undefined ? '' : ` (${facts.unit})`}.`);
  sentences.push(`Default: ${formatValue(facts.default)}.`);
  if (facts.needs !== undefined) sentences.push(`Has an effect only if ${facts.needs}.`);
  if (facts.inert) sentences.push('Has no effect, as in the official code.');
  if (facts.ours) sentences.push('Not in the official code.');
  if (facts.source !== undefined) sentences.push(`Source: ${facts.source}.`);
  return sentences.join(' ');
}

function typeScript(type: z.ZodType): string {
  if (type instanceof z.ZodBoolean) return 'boolean';
  if (type instanceof z.ZodLiteral) return String(type.value);
  if (type instanceof z.ZodNumber) return 'number';
  if (type instanceof z.ZodArray) return `${typeScript(type.element as z.ZodType)}[]`;
  if (type instanceof z.ZodUnion) return (type.options as z.ZodType[]).map(typeScript).join(' | ');
  return type instanceof z.ZodEnum ? type.options.map((option) => `'${option}'`).join(' | ') : 'string';
}

/** A documentation comment of lines of at most 120 columns. */
function comment(text: string, indent: string): string {
  const single = `${indent}/** ${text} */\n`;
  if (single.length <= LINE + 1) return single;
  const width = LINE - indent.length - 3;
  const lines = text.split(' ').reduce<string[]>((all, word) => {
    const line = all.at(-1);
    if (line === undefined || line.length + 1 + word.length > width) all.push(word);
    else all[all.length - 1] = `${line} ${word}`;
    return all;
  }, []);
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}\n`).join('')}${indent} */\n`;
}

/** @returns the text as biome formats it */
function format(text: string): string {
  const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome');
  const args = [biome, 'format', '--stdin-file-path', 'src/run/config/types.ts'];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { cwd: root, input: text, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

async function configPage(facts: readonly KeyFacts[], base: unknown): Promise<string> {
  const section = (keys: readonly KeyFacts[]) =>
    `| key | meaning | expected | default |\n|---|---|---|---|\n${keys.map(row).join('')}`;
  const tables = tablesOf().map(
    ({ name, text }) => `## ${name}\n\n${text}\n\n${section(facts.filter(({ key }) => key.startsWith(`${name}.`)))}`,
  );
  const names = presetNames().filter((name) => name !== 'base');
  const presets = await Promise.all(
    names.map(async (name) => {
      const changed = differences(base, await loadConfig(name)).map(({ path, b }) => `${path} ${formatValue(b)}`);
      return `| \`${name}\` | ${await describePreset(name)} | ${changed.map((one) => `\`${one}\``).join(', ')} |\n`;
    }),
  );
  return `# Keys of a configuration

Every key, by table. A configuration file names its \`base\` and the keys that differ: [CONTRIBUTING.md](../CONTRIBUTING.md#a-configuration).
On the command line, \`--config.TABLE.KEY VALUE\` changes one key. \`rectiflow config explain KEY\` prints the text of one key and which
named configurations change it, \`rectiflow config show NAME --changed\` what a configuration changes, and \`rectiflow config diff A B\`
where two of them differ; each takes a name, a file, or the folder of a run. \`scripts/config_pages.ts\` writes this page from the schema.

A key marked * may have another value when a run resumes. Keys that the official code does not have say so.

## Without a table

${section(facts.filter(({ key }) => !key.includes('.')))}
${tables.join('\n')}
## Named configurations

What each changes in \`base\`.

| name | what it is | keys |
|---|---|---|
${presets.join('')}`;
}

function row(facts: KeyFacts): string {
  const { key, text, unit, needs, inert, ours, source, binds } = facts;
  const more = [
    ...(needs === undefined ? [] : [`Has an effect only if \`${needs.replace(' is ', '` is ')}.`]),
    ...(inert ? ['Has no effect, as in the official code.'] : []),
    ...(ours ? ['Not in the official code.'] : []),
    ...(source === undefined ? [] : [`Source: ${source}.`]),
  ];
  const expected = `${facts.expected}${unit === undefined ? '' : ` (${unit})`}`;
  const cells = [
    `\`${key}\`${binds === 'nothing' ? ' *' : ''}`,
    [text, ...more].join(' '),
    expected,
    `\`${formatValue(facts.default)}\``,
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const checking = process.argv.includes('--check');
  for (const [file, text] of Object.entries(await configPages())) {
    const path = join(root, file);
    if (!checking) writeFileSync(path, text);
    else if (readFileSync(path, 'utf8') !== text) {
      console.error(`${file} is not current; write it by: node --import jiti/register scripts/config_pages.ts`);
      process.exitCode = 1;
    }
  }
}
