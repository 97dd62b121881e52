// A module's tensors in a safetensors file. Modules are known here by what they give and take: this folder does not import
// networks.
import { checkArgument, either, kind, kinds } from '../arguments.ts';
import { FileError } from '../errors.ts';
import { type ArrayData, type ArrayDtype, type ArrayFile, toFloat32 } from './array.ts';
import { decodeSafetensors, readSafetensors, writeSafetensors } from './safetensors.ts';

/** A network with named tensors, such as a Module of rectiflow/nn. */
export interface StatefulModule {
  /** Its tensors, by name. */
  stateDict(): ReadonlyMap<string, StateTensor>;
  /** Copies values into them. @throws FileError for other names or shapes, naming `origin` */
  loadStateDict(values: Map<string, { shape: readonly number[]; data: Float32Array }>, origin?: string): unknown;
}

interface StateTensor {
  readonly shape: readonly number[];
  readonly dtype: ArrayDtype;
  data(): Promise<ArrayData>;
}

const moduleKind = kind('a module', (value) => {
  if (!kinds.object.accepts(value)) return false;
  const { stateDict, loadStateDict } = value as StatefulModule;
  return typeof stateDict === 'function' && typeof loadStateDict === 'function';
});

/**
 * Writes the tensors of a module to a safetensors file, under their names in `stateDict`. The old file stays until the
 * new one is completely on disk.
 * @param metadata texts to store with them
 * @throws FileError
 * @example
 * const network = new MLP([2, 8, 1]);
 * await saveModule('network.safetensors', network);
 * const { tensors } = await readSafetensors('network.safetensors');
 * [...tensors.keys()]; // ['layers.0.weight', 'layers.0.bias', 'layers.1.weight', 'layers.1.bias']
 */
export async function saveModule(
  path: string,
  module: StatefulModule,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  checkArgument('saveModule', 'path', path, kinds.path);
  checkArgument('saveModule', 'module', module, moduleKind);
  const tensors = new Map<string, ArrayFile>();
  for (const [name, t] of module.stateDict())
    tensors.set(name, { shape: [...t.shape], dtype: t.dtype, data: await t.data() });
  await writeSafetensors(path, tensors, metadata);
}

/**
 * Copies the tensors of a safetensors file into a module of the same names and shapes. Numbers of 16 and of 64 bits are
 * converted to f32.
 * @param source the path of the file, or its bytes
 * @returns the module
 * @throws FileError for a file that is missing or damaged, or that does not fit the module, which is unchanged then
 * @example
 * const network = new MLP([2, 8, 1], new Initializer({ seed: 1 }));
 * await saveModule('network.safetensors', network);
 * const same = await loadModule('network.safetensors', new MLP([2, 8, 1]));
 * const x = randn([4, 2], { seed: 2 });
 * all(equal(same.forward(x), network.forward(x))); // true
 */
export async function loadModule<Loaded extends StatefulModule>(
  source: string | Uint8Array,
  module: Loaded,
): Promise<Loaded> {
  checkArgument('loadModule', 'source', source, either(kinds.path, kinds.bytes));
  checkArgument('loadModule', 'module', module, moduleKind);
  const path = typeof source === 'string' ? source : 'safetensors';
  const { tensors } = typeof source === 'string' ? await readSafetensors(source) : decodeSafetensors(source, path);
  const values = new Map<string, { shape: readonly number[]; data: Float32Array }>();
  for (const [name, array] of tensors) {
    if (!['f32', 'f64', 'f16', 'bf16'].includes(array.dtype))
      throw new FileError(path, `"${name}" is ${array.dtype}, expected f32, f64, f16 or bf16`);
    values.set(name, { shape: array.shape, data: toFloat32(array) });
  }
  module.loadStateDict(values, path);
  return module;
}
