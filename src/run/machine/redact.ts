// Replaces what is personal in a text: paths, the names of user and machine, and secrets.
import { realpathSync } from 'node:fs';
import { hostname, tmpdir, userInfo } from 'node:os';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { homeFolder, namesInEnvironment } from '../../device/environment.ts';

/** What is replaced. */
export interface Identity {
  /** Folders and what stands for each. */
  folders: readonly (readonly [path: string, label: string])[];
  users: readonly string[];
  hosts: readonly string[];
}

/** Users that are not people. */
const roles = ['root', 'node', 'nobody', 'runner', 'ubuntu', 'debian', 'admin', 'user'];
/** Folders of the system, whose paths say nothing about a person. */
const system =
  /^\/(?!.*\/\.\.(?:\/|$))(usr|lib(?:32|64|x32|exec)?|bin|sbin|etc|proc|sys|dev|nix|opt\/(cuda|nvidia|homebrew)|System|Library|Applications)(\/|$)/;

/** @param workdir a work directory, whose path becomes <workdir> */
export function identityOf(workdir?: string): Identity {
  const root = fileURLToPath(new URL('../../../', import.meta.url)).replace(/\/$/, '');
  const folders: [string | undefined, string][] = [
    [workdir, '<workdir>'],
    [root, '<package>'],
    [process.cwd(), '<folder>'],
    [homeFolder(), '~'],
    [tmpdir(), '<tmp>'],
  ];
  const { users, hosts } = namesInEnvironment();
  const host = hostname();
  return {
    folders: folders.flatMap(([path, label]) => [...new Set(resolved(path))].map((one) => [one, label] as const)),
    users: [...users, ...userName()],
    hosts: [...hosts, host, host.split('.')[0]],
  };
}

/** The path and where its links lead. The root of the file system stands for nothing. */
function resolved(path: string | undefined): string[] {
  if (path === undefined || path === '' || path === '/') return [];
  try {
    return [path, realpathSync(path)].filter((one) => one !== '/');
  } catch {
    return [path];
  }
}

/** Empty for a user id without a name. */
function userName(): string[] {
  try {
    return [userInfo().username];
  } catch {
    return [];
  }
}

/** Characters of a line that are kept; the time of the patterns below grows with the square of a line's length. */
const LONGEST_LINE = 2000;

/** Removes what is personal from a text. Paths of the system stay; of other paths the last part stays. Long lines are cut. */
export function redact(text: string, { folders, users, hosts }: Identity): string {
  const short = text
    .split('\n')
    .map((line) => (line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}...` : line));
  let result = withoutSecrets(short.join('\n'));
  // A folder inside another one first.
  for (const [path, label] of [...folders].sort(([a], [b]) => b.length - a.length)) {
    const end = String.raw`(?![\w.-])`;
    for (const form of new Set([path, path.replaceAll('\\', '\\\\')]))
      result = result.replace(new RegExp(`${escapeRegExp(form)}${end}`, 'g'), label);
  }
  result = withoutPaths(result);
  for (const [names, label] of [
    [hosts, '<host>'],
    [users, '<user>'],
  ] as const)
    for (const name of [...new Set(names)].sort((a, b) => b.length - a.length)) {
      if (name === '' || name === 'localhost' || roles.includes(name.toLowerCase())) continue;
      result = result.replace(new RegExp(`(?<![a-z0-9])${escapeRegExp(name)}(?![a-z0-9])`, 'gi'), label);
    }
  return result;
}

const secrets: readonly [RegExp, string][] = [
  // Names and passwords in addresses.
  [/([a-z][\w+.-]*:\/\/)[^\s/@"']+@/gi, '$1<secret>@'],
  // A quoted value is replaced whole, since it may have blanks.
  [
    /((?:pass(?:word|wd|phrase)?|secret|token|(?:api|access|secret|private)_?key|credentials?|authorization)["']?(?:\s*[=:]\s*|\s+(?=["'])))(["'])[^"'\n]*\2/gi,
    '$1$2<secret>$2',
  ],
  [
    /((?:pass(?:word|wd|phrase)?|secret|token|(?:api|access|secret|private)_?key|credentials?|authorization)\s*[=:]\s*(?:(?:bearer|basic) +)?)(?!["'])[^\s"',;]+/gi,
    '$1<secret>',
  ],
  [/(--(?:pass(?:word|wd|phrase)?|secret|token|api-key) +)[^\s"'-][^\s"',;]*/gi, '$1<secret>'],
  // Tokens of GitHub, Hugging Face, OpenAI, Slack and AWS; JSON web tokens.
  [/\b(?:gh[opsru]_|github_pat_|hf_|sk-|xox[a-z]-|AKIA|eyJ)[\w.-]{10,}/g, '<secret>'],
  // Other long words of letters and digits. Hashes are among them.
  [/(?<![\w/+-])(?=[\w+-]*\d)(?=[\w+-]*[a-z])[\w+-]{32,}(?![\w/+-])/gi, '<long word>'],
];

function withoutSecrets(text: string): string {
  return secrets.reduce((rest, [pattern, label]) => rest.replace(pattern, label), text);
}

// An address; a path in quotes, which may have blanks; another path, of Windows too.
const paths =
  /(?<url>\bhttps?:\/\/[^\s"']+)|(?<quote>["'])(?<quoted>(?:file:\/\/)?(?:\/|[a-z]:\\|\\\\)(?:(?!\k<quote>)[^\n])*)\k<quote>|(?:file:\/\/|(?<![\w.~>/-])|(?<=(?<![\w-])-[a-z]\w*)|(?<=\d>))(?<plain>\/(?!\/)[^\s"'`,;:()[\]{}<>|]+|\b[a-z]:\\[^\s"'`,;:()[\]{}<>|]+)/gi;

function withoutPaths(text: string): string {
  return text.replace(paths, (all, ...rest) => {
    const { url, quote = '', quoted, plain } = rest.at(-1) as Record<string, string | undefined>;
    const path = (quoted ?? plain ?? '').replace(/^file:\/\//, '');
    if (url !== undefined || system.test(path)) return all;
    return `${quote}<path>/${basename(path.replaceAll('\\', '/'))}${quote}`;
  });
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
