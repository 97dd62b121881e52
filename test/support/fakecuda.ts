// The fake driver and the fake NVRTC of test/fakecuda, built once for each state of their sources. They stand in for the
// real libraries by LIBCUDA_PATH and LIBNVRTC_PATH alone.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const sources = fileURLToPath(new URL('../fakecuda', import.meta.url));

function build(folder: string, name: string, source: string): string {
  const library = join(folder, name);
  if (existsSync(library)) return library;
  const staged = `${library}.${process.pid}`;
  const defines = [`-DFAKE_FOLDER="${folder}"`, `-DFAKE_SOURCES="${sources}"`];
  const flags = ['-std=c++17', '-O2', '-Wall', '-Wextra', '-fPIC', '-shared', '-fvisibility=hidden', ...defines];
  execFileSync('g++', [...flags, join(sources, source), '-o', staged, '-ldl', '-lpthread'], { stdio: 'inherit' });
  renameSync(staged, library);
  return library;
}

/**
 * The environment variables that select the fakes, for this process or a child process. Kernels are not checked at their first use,
 * because the tests check them.
 */
export function fakeCuda(): { LIBCUDA_PATH: string; LIBNVRTC_PATH: string; RECTIFLOW_VERIFY: string } {
  const hash = createHash('sha256').update(sources);
  for (const name of readdirSync(sources).sort()) hash.update(name).update(readFileSync(join(sources, name)));
  const folder = join(tmpdir(), `rectiflow-fakecuda-${process.getuid?.()}`, hash.digest('hex').slice(0, 16));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return {
    LIBCUDA_PATH: build(folder, 'libcuda.so', 'driver.cpp'),
    LIBNVRTC_PATH: build(folder, 'libnvrtc.so', 'nvrtc.cpp'),
    RECTIFLOW_VERIFY: '0',
  };
}
