// npm run gpu:pack [-- --out FOLDER] [--arch sm_90a] [--level 6] [--no-kernels]
// Makes a folder with all that a bare host with a card needs: Node, the built package, koffi, compiled kernels, and first_hour.sh, which
// checks and measures everything. The host needs an NVIDIA driver and NVRTC; it needs no Node, npm, compiler or network.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const MOST_MEGABYTES = 60;
const root = fileURLToPath(new URL('..', import.meta.url));

const text = (fallback) => ({ type: 'string', default: fallback });
const { values } = parseArgs({
  options: {
    out: text(join('.gpu', 'pack')),
    arch: text('sm_90a'),
    level: text('6'),
    'no-kernels': { type: 'boolean', default: false },
  },
});
if (process.platform !== 'linux' || process.arch !== 'x64') fail('a pack is made on Linux x64, for such a host');
if (!/^[0-9]$/.test(values.level)) fail(`--level takes a digit, got ${values.level}`);
if (!existsSync(join(root, 'dist/gpu/main.js'))) fail('dist/gpu is missing: npm run build');
const out = resolve(values.out);
if (existsSync(out) && !existsSync(join(out, 'first_hour.sh'))) fail(`${out} exists and is not a pack`);

// Results and state in the folder stay, and a packed Node of this version, because compressing it takes a minute.
for (const name of ['dist', 'node_modules', 'bin', 'configs', 'cache', 'first_hour.sh', 'package.json', 'node'])
  rmSync(join(out, name), { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const node = join(out, 'node.xz');
const version = join(out, 'node.version');
if (!existsSync(node) || !existsSync(version) || readFileSync(version, 'utf8') !== process.version) {
  const packed = openSync(`${node}.part`, 'w');
  const { status, error } = spawnSync('xz', ['-T0', `-${values.level}`, '-c', process.execPath], {
    stdio: ['ignore', packed, 'inherit'],
  });
  if (status !== 0) fail(`xz cannot pack Node: ${error?.message ?? `it ended with ${status}`}`);
  renameSync(`${node}.part`, node);
  writeFileSync(version, process.version);
}
const needed = (path) => !/\.(map|d\.ts|md)$|\/(doc|vendor|musl_x64)$/.test(path);
cpSync(join(root, 'dist'), join(out, 'dist'), {
  recursive: true,
  filter: (path) => !/\.(map|d\.ts)$|\/dist\/wasm$/.test(path),
});
for (const name of ['koffi', '@koromix'])
  cpSync(join(root, 'node_modules', name), join(out, 'node_modules', name), { recursive: true, filter: needed });
for (const folder of ['bin', 'configs']) cpSync(join(root, folder), join(out, folder), { recursive: true });
cpSync(join(root, 'scripts/first_hour.sh'), join(out, 'first_hour.sh'));
chmodSync(join(out, 'first_hour.sh'), 0o755);
writeFileSync(join(out, 'package.json'), '{ "type": "module" }\n');

const cache = join(out, 'cache');
mkdirSync(cache, { mode: 0o700 });
if (!values['no-kernels']) {
  const filled = spawnSync(process.execPath, [join(out, 'dist/gpu/main.js'), '--fill', values.arch], {
    env: { ...process.env, RECTIFLOW_CACHE: cache },
    stdio: ['ignore', 'inherit', 'pipe'],
    encoding: 'utf8',
  });
  if (filled.status !== 0)
    console.log(`no compiled kernels are packed, so the host compiles them: ${filled.stderr.trim()}`);
}

const megabytes = sizeOf(out) / 1e6;
console.log(`${out}: ${megabytes.toFixed(1)} MB of ${MOST_MEGABYTES} at most; on the host: sh first_hour.sh`);
if (megabytes > MOST_MEGABYTES) process.exitCode = 1;

function sizeOf(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}

function fail(message) {
  console.error(`gpu:pack: ${message}`);
  process.exit(2);
}
