// The package's tables of measured rates, one per instruction set. `rectiflow tune --out src/kernels/tuning/X.json`
// measures a table again. NEON uses the table for 128-bit vectors, which was measured with SSE.
import { sourceUrl } from '../../device/source.ts';
import { readText } from '../../device/texts.ts';
import { requireTuning, type Tuning } from './table.ts';

export const instructionSets = ['avx512', 'avx2', 'simd128', 'wasm'] as const;
export type InstructionSet = (typeof instructionSets)[number];

const files: Readonly<Record<InstructionSet, string>> = {
  avx512: 'kernels/tuning/avx512.json',
  avx2: 'kernels/tuning/avx2.json',
  simd128: 'kernels/tuning/simd128.json',
  wasm: 'kernels/tuning/wasm.json',
};

/** The value of a JSON file below src. A bundle contains the text of the file. */
export function readTable<Value>(path: string, check: (path: string, value: unknown) => Value): Value {
  return check(path, JSON.parse(readText(sourceUrl(path))));
}

const read = new Map<InstructionSet, Tuning>();

/** The package's table for an instruction set; its file is read once. */
export function packagedTuning(set: InstructionSet): Tuning {
  const known = read.get(set);
  if (known) return known;
  const tuning = readTable(files[set], requireTuning);
  read.set(set, tuning);
  return tuning;
}
