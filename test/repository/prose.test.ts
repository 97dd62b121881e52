// scripts/prose.js finds each of its phrases in comments, docs, messages and titles, with file and line, and skips code.
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const { findPhrases, patterns } = (await import(fileURLToPath(new URL('../../scripts/prose.js', import.meta.url)))) as {
  findPhrases: (file: string, text: string) => string[];
  patterns: [pattern: RegExp, suggestion: string][];
};

/** A sentence that contains the phrase, and the phrase as it is reported: at least one for each pattern, in their order. */
const planted: [sentence: string, phrase: string][] = [
  ['Of a parameter: its values.', 'Of'],
  ['The table of a folder beside it.', 'beside'],
  ['The command goes on at step 3.', 'goes on'],
  ['The network is told the time.', 'is told'],
  ['The reason is said.', 'is said'],
  ['The time tells of new files.', 'tells of'],
  ['Whoever calls it disposes it.', 'Whoever'],
  ['Over so many samples.', 'so many'],
  ['It is no dictionary.', 'is no'],
  ['A block that the device has not got.', 'has not got'],
  ['A name that is a slip of the pen.', 'slip of the pen'],
];

it('has a planted sentence for each pattern', () => {
  expect(planted.map(([sentence]) => patterns.findIndex(([pattern]) => sentence.search(pattern) >= 0))).toEqual(
    patterns.map((_, i) => i),
  );
});

it.each(planted)('reports the phrase in: %s', (sentence, phrase) => {
  const [, suggestion] = patterns[planted.findIndex(([, planted]) => planted === phrase)];
  const files = {
    'a.ts': [`const a = 1;`, `/** ${sentence} */`],
    'b.ts': ['/**', ` * First line. ${sentence}`, ' */'],
    'c.js': ['', `call(); // ${sentence}`],
    'd.cu': ['', `/* ${sentence} */`],
    'e.py': ['', `# ${sentence}`],
    'f.py': ['def f():', `  """${sentence}"""`],
    'g.md': ['# Title', sentence],
    'h.md': ['', `- ${sentence}`],
  };
  for (const [file, lines] of Object.entries(files))
    expect(findPhrases(file, `${lines.join('\n')}\n`)).toEqual([
      `${file}:2: "${phrase}", write ${suggestion}: ${lines[1].trim()}`,
    ]);
});

it('finds a phrase across a line break', () => {
  expect(findPhrases('a.ts', '// The same command goes\n// on later.\n')).toEqual(
    ['"goes on", write "resumes", or "continues": // The same command goes'].map((message) => `a.ts:1: ${message}`),
  );
});

it.each([
  ["throw new Error('[op] expected a folder beside the file');", 'beside'],
  [`console.log(\`step \${beside} of \${n}: it goes on later\`);`, 'goes on'],
  ['test("a file that is no archive is refused", () => {', 'is no'],
])('reports the phrase in the string of: %s', (line, phrase) => {
  for (const file of ['a.ts', 'b.js', 'c.cpp'])
    expect(findPhrases(file, `\n${line}\n`)).toEqual([expect.stringMatching(`^${file}:2: "${phrase}", write `)]);
  expect(findPhrases('d.py', "\nraise ValueError('it is no longer a list beside it')\n")).toHaveLength(1);
});

it('does not search code, strings of a word or two, names in back quotes, and blocks of code in documents', () => {
  const code = ["const text = 'beside'; // a place", 'const url = "http://x/ beside";', 'const t = `// beside`;'];
  expect(findPhrases('a.ts', code.join('\n'))).toEqual([]);
  expect(findPhrases('a.ts', '/** The value `beside` of the option. */')).toEqual([]);
  expect(findPhrases('a.md', 'Text.\n\n```sh\necho beside\n```\n\nAnd `beside`.\n')).toEqual([]);
  expect(findPhrases('a.py', "x = 'beside'\n")).toEqual([]);
});

it('accepts plain uses of the same words', () => {
  const plain = [
    'There is no compiler.',
    'It is no longer needed.',
    'Besides, it is small.',
    'The mean of all values.',
  ];
  expect(plain.flatMap((sentence) => findPhrases('a.md', `${sentence}\n`))).toEqual([]);
});
