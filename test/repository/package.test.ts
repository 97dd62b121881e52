// The package as it is published: packed, unpacked in an empty project beside nothing but its dependencies.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { full } from '../support/devices.ts';
import { buildWasm } from '../support/wasm.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const programs = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, text]) => text);
const { dependencies, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

let project: string;
let packed: string;

function node(text: string, cwd = project) {
  return spawnSync(process.execPath, ['--input-type=module', '-e', text], { cwd, encoding: 'utf8' });
}

beforeAll(() => {
  buildWasm();
  project = mkdtempSync(join(tmpdir(), 'rectiflow-project-'));
  const out = execFileSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', project], { cwd: root });
  packed = join(project, 'node_modules/rectiflow');
  mkdirSync(packed, { recursive: true });
  const archive = join(project, JSON.parse(String(out))[0].filename);
  execFileSync('tar', ['-xzf', archive, '--strip-components=1', '-C', packed]);
}, 120_000);

it('is imported without any other package', () => {
  const names = Object.keys(exports).filter((name) => !['./package.json', './run'].includes(name));
  const imports = names.map((name) => `await import('rectiflow${name.slice(1)}');`).join('\n');
  const { stderr, stdout, status } = node(`${imports}\nconsole.log('imported ${names.length}')`);
  expect(stderr).toBe('');
  expect(stdout).toBe('imported 7\n');
  expect(status).toBe(0);
});

it('names what to install when a package is absent', () => {
  const { stderr, status } = node(`import { openDevice } from 'rectiflow'; await openDevice('cpu');`);
  expect(stderr).toMatch(/koffi/);
  expect(stderr).toMatch(/npm install/);
  expect(status).toBe(1);
});

it('computes on the device wasm without any other package', () => {
  const { stdout, stderr, status } = node(
    `import { openDevice, sum, tensor } from 'rectiflow'; await openDevice('wasm'); console.log(sum(tensor([1, 2, 4])).item())`,
  );
  expect({ stdout, stderr, status }).toEqual({ stdout: '7\n', stderr: '', status: 0 });
});

it("runs the README's programs", () => {
  for (const name of Object.keys(dependencies)) {
    const link = join(project, 'node_modules', name);
    if (!existsSync(link)) symlinkSync(join(root, 'node_modules', name), link);
  }
  expect(programs).toHaveLength(2);
  const results = programs.map((text) => node(text));
  for (const { stderr, status } of results) {
    expect(stderr).toBe('');
    expect(status).toBe(0);
  }
  expect(results[0].stdout).toContain('tensor f32 [2, 2]');
  const [, stated] = /energy distance of ([\d.]+)/.exec(readme) ?? [];
  const [, got] = /energy distance ([\d.e-]+)/.exec(results[1].stdout) ?? [];
  // Bits differ between kinds of CPU, and training spreads the difference.
  expect(Number(got)).toBeLessThan(2 * Number(stated));
});

it('brings the command, its configurations and its data', () => {
  const bin = join(packed, 'bin/rectiflow.js');
  const { status, stderr } = spawnSync(
    process.execPath,
    [bin, 'train', '--config', 'digits', '--workdir', 'run', '--config.model.nf=8', '--config.training.n_iters=1'],
    { cwd: project, encoding: 'utf8' },
  );
  expect(stderr).toContain('train 2/2');
  expect(status).toBe(0);
});

it('is a command right after a clone, from any folder of it', () => {
  // What a commit of the working tree would hold, and its build; the packages are linked instead of installed.
  const clone = mkdtempSync(join(tmpdir(), 'rectiflow-clone-'));
  const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
  const list = join(clone, 'files');
  writeFileSync(list, files);
  execFileSync('sh', [
    '-c',
    `tar -C "$1" --null -T "$2" --ignore-failed-read -cf - | tar -xf - -C "$3"`,
    'sh',
    root,
    list,
    clone,
  ]);
  symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'));
  // The build of the clone is that of this folder, as far as its files are all in the clone; RECTIFLOW_TEST_FULL=1 makes it there.
  if (full) execFileSync('npm', ['run', 'build'], { cwd: clone, stdio: 'ignore' });
  else cpSync(join(root, 'dist'), join(clone, 'dist'), { recursive: true });
  expect(statSync(join(clone, 'dist/cli/main.js')).mode & 0o111).toBe(0o111);
  for (const cwd of [clone, join(clone, 'docs')]) {
    const { stdout, status } = spawnSync('npx', ['--no-install', 'rectiflow', '--help'], { cwd, encoding: 'utf8' });
    expect(stdout).toContain('Usage: rectiflow COMMAND');
    expect(status).toBe(0);
  }
}, 120_000);
