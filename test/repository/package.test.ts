// The package as it is published: packed, and unpacked in an empty project next to nothing but its dependencies.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Compilation,
  compile,
  compilers,
  ModuleTypes,
  makeConsumer,
  resolutions,
  twoAtATime,
} from '../support/consumer.ts';
import { full } from '../support/devices.ts';
import { fakeCuda } from '../support/fakecuda.ts';
import { packPackage } from '../support/packed.ts';
import { buildWasm } from '../support/wasm.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const programs = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, text]) => text);
const { dependencies, exports, peerDependenciesMeta } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
/** The entry points: "rectiflow", "rectiflow/nn", ... */
const entries = Object.keys(exports)
  .filter((name) => name !== './package.json')
  .map((name) => `rectiflow${name.slice(1)}`);

let project: string;
let packed: string;

function node(text: string, cwd = project) {
  return spawnSync(process.execPath, ['--input-type=module', '-e', text], { cwd, encoding: 'utf8' });
}

beforeAll(() => {
  buildWasm();
  project = mkdtempSync(join(tmpdir(), 'rectiflow-project-'));
  packed = join(project, 'node_modules/rectiflow');
  packPackage(packed);
}, 120_000);

it('can be imported without any other package', () => {
  const imports = entries.map((name) => `await import('${name}');`).join('\n');
  const { stderr, stdout, status } = node(`${imports}\nconsole.log('imported ${entries.length}')`);
  expect(stderr).toBe('');
  expect(stdout).toBe('imported 10\n');
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

it('has no script that npm would run in a project that installs it', () => {
  const { scripts } = JSON.parse(readFileSync(join(packed, 'package.json'), 'utf8'));
  const run = ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare'];
  expect(run.filter((name) => name in scripts)).toEqual([]);
});

it('shows TypeScript in stack traces', () => {
  const text = `import { zeros } from 'rectiflow'; zeros([-1])`;
  const { stderr } = spawnSync(process.execPath, ['--enable-source-maps', '--input-type=module', '-e', text], {
    cwd: project,
    encoding: 'utf8',
  });
  const [, file, line] = /at zeros \(.*rectiflow\/(src\/tensor\/create\.ts):(\d+):/.exec(stderr) ?? [];
  const lines = readFileSync(join(root, file), 'utf8').split('\n');
  const start = lines.findIndex((text) => text.startsWith('export function zeros('));
  expect(Number(line)).toBeGreaterThan(start + 1);
  expect(Number(line)).toBeLessThan(start + 6);
});

it("runs the README's programs", () => {
  for (const name of Object.keys(dependencies)) {
    const link = join(project, 'node_modules', name);
    if (!existsSync(link)) symlinkSync(join(root, 'node_modules', name), link);
  }
  expect(programs).toHaveLength(2);
  cpSync(join(root, 'examples/custom_op.mjs'), join(project, 'custom_op.mjs'));
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

it.each(['cpu', 'wasm', 'cuda:0'])('runs the example of an op with kernels of its own on %s', (device) => {
  // Its card is the emulated one.
  const emulated = device === 'cuda:0' ? fakeCuda() : {};
  const { stdout, stderr, status } = spawnSync(process.execPath, ['custom_op.mjs', device], {
    cwd: project,
    encoding: 'utf8',
    env: { ...process.env, ...emulated },
  });
  expect(stderr).toBe('');
  expect(stdout).toContain('[-0.75000, 0, 0.50000]\n');
  expect(stdout).toContain('[0.062500, 1, 0.25000]\n');
  expect(status).toBe(0);
});

it('includes the command, its configurations and its data', () => {
  const bin = join(packed, 'bin/rectiflow.js');
  const { status, stderr } = spawnSync(
    process.execPath,
    [bin, 'train', '--config', 'digits', '--workdir', 'run', '--config.model.nf=8', '--config.training.n_iters=1'],
    { cwd: project, encoding: 'utf8' },
  );
  expect(stderr).toContain('train 2/2');
  expect(status).toBe(0);
});

it('works as a command right after a clone, from any folder of it', () => {
  // The clone holds the files that a commit of the working tree would hold, and its build; packages are linked instead of installed.
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
  // The build is copied from this folder, since the sources are the same; RECTIFLOW_TEST_FULL=1 builds it in the clone.
  if (full) execFileSync('npm', ['run', 'build'], { cwd: clone, stdio: 'ignore' });
  else cpSync(join(root, 'dist'), join(clone, 'dist'), { recursive: true });
  expect(statSync(join(clone, 'dist/cli/main.js')).mode & 0o111).toBe(0o111);
  for (const cwd of [clone, join(clone, 'docs')]) {
    const { stdout, status } = spawnSync('npx', ['--no-install', 'rectiflow', '--help'], { cwd, encoding: 'utf8' });
    expect(stdout).toContain('Usage: rectiflow COMMAND');
    expect(status).toBe(0);
  }
}, 120_000);

describe('its types', () => {
  const right = `
import { type Dtype, sum, type Tensor, tensor } from 'rectiflow';
import 'rectiflow/fluent';
import { sample } from 'rectiflow/flow';
import { readNpy } from 'rectiflow/io';
import { type ConfigFile, loadConfig } from 'rectiflow/run';
const x = tensor([1, 2, 3]);
export const y: Tensor = x.mul(2).add(x).square().sum({ axes: 0, keepDims: true }).reshape([1]);
export const dtype: Dtype = x.argmax({ axis: 0 }).dtype;
export const file: ConfigFile = { base: 'digits', optim: { lr: 1e-3 } };
export async function work(): Promise<number> {
  using z = tensor([[1], [2]], { requiresGrad: true });
  sum(z.matmul(x.reshape([1, 3]))).backward();
  const { samples } = await sample((a, t) => a.mul(t.reshape([-1, 1])), { shape: [2], count: 1, seed: 1, solver: 'rk45' });
  const config = await loadConfig('digits');
  return samples.length + config.optim.lr + (await readNpy('x.npy')).shape.length;
}
`;
  /** One mistake per line, with the error that it must cause. */
  const mistakes: [line: string, code?: string][] = [
    ["import { cast, openDevice, sum, tensor } from 'rectiflow';"],
    ["import 'rectiflow/fluent';"],
    ["import type { SampleOptions } from 'rectiflow/flow';"],
    ["import { Adam, MLP } from 'rectiflow/nn';"],
    ["import { type ConfigFile, loadConfig } from 'rectiflow/run';"],
    ['const x = tensor([1, 2, 3]);'],
    ['export const s: string = x.mul(2);', 'TS2322'],
    ['x.square().notAMethod();', 'TS2339'],
    ['x.sum({ axes: 0 }).notAMethod();', 'TS2339'],
    ["x.mul('three');", 'TS2345'],
    ['x.sum({ axees: 0 });', 'TS2561'],
    ['sum(x, { axees: 1 });', 'TS2561'],
    ["x.reshape('2');", 'TS2345'],
    ["cast(x, 'float64');", 'TS2345'],
    ["tensor([1], { dtype: 'f46' });", 'TS2322'],
    ['x.shape.push(1);', 'TS2339'],
    ["x.backward('x');", 'TS2345'],
    ['new Adam(new MLP([2, 2]), { learningrate: 1 });', 'TS2561'],
    ['await openDevice(0);', 'TS2345'],
    ["export const solver: SampleOptions['solver'] = 'eular';", 'TS2820'],
    ["export const file: ConfigFile = { optim: { optimiser: 'Adam' } };", 'TS2561'],
    ["export const n: string = (await loadConfig('digits')).training.batch_size;", 'TS2322'],
  ];
  const expected = mistakes.flatMap(([, code], i) => (code === undefined ? [] : [`wrong.ts(${i + 1}): ${code}`]));
  const files = ['every.ts', 'right.ts', 'wrong.ts'];
  // Types that a JavaScript program leaves to inference may be any.
  const javascript = { allowJs: true, checkJs: true, noImplicitAny: false, types: ['node'] };

  let project: string;
  let types: ModuleTypes;

  /** An empty project with the package, its dependencies, its peer dependencies that are types, and these files. */
  function consumer(peers: readonly string[]): string {
    const folder = makeConsumer(packed, [...Object.keys(dependencies), ...peers]);
    const every = entries.map((name, i) => `import * as e${i} from '${name}';\nexport { e${i} };\n`);
    writeFileSync(join(folder, 'every.ts'), every.join(''));
    every.forEach((text, i) => {
      writeFileSync(join(folder, `only${i}.ts`), text);
    });
    writeFileSync(join(folder, 'right.ts'), right);
    writeFileSync(join(folder, 'wrong.ts'), mistakes.map(([line]) => line).join('\n'));
    programs.forEach((text, i) => {
      writeFileSync(join(folder, `readme${i}.js`), text);
    });
    return folder;
  }

  beforeAll(() => {
    const peers = Object.keys(peerDependenciesMeta).filter((name) => name.startsWith('@types/'));
    // The only dependencies of @types/node and of fast-check.
    project = consumer([...peers, 'undici-types', 'fast-check', 'pure-rand']);
    types = new ModuleTypes(project, 'every.ts');
  }, 60_000);

  it('are valid for each compiler and module resolution, and find every mistake', async () => {
    const jobs = Object.keys(compilers).flatMap((compiler) =>
      resolutions.map((resolution) => ({ compiler, resolution, files }) as Compilation),
    );
    const results = await twoAtATime(jobs, (job) => compile(project, job));
    const label = ({ compiler, resolution }: Compilation) => `${compiler} ${resolution}`;
    expect(Object.fromEntries(jobs.map((job, i) => [label(job), results[i]]))).toEqual(
      Object.fromEntries(jobs.map((job) => [label(job), expected])),
    );
  }, 300_000);

  it.each<[string, Partial<Compilation>, string[]]>([
    ['with browser types next to those of Node', { options: { lib: ['es2022', 'dom'] } }, expected],
    ['with the newest library', { options: { lib: ['esnext'], target: 'esnext', types: ['node'] } }, expected],
    ['without strict', { options: { strict: false, exactOptionalPropertyTypes: false } }, expected],
    ...entries.map((name, i): [string, Partial<Compilation>, string[]] => [name, { files: [`only${i}.ts`] }, []]),
    ["the README's programs", { files: programs.map((_, i) => `readme${i}.js`), options: javascript }, []],
  ])('are valid: %s', async (_, more, errors) => {
    expect(await compile(project, { compiler: '7.0', resolution: 'nodenext', files, ...more })).toEqual(errors);
  });

  it('require @types/node if it is absent', async () => {
    const errors = await compile(consumer([]), { compiler: '7.0', resolution: 'nodenext', files: ['only0.ts'] });
    expect(errors).toContain('node_modules/rectiflow/dist/index.d.ts(1): TS2688');
  });

  it('contain no any', () => {
    expect(entries.flatMap((name) => types.anys(name))).toEqual([]);
  });

  it('refer to declaration files by the names of the JavaScript files', () => {
    const declarations = readdirSync(join(packed, 'dist'), { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.d.ts'),
    );
    const texts = declarations.map((name) => readFileSync(join(packed, 'dist', name), 'utf8'));
    const specifiers = texts.flatMap((text) =>
      [...text.matchAll(/(?:from |import |import\(|module )["'](\.[^"']*)["']/g)].map(([, path]) => path),
    );
    expect(specifiers.length).toBeGreaterThan(500);
    expect(specifiers.filter((path) => !path.endsWith('.js'))).toEqual([]);
    // Node and bundlers take the first condition that holds.
    for (const entry of Object.values(exports))
      if (typeof entry === 'object')
        expect(Object.keys(entry as object).filter((name) => name !== 'browser')).toEqual(['types', 'default']);
  });

  it('declare exactly the fluent methods that exist', () => {
    const own = "Object.getOwnPropertyNames(Tensor.prototype).filter((name) => name !== 'constructor')";
    const { stdout } = node(
      `import { Tensor } from 'rectiflow'; const before = ${own}; await import('rectiflow/fluent');` +
        `console.log(JSON.stringify([before, ${own}]))`,
    );
    const [before, after] = JSON.parse(stdout) as string[][];
    const methods = types.methods(types.declared('rectiflow', 'Tensor'));
    expect(after.filter((name) => !before.includes(name)).sort()).toEqual(
      methods.filter((name) => !before.includes(name)).sort(),
    );
    expect(after.length).toBeGreaterThan(before.length);
  });
});
