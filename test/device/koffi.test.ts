// koffi that is absent or has no binary for this system, as after `npm install --omit=optional`: its own error is reported, and
// commands compute on the device wasm. Also: memory that native code reads stays alive meanwhile.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildWasm } from '../support/wasm.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-koffi-'));
const home = join(folder, 'node_modules/rectiflow');

beforeAll(() => {
  buildWasm();
  mkdirSync(home, { recursive: true });
  for (const name of ['dist', 'bin', 'configs', 'assets', 'package.json'])
    cpSync(join(root, name), join(home, name), { recursive: true, filter: (path) => !path.endsWith('/dist/gpu') });
}, 120_000);

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function program(text: string) {
  return spawnSync(process.execPath, ['--input-type=module', '-e', text], { cwd: folder, encoding: 'utf8' });
}

function rectiflow(...words: string[]) {
  return spawnSync(process.execPath, [join(home, 'bin/rectiflow.js'), ...words], { cwd: folder, encoding: 'utf8' });
}

const open = `import { openDevice } from 'rectiflow'; await openDevice('cpu').catch((error) => console.log(error.message));`;
const tiny = ['--config.model.nf=8', '--config.training.batch_size=16', '--config.training.n_iters=2'];

describe('without its binary', () => {
  const reason =
    'the package koffi, which native devices need, does not load (Cannot find the native Koffi module; did you bundle it ' +
    `correctly?). Its file for this system (${process.platform} ${process.arch}) is an optional dependency: run ` +
    '`npm install --include=optional koffi`';

  beforeAll(() => {
    const koffi = dirname(createRequire(import.meta.url).resolve('koffi'));
    cpSync(koffi, join(folder, 'node_modules/koffi'), { recursive: true });
  });

  test('a native device reports the reason and the remedy', () => {
    expect(program(open).stdout).toBe(`${reason}\n`);
    const cuda = program(open.replace("'cpu'", "'cuda'"));
    expect(cuda.stdout).toContain('Cannot find the native Koffi module');
  });

  test('training falls back to the device wasm with a note; a native device that was requested is an error', () => {
    const { stderr, status } = rectiflow('train', '--config', 'digits', '--workdir', 'run', '--threads', '1', ...tiny);
    expect(stderr).toContain(`note: ${reason}: computing in WebAssembly, on the device wasm\n`);
    expect(status, stderr).toBe(0);
    const named = rectiflow('train', '--config', 'digits', '--workdir', 'named', '--device', 'cpu', ...tiny);
    expect(named.stderr).toBe(`rectiflow: ${reason}\n`);
    expect(named.status).toBe(1);
  });

  test('doctor reports the same reason', () => {
    const { stdout, status } = rectiflow('doctor');
    expect(stdout).toContain(`note     koffi           ${reason}\n`);
    expect(stdout).toContain(`note     device cpu      ${reason}\n`);
    expect(stdout).toMatch(/^ok +device wasm/m);
    expect(stdout).toMatch(/^ok +kernel cache/m);
    expect(status).toBe(0);
  });
});

test('a training step is bit-identical when garbage is collected between any two kernels', () => {
  const text = `
    import { openDevice, randn, scope, square, sub, sum } from '${new URL('../../dist/index.js', import.meta.url).href}';
    import { Adam, MLP } from '${new URL('../../dist/nn/index.js', import.meta.url).href}';
    const device = await openDevice('cpu');
    const collect = globalThis.gc;
    const train = (collecting) => {
      const network = new MLP([8, 32, 8]);
      const optimizer = new Adam(network, { learningRate: 1e-2 });
      const load = device.load.bind(device);
      const [upload, table] = [device.upload.bind(device), device.table.bind(device)];
      if (collecting) {
        device.load = (module) => (collect(), load(module));
        device.upload = (...values) => (collect(), upload(...values), collect());
        device.table = (values) => (collect(), table(values));
      }
      const losses = [];
      for (let step = 0; step < 3; step++)
        losses.push(optimizer.minimize(() => {
          const x = randn([16, 8], { seed: step });
          return sum(square(sub(network.forward(x), x)));
        }).item());
      const parameters = [...network.namedParameters()].flatMap(([, tensor]) => [...tensor.dataSync()]);
      Object.assign(device, { load, upload, table });
      return JSON.stringify([losses, parameters]);
    };
    console.log(train(false) === train(true), train(true).length > 1000);`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', text], {
    encoding: 'utf8',
  });
  expect(stdout, stderr).toBe('true true\n');
});
