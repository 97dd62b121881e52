// Every program in docs/library.md runs unchanged.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs/library.md'), 'utf8');
// test/device/browser.test.ts runs the program for a worker of a page.
const programs = [...page.matchAll(/```js\n(?!\/\/ worker\.js\n)(.*?)```/gs)].map(([, text]) => text);
const expected: [title: string, output: RegExp, ...given: string[]][] = [
  ['devices and memory', /^20 Float32Array\(3\) \[ 2, 4, 6 \]\nbytes in use: \d+\n$/],
  ['a training loop', /^step 0 {2}loss \d\.\d{3}\nstep 50 {2}loss \d\.\d{3}\nstep 100 {2}loss \d\.\d{3}\n$/],
  // Five epochs; docs/results.md has the accuracy after thirty.
  ['a classifier', /^accuracy 0\.9\d\d\n$/, '5'],
  [
    'training',
    /^step 0 {2}loss .*\nstep 5 .*\nstep 10 .*\nstopped: true .*state_11\.safetensors\ndone: .*checkpoint_\d+\.safetensors\n$/,
  ],
  ['samples from a run', /^\[ 4, 8, 8, 1 \] 10\n$/],
  ['samples over HTTP', /^ok 0 image\/png 22 22\n$/],
  ['workers', /^the same seed, the same bits: true true\n$/],
  ['errors', /^true \[matmul\] expected .*, got .*\ntrue none\.safetensors: no such file.*\n$/],
  [
    'gradients of your own',
    new RegExp(
      [
        String.raw`Float32Array\(2\) \[ 1, -2 \] Float32Array\(2\) \[ 3, 3 \]`,
        String.raw`Float32Array\(2\) \[ 1.5, -2.25 \] Float32Array\(2\) \[ -3, -3 \]`,
        String.raw`Float32Array\(2\) \[ 30, -45 \]`,
      ].join('\\n'),
    ),
  ],
  [
    'forward mode',
    new RegExp(
      [
        String.raw`Float32Array\(2\) \[ 1, 8 \] Float32Array\(2\) \[ 3, 0 \]`,
        String.raw`Hessian times direction: Float32Array\(2\) \[ 6, 0 \]`,
        String.raw`Float32Array\(2\) \[ 3, 0 \] Float32Array\(2\) \[ 3, 0 \]`,
        String.raw`Float32Array\(2\) \[ 0.909\d+, -0.756\d+ \]`,
      ].join('\\n'),
    ),
  ],
  ['less memory', /^\[ 32, 32 \]\n$/],
  [
    'flows in the plane',
    /^1-rectified flow \d+\.\d\d \d+\.\d\d -?\d+\.\d{3}\n2-rectified flow \d+\.\d\d \d+\.\d\d -?\d+\.\d{3}\n21 200\n$/,
  ],
];

// This project has the package installed.
const project = mkdtempSync(join(tmpdir(), 'rectiflow-library-'));
mkdirSync(join(project, 'node_modules'));
symlinkSync(root, join(project, 'node_modules/rectiflow'));

it.each(expected.map(([title, output, ...given], i) => [title, output, given, i] as const))(
  '%s',
  (_, output, given, i) => {
    writeFileSync(join(project, `program${i}.mjs`), programs[i]);
    const { stdout, stderr, status } = spawnSync(process.execPath, [`program${i}.mjs`, ...given], {
      cwd: project,
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
    });
    expect(stderr).toBe('');
    expect(stdout).toMatch(output);
    expect(status).toBe(0);
  },
  60_000,
);

it('contains no other program', () => {
  expect(programs).toHaveLength(expected.length);
});

it('has a classifier of at most 25 lines', () => {
  const program = programs[expected.findIndex(([title]) => title === 'a classifier')];
  expect(program.trimEnd().split('\n').length).toBeLessThanOrEqual(25);
});
