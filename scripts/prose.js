// A lint for the English of comments, docs, messages and test titles: phrases that read as a translation, each with what to
// write instead. `node scripts/prose.js` prints each place and exits with 1 if there is any.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What is looked for, and what to write instead. `\s` also matches a line break within a comment. */
export const patterns = [
  [/(?<=^ *|[.:;!?)]\s+)Of\s/gm, 'a subject first: "the values of ..."'],
  [/\bbeside\b/gi, '"next to", or "in addition to"'],
  [/\b(go|goes|going|went|gone)\s+on\b/gi, '"resumes", or "continues"'],
  [/\b(is|are|was|were|be|been)\s+told\b/gi, '"receives", or "is reported"'],
  [/\b(is|are|was|were|be|been)\s+said\b/gi, '"prints", or "is reported"'],
  [/\btells?\s+of\b/gi, '"reports"'],
  [/\bwhoever\b/gi, 'who it is: "the caller"'],
  [/\bso\s+many\b/gi, '"that many", or the number'],
  [
    /(?<!\bthere\s+)\b(is|are|was|were)\s+no\b(?!\s+(one|longer|more|less|(larg|small|great|high|low|fast|slow|bett|wors)er)\b)/gi,
    '"is not a"',
  ],
  [/\b(has|have|had)\s+not\s+got\b/gi, '"does not have"'],
  [/\bslips?\s+of\s+the\s+pen\b/gi, '"typo"'],
];

const folders = ['src', 'test', 'bench', 'scripts', 'configs', 'examples', 'bin', 'docs', 'playground'];
const documents = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'];
/** Files that quote the phrases. */
const quoting = ['scripts/prose.js', 'test/repository/prose.test.ts'];

/** The parts of a file: prose; strings, which are prose if they read like a sentence; or blocks of code. */
const lexers = {
  c: /(?<prose>\/\/[^\n]*|\/\*.*?\*\/)|(?<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)/gs,
  py: /(?<prose>#[^\n]*|""".*?"""|'''.*?''')|(?<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')/gs,
  md: /```.*?```|(?<prose>(?:(?!```).)+)/gs,
};

/** Three words in a row. */
const sentence = /\b[a-z]+ [a-z]+ [a-z]+\b/i;

function languageOf(file) {
  const extension = file.slice(file.lastIndexOf('.') + 1);
  if (['ts', 'tsx', 'js', 'mjs', 'cjs', 'c', 'h', 'cu', 'cuh', 'cpp'].includes(extension)) return 'c';
  return ['py', 'md'].includes(extension) ? extension : undefined;
}

/** The text with everything but prose turned into spaces, so that each word keeps its place. */
function prose(text, language) {
  let result = '';
  for (const { 0: part, index, groups } of text.matchAll(lexers[language])) {
    result += blank(text.slice(result.length, index));
    // Code in back quotes and the marks of a comment, a list or a table are not prose.
    const marks =
      language === 'md' ? /`[^`\n]*`|^ *(?:[-*>|] |#+ )/gm : /`[^`\n]*`|\/\/|\/\*+|\*+\/|"""|'''|^ *\*(?= )|#/gm;
    if (groups.prose !== undefined) result += part.replace(marks, blank);
    else
      result +=
        groups.string !== undefined && sentence.test(part) ? part.replace(/^.|\$\{[^}]*\}/g, blank) : blank(part);
  }
  return result;
}

function blank(text) {
  return text.replace(/[^\n]/g, ' ');
}

/** @returns `file:line: "phrase", write SUGGESTION: the line` for each phrase found in the text of a file, line by line */
export function findPhrases(file, text) {
  const searched = prose(text, languageOf(file));
  const lines = text.split('\n');
  const found = patterns.flatMap(([pattern, suggestion]) =>
    [...searched.matchAll(pattern)].map(({ 0: phrase, index }) => {
      const line = searched.slice(0, index).split('\n').length;
      const quoted = phrase.trim().replaceAll(/\s+/g, ' ');
      return { line, message: `${file}:${line}: "${quoted}", write ${suggestion}: ${lines[line - 1].trim()}` };
    }),
  );
  return found.sort((a, b) => a.line - b.line).map(({ message }) => message);
}

function filesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name.startsWith('.')) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesBelow(path) : [path];
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.chdir(fileURLToPath(new URL('..', import.meta.url)));
  const files = [...documents, ...folders.flatMap(filesBelow)].filter(
    (file) => languageOf(file) !== undefined && !quoting.includes(file),
  );
  const found = files.flatMap((file) => findPhrases(file, readFileSync(file, 'utf8')));
  for (const message of found) console.error(message);
  if (found.length > 0) process.exit(1);
}
