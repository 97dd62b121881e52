// Launch code declares each kernel's arguments; nothing checks a foreign call at run time, so the declarations are
// compared here with the prototypes in the preprocessed sources. Also: every export of a source is declared.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { findCompiler } from '../../src/device/cc.ts';
import { loadCompanions } from '../../src/device/companions.ts';
import { declaredModules, parseSignature } from '../../src/device/module.ts';
import { kindOfParameter } from '../../src/device/prototypes.ts';
import '../../src/kernels/index.ts';
import '../../src/kernels/inner/flow_inputs.ts';
import '../../src/kernels/inner/leaf_gradients.ts';
import '../../src/kernels/inner/linears.ts';
import '../../src/kernels/inner/optimizer.ts';

const compiler = findCompiler();
/** The text that begins an exported kernel of each language after preprocessing, and the extension of its sources. */
const languages = {
  c: { begins: String.raw`visibility\("default"\), used\)\)\s+(void|double)`, ending: '.c', flags: [] },
  cuda: {
    begins: String.raw`extern "C" __global__ (void)(?:\s+__launch_bounds__\([\w()*, ]+\))?`,
    ending: '.cu',
    flags: ['-x', 'c++', '-nostdinc'],
  },
};
// Some modules of cards are declared when a card opens.
await loadCompanions('cuda');

const headers = fileURLToPath(new URL('../../src/kernels', import.meta.url));

/** Exported kernels of a source by name: "ptr i32 -> f64". */
function prototypes(
  path: string,
  language: keyof typeof languages,
  defines: readonly string[],
): Record<string, string> {
  const { begins, flags: own } = languages[language];
  const flags = [
    ...compiler.leading,
    '-E',
    '-P',
    ...own,
    ...defines,
    `-I${join(headers, 'include')}`,
    `-I${dirname(path)}`,
    path,
  ];
  const text = execFileSync(compiler.command, flags, { encoding: 'utf8' });
  const found: Record<string, string> = {};
  const prototype = new RegExp(String.raw`${begins}\s+(\w+)\s*\(([^)]*)\)\s*\{`, 'g');
  for (const [, returns, name, parameters] of text.matchAll(prototype)) {
    const kinds = parameters.trim() === 'void' ? [] : parameters.split(',').map(kindOfParameter);
    found[name] = `${kinds.join(' ')}${returns === 'double' ? ' -> f64' : ''}`;
  }
  // Every library exports it for the device: see src/kernels/include/pool.h.
  delete found.pool_bind;
  return found;
}

test.each(Object.values(languages))('every source with the ending $ending is declared', ({ ending }) => {
  const sources = readdirSync(headers, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith(ending));
  const declared = declaredModules().map(({ url }) => fileURLToPath(url));
  expect(sources.map((file) => join(headers, file)).filter((path) => !declared.includes(path))).toEqual([]);
});

test('only ptx.cuh and ptx_hopper.cuh contain inline assembly, and they include nothing', () => {
  const sources = readdirSync(headers, { recursive: true, encoding: 'utf8' }).filter((file) => /\.cuh?$/.test(file));
  const having = (pattern: RegExp) =>
    sources.filter((file) => pattern.test(readFileSync(join(headers, file), 'utf8').replace(/\/\*.*?\*\//gs, '')));
  const assembly = ['include/ptx.cuh', 'include/ptx_hopper.cuh'];
  expect(having(/\basm\b/).sort()).toEqual(assembly);
  expect(having(/#\s*include/)).not.toEqual(expect.arrayContaining(assembly));
});

test.each(declaredModules().map((module) => [`${module.name}${languages[module.language].ending}`, module] as const))(
  '%s',
  (_, { url, kernels, language, flags }) => {
    const declared = Object.fromEntries(
      Object.entries(kernels).map(([name, signature]) => {
        const { parameters, returns } = parseSignature(signature);
        return [name, `${parameters.join(' ')}${returns === 'void' ? '' : ' -> f64'}`];
      }),
    );
    const defines = flags.filter((flag) => flag.startsWith('-D'));
    expect(prototypes(fileURLToPath(url), language, defines)).toEqual(declared);
  },
);
