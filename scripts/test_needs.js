// What `npm test` needs besides Node and npm's packages: one list. `npm test` looks for all of it before anything else, and
// exits with 2 and the missing names. `npm run test:setup` (`--install`) installs them on Debian and Ubuntu, as root or by sudo.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The names under which a browser is looked for; test/support/browser.ts starts the first. */
export const browsers = ['chromium', 'chromium-browser', 'google-chrome'];

/**
 * A tool is found by any of `commands` on PATH, which may be named by a variable; a library by its file.
 * `packages` are those of Debian and Ubuntu.
 */
export const needs = [
  { name: 'git', commands: ['git'], packages: ['git'], purpose: 'lists the files of the repository' },
  {
    name: 'a C compiler',
    commands: ['cc', 'gcc', 'clang'],
    variable: 'CC',
    packages: ['gcc', 'libc6-dev'],
    purpose: 'builds the kernels of the device cpu',
  },
  { name: 'g++', commands: ['g++'], packages: ['g++'], purpose: 'builds the emulated card' },
  {
    name: 'clang',
    commands: ['clang'],
    variable: 'CLANG',
    packages: ['clang'],
    purpose: 'builds kernels for WebAssembly',
  },
  { name: 'wasm-ld', commands: ['wasm-ld'], variable: 'WASM_LD', packages: ['lld'], purpose: 'links them' },
  { name: 'ps', commands: ['ps'], packages: ['procps'], purpose: 'finds processes that a test left behind' },
  {
    name: 'Open MPI',
    commands: ['mpirun.openmpi'],
    packages: ['openmpi-bin', 'libopenmpi3'],
    // Ubuntu 24.04 renamed the library.
    ubuntu: ['openmpi-bin'],
    purpose: 'starts processes that train together',
  },
  {
    name: 'MPICH',
    commands: ['mpirun.mpich'],
    packages: ['mpich', 'libmpich12'],
    purpose: 'does the same with another MPI',
  },
  { name: 'xz', commands: ['xz'], packages: ['xz-utils'], purpose: 'packs Node for a host with a card' },
  {
    name: 'chromium',
    commands: browsers,
    packages: ['chromium', 'fonts-liberation', 'fonts-dejavu-core'],
    // Ubuntu has no package of the name chromium.
    ubuntu: ['chromium-browser', 'fonts-liberation', 'fonts-dejavu-core'],
    purpose: 'opens reports and pages',
  },
  {
    name: 'LAPACK',
    library: 'liblapack.so.3',
    variable: 'LIBLAPACK_PATH',
    packages: ['liblapack3'],
    purpose: 'checks the Frechet distance',
  },
];

/** @param env the environment with PATH @returns those that are missing */
export function missingNeeds(env = process.env) {
  return needs.filter(({ commands, library, variable }) => {
    if (variable && env[variable]) return false;
    return commands ? !commands.some((name) => hasCommand(name, env)) : !hasLibrary(library);
  });
}

function hasCommand(name, env) {
  return (env.PATH ?? '').split(delimiter).some((folder) => {
    const path = join(folder || '.', name);
    try {
      accessSync(path, constants.X_OK);
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
}

/** Whether a library lies in a folder of the system's loader. Only Linux keeps its libraries there. */
function hasLibrary(file) {
  if (process.platform !== 'linux') return true;
  const roots = ['/usr/lib', '/lib', '/usr/lib64', '/lib64', '/usr/local/lib'].filter((root) => existsSync(root));
  const inner = roots.flatMap((root) =>
    readdirSync(root)
      .filter((name) => /-linux-gnu\w*$/.test(name))
      .map((name) => join(root, name)),
  );
  return [...roots, ...inner].some((folder) => existsSync(join(folder, file)));
}

/** The packages that install `missing`, in their order and once each. @param isUbuntu whether names are those of Ubuntu */
export function packagesOf(missing, isUbuntu) {
  return [...new Set(missing.flatMap(({ packages, ubuntu = packages }) => (isUbuntu ? ubuntu : packages)))];
}

export function isUbuntu() {
  const about = '/etc/os-release';
  return existsSync(about) && /^ID="?ubuntu"?$/m.test(readFileSync(about, 'utf8'));
}

function describe(missing) {
  const width = Math.max(...missing.map(({ name }) => name.length));
  return missing.map(({ name, purpose }) => `  ${name.padEnd(width)}  ${purpose}`).join('\n');
}

/** @returns the exit code */
function install() {
  const missing = missingNeeds();
  if (missing.length === 0) {
    console.log('test:setup: nothing to install');
    return 0;
  }
  const packages = packagesOf(missing, isUbuntu());
  const byHand = `install what corresponds to Debian's packages ${packages.join(' ')}`;
  if (!hasCommand('apt-get', process.env)) {
    console.error(`test:setup: it installs by apt-get (Debian, Ubuntu), which was not found; ${byHand}:`);
    console.error(describe(missing));
    return 2;
  }
  const isRoot = process.getuid?.() === 0;
  const line = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (!isRoot && !hasCommand('sudo', process.env)) {
    console.error(`test:setup: only root may install packages, and sudo was not found. Run as root:\n  ${line}`);
    return 2;
  }
  const prefix = isRoot ? [] : ['sudo', 'env'];
  for (const words of [['apt-get', 'update', '-qq'], line.split(' ')]) {
    const command = [...prefix, ...(isRoot ? [] : ['DEBIAN_FRONTEND=noninteractive']), ...words];
    console.log(`test:setup: ${command.join(' ')}`);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const { status, error } = spawnSync(command[0], command.slice(1), { stdio: 'inherit', env });
    if (status !== 0) {
      console.error(`test:setup: ${words.slice(0, 2).join(' ')} failed${error ? `: ${error.message}` : ''}`);
      return 2;
    }
  }
  const left = missingNeeds();
  if (left.length > 0) console.error(`test:setup: still missing:\n${describe(left)}`);
  else console.log('test:setup: `npm test` has what it needs');
  return left.length > 0 ? 2 : 0;
}

/** @returns the exit code */
function check() {
  const missing = missingNeeds();
  if (missing.length === 0) return 0;
  console.error(`npm test needs what this machine does not have:\n${describe(missing)}`);
  console.error(
    `Run \`npm run test:setup\`. It installs ${packagesOf(missing, isUbuntu()).join(' ')} (Debian, Ubuntu; as root or by sudo).`,
  );
  return 2;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  process.exitCode = process.argv.includes('--install') ? install() : check();
