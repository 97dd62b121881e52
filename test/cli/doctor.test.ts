// `doctor --bundle`: what the report holds, and that nothing personal is in it.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildWasm } from '../support/wasm.ts';

const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-doctor-'));
const home = join(folder, 'home/marie.curie');
const run = join(home, 'private project/run');
const secret = 'hf_SeCrEtSeCrEtSeCrEt';

const environment: NodeJS.ProcessEnv = {
  PATH: process.env.PATH,
  HOME: home,
  USER: 'mcurie',
  HOSTNAME: 'radium-lab',
  RECTIFLOW_THREADS: '1',
  // Kernels that other tests have compiled.
  RECTIFLOW_CACHE: process.env.RECTIFLOW_CACHE ?? join(homedir(), '.cache/rectiflow/kernels'),
  RECTIFLOW_DATA: join(home, 'data'),
  LIBNVRTC_PATH: '/srv/curie-institute/libnvrtc.so',
  RECTIFLOW_TORCH_PYTHON: `python3 --token=${secret}`,
  AWS_SECRET_ACCESS_KEY: 'another-secret-of-the-environment',
};

function doctor(...words: string[]) {
  return spawnSync(process.execPath, [bin, 'doctor', ...words], { cwd: folder, env: environment, encoding: 'utf8' });
}

beforeAll(() => {
  buildWasm();
  mkdirSync(join(run, '1_rectified_flow'), { recursive: true });
  writeFileSync(join(run, 'chain.json'), '{ "stages": 3 }\n');
  writeFileSync(join(run, 'config.json'), JSON.stringify({ seed: 42, data: { root_path: `${home}/faces of mcurie` } }));
  const lines = Array.from({ length: 50 }, (_, step) => JSON.stringify({ step, loss: 1 / (step + 1) }));
  writeFileSync(
    join(run, '1_rectified_flow/log.jsonl'),
    `${lines.join('\n')}\n{"step": 50, "note": "radium-lab, ${hostname()}\u001b[2J"}\n`,
  );
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true }));

it('holds versions, machine, findings, variables, tables, and the configuration and last log lines of a run', () => {
  const { stdout, stderr, status } = doctor('--bundle', '--workdir', run);
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^ok +device cpu/m);
  expect(stdout).toContain('report: rectiflow-doctor.txt; please read it before you send it\n');
  expect(status).toBe(0);
  const text = readFileSync(join(folder, 'rectiflow-doctor.txt'), 'utf8');
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const headings = [...text.matchAll(/^## (.*)$/gm)].map(([, title]) => title);
  expect(headings).toEqual([
    ...['Versions', 'System', 'Findings', 'Environment', 'Convolution algorithms', 'Work directory'],
    ...['Work directory: chain.json', 'Work directory: config.json', 'Work directory: 1_rectified_flow/log.jsonl'],
  ]);
  for (const part of [
    `rectiflow ${version}, `,
    `Node ${process.versions.node}, V8 `,
    `${process.platform} `,
    'instruction sets: ',
    '\nRECTIFLOW_TORCH_PYTHON=python3 --token=<secret>\n',
    '\nRECTIFLOW_THREADS=1\n',
    '\nRECTIFLOW_DATA=~/data\n',
    '\nLIBNVRTC_PATH=<path>/libnvrtc.so\n',
    '"seed":42',
    '"step":49,',
    '"step":31,',
  ])
    expect(text).toContain(part);
  expect(text).toMatch(/^cpu: \w+ [0-9a-f]{12}$/m);
  expect(text).toMatch(/^wasm: wasm [0-9a-f]{12}$/m);
  // The last 20 lines, with control characters escaped.
  expect(text).not.toContain('"step":30,');
  expect(text).toContain('\\x1b[2J');
});

it('contains no name, no path of a person and no secret', () => {
  const text = readFileSync(join(folder, 'rectiflow-doctor.txt'), 'utf8');
  const personal = [folder, home, 'marie', 'curie', 'radium', 'private project', secret, 'another-secret', hostname()];
  expect(personal.filter((part) => text.toLowerCase().includes(part.toLowerCase()))).toEqual([]);
});

it.each([
  [['--workdir', '.'], /^rectiflow: --workdir requires --bundle\n$/, 2],
  [['--bundle', 'none/x.txt'], /^rectiflow: none\/x\.txt: no such file or folder: none does not exist\n$/, 1],
  [['--bundle', 'x.txt', '--workdir', 'none'], /^rectiflow: none: is not a folder of a run or a chain\n$/, 1],
])('%j is refused before any work', (words, message, code) => {
  const { stdout, stderr, status } = doctor(...words);
  expect(stdout).toBe('');
  expect(stderr).toMatch(message);
  expect(status).toBe(code);
  expect(existsSync(join(folder, 'x.txt'))).toBe(false);
});
