// The lattice of src: which folder may import which. `npm run check` reports every import that it does not allow, and
// docs/design.md shows it. A folder may always import its own files. An import of a type counts like any other.
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** The files of src that every folder may import. */
const base = ['arguments.ts', 'errors.ts', 'folders.ts', 'text.ts', 'turn.ts'];

/** A line for each folder, or file outside of one, below what it may import. A room of run may also import what run may. */
export const lattice = `
base ->
io -> base
device -> base
tensor -> base, device
autograd -> base, device, tensor
kernels -> base, device, tensor, autograd
nn -> base, device, tensor, autograd, kernels
flow -> base, device, tensor, autograd, kernels
data -> base, io, device, tensor
eval -> base, io, device, tensor, autograd, kernels, nn
plane -> base, device, tensor, autograd, kernels, nn, flow, data
fluent.ts -> tensor, kernels
testing -> base, tensor, autograd
index.ts -> base, device, tensor, autograd, kernels
run -> base, io, device, tensor, autograd, kernels, nn, flow, data, eval, plane
run/arguments.ts ->
run/config ->
run/plot ->
run/machine -> run/arguments.ts, run/config
run/data.ts -> run/config, run/machine
run/source.ts -> run/config, run/data.ts
run/text -> run/machine
run/latents -> run/arguments.ts, run/config, run/text
run/ranks -> run/config, run/machine
run/captions -> run/arguments.ts, run/config, run/text, run/latents
run/checkpoints -> run/arguments.ts, run/config, run/machine, run/captions, run/text, run/latents
run/workdir -> run/config, run/machine, run/checkpoints
run/loggers -> run/config
run/sampling -> run/arguments.ts, run/config, run/captions, run/latents, run/machine, run/data.ts, run/source.ts, run/checkpoints, run/workdir, run/ranks
run/training -> run/arguments.ts, run/config, run/captions, run/latents, run/machine, run/data.ts, run/source.ts, run/checkpoints, run/workdir, run/ranks, run/loggers, run/sampling
run/eval -> run/arguments.ts, run/config, run/captions, run/machine, run/data.ts, run/source.ts, run/checkpoints, run/workdir, run/ranks, run/sampling, run/training
run/report -> run/arguments.ts, run/config, run/captions, run/plot, run/machine, run/data.ts, run/source.ts, run/checkpoints, run/workdir, run/sampling, run/training, run/eval
run/chain -> run/arguments.ts, run/config, run/captions, run/latents, run/machine, run/source.ts, run/checkpoints, run/workdir, run/ranks, run/sampling, run/training, run/eval, run/report
run/runs -> run/config, run/machine, run/checkpoints, run/workdir, run/loggers, run/plot, run/eval, run/report, run/chain
run/serve -> run/arguments.ts, run/config, run/plot, run/machine, run/data.ts, run/source.ts, run/checkpoints, run/sampling, run/text
run/index.ts -> run/config, run/machine, run/ranks, run/data.ts, run/source.ts, run/checkpoints, run/workdir, run/loggers, run/sampling, run/training, run/eval, run/report, run/chain, run/runs, run/serve, run/text
cli -> base, io, device, data, flow, plane, run, run/config, run/machine, run/ranks, run/captions, run/checkpoints, run/workdir, run/plot, run/sampling, run/training, run/eval, run/report, run/chain, run/runs, run/serve, run/text
`.trim();

/** The one file outside of src that is imported: the build writes it. */
const built = 'dist/wasm/kernels.js';

const allowed = new Map(
  lattice.split('\n').map((line) => {
    const [folder, list] = line.split(/ ->\s?/);
    return [folder, list === '' ? [] : list.split(', ')];
  }),
);

/** The line of the lattice that a file belongs to, by its path from src: "kernels", "run/eval", "base". */
function lineOf(path) {
  if (base.includes(path)) return 'base';
  const [first, second] = path.split('/');
  return first === 'run' && second !== undefined ? `run/${second}` : first;
}

/** @returns what is wrong with an import by a file of src, of a package or of a path from the root */
function fault(file, target, isPackage) {
  if (target === 'koffi') return file.startsWith('src/device/native/') ? undefined : 'only device/native imports koffi';
  if (/^rectiflow(\/|$)/.test(target)) return 'the product does not import itself as a package';
  if (/^(test|bench)\//.test(target)) return 'the product does not import its tests and benchmarks';
  if (!target.startsWith('src/')) return isPackage || target === built ? undefined : 'it is outside of src';
  if (target.startsWith('src/device/native/') && !file.startsWith('src/device/'))
    return 'only device imports device/native';
  const [from, to] = [file, target].map((path) => lineOf(path.slice('src/'.length)));
  const list = allowed.get(from);
  if (list === undefined) return `${from} has no line in scripts/layers.js`;
  if (from === to || list.includes(to) || (from.startsWith('run/') && allowed.get('run').includes(to)))
    return undefined;
  return `${from} may import ${[...list, ...(from.startsWith('run/') ? ['what run may'] : [])].join(', ') || 'nothing'}`;
}

/** @returns a line for each import under root/src that the lattice does not allow: file, import, rule */
export function violations(root) {
  const found = [];
  for (const name of readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (!/\.(c|m)?(ts|js)$/.test(name)) continue;
    const file = `src/${name.replaceAll('\\', '/')}`;
    for (const { fileName } of ts.preProcessFile(readFileSync(join(root, file), 'utf8')).importedFiles) {
      const isPackage = !/^[./]/.test(fileName);
      const target = isPackage ? fileName : posix.join(posix.dirname(file), fileName);
      const rule = fault(file, target, isPackage);
      if (rule !== undefined) found.push(`${file}: imports ${target}; ${rule}`);
    }
  }
  return found;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = violations(fileURLToPath(new URL('..', import.meta.url)));
  for (const line of found) console.error(line);
  if (found.length > 0) process.exit(1);
}
