// Lossless conversion of a .pth file to safetensors: the tensors under their paths in the tree, such as
// "model.module.all_modules.0.weight" or "optimizer.state.0.exp_avg", and the tree itself as JSON in the metadata.
//
//   tensor {"tensor": "name"}   dict {"dict": [[key, value], ..]}, {"ordered": ..}   tuple {"tuple": [..]}   list [..]
//   number, text, true, false, null as JSON; {"int": "digits"} and {"float": "NaN"} for values without a JSON number
import { checkArgument, checkArguments, either, instanceOf, kinds } from '../../arguments.ts';
import { FileError, ValueError } from '../../errors.ts';
import { type ArrayFile, checkArray } from '../array.ts';
import { parseStrictJson } from '../json.ts';
import { Tuple } from './pickle_machine.ts';
import { OrderedDict } from './torch_pickle.ts';
import type { TorchValue } from './torch_values.ts';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const MAX_DEPTH = 100;
const keyKind = either(kinds.text, kinds.number);

/**
 * Splits a tree into its tensors, by their paths in it, and the JSON of the rest.
 * @throws ValueError for a tree of more than 100 levels
 * @example
 * await writePth('model.pth', [{ shape: [2], dtype: 'f32', data: Float32Array.of(1, 2) }, 100]);
 * const { tensors, tree } = flattenTorch(await readPth('model.pth'));
 * [...tensors.keys()]; // ['0']
 * tree; // '[{"tensor":"0"},100]'
 */
export function flattenTorch(root: TorchValue): { tensors: Map<string, ArrayFile>; tree: string } {
  const tensors = new Map<string, ArrayFile>();
  const uniqueName = (path: string) => {
    let name = path || 'tensor';
    for (let i = 2; tensors.has(name); i++) name = `${path}#${i}`;
    return name;
  };
  const walk = (value: TorchValue, path: string, depth: number): Json => {
    if (depth > MAX_DEPTH)
      throw new ValueError(
        `[flattenTorch] expected a tree of at most ${MAX_DEPTH} levels, got a deeper one at "${path}"`,
      );
    const below = (key: string | number) => (path ? `${path}.${key}` : String(key));
    if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
    if (typeof value === 'bigint') return { int: String(value) };
    if (typeof value === 'number')
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : { float: Object.is(value, -0) ? '-0' : String(value) };
    if (value instanceof Map)
      return {
        [value instanceof OrderedDict ? 'ordered' : 'dict']: Array.from(value, ([key, child]) => {
          checkArgument('flattenTorch', 'a key', key, keyKind);
          return [key, walk(child, below(key), depth + 1)];
        }),
      };
    if (Array.isArray(value)) {
      const items = Array.from(value, (child, i) => walk(child, below(i), depth + 1));
      return value instanceof Tuple ? { tuple: items } : items;
    }
    const name = uniqueName(path);
    tensors.set(name, checkArray('flattenTorch', name, value));
    return { tensor: name };
  };
  const tree = JSON.stringify(walk(root, '', 0));
  return { tensors, tree };
}

/**
 * Restores the tree.
 * @throws FileError for JSON that is not such a tree, or that names a tensor missing from the file
 * @example
 * const root = new Map([['step', 100], ['rate', 0.5]]);
 * const { tensors, tree } = flattenTorch(root);
 * await writeSafetensors('copy.safetensors', tensors, { tree });
 * const copy = await readSafetensors('copy.safetensors');
 * unflattenTorch('copy.safetensors', copy.tensors, copy.metadata.tree); // { step: 100, rate: 0.5 }
 */
export function unflattenTorch(path: string, tensors: ReadonlyMap<string, ArrayFile>, tree: string): TorchValue {
  checkArguments('unflattenTorch', {
    path: [path, kinds.text],
    tensors: [tensors, instanceOf(Map, 'a Map of arrays by name')],
    tree: [tree, kinds.text],
  });
  const wrong = (what: string, cause?: unknown) => new FileError(path, `its tree ${what}`, { cause });
  const read = (json: unknown, depth: number): TorchValue => {
    if (depth > MAX_DEPTH) throw wrong(`is nested deeper than ${MAX_DEPTH}`);
    if (json === null || ['boolean', 'number', 'string'].includes(typeof json)) return json as TorchValue;
    if (Array.isArray(json)) return json.map((item) => read(item, depth + 1));
    const [[kind, content] = [], ...more] = Object.entries(json as object);
    if (kind === undefined || more.length > 0) throw wrong('has an object without exactly one key');
    return composite(kind, content, depth);
  };
  const composite = (kind: string, content: unknown, depth: number): TorchValue => {
    if (kind === 'tensor') {
      const tensor = tensors.get(String(content));
      if (!tensor) throw wrong(`names a missing tensor "${content}"`);
      return tensor;
    }
    if (kind === 'int' && /^-?\d{1,1000}$/.test(String(content))) return BigInt(String(content));
    if (kind === 'float' && ['NaN', 'Infinity', '-Infinity', '-0'].includes(String(content))) return Number(content);
    if (kind === 'tuple' && Array.isArray(content))
      return Tuple.from(content, (item) => read(item, depth + 1)) as Tuple<TorchValue>;
    if ((kind === 'dict' || kind === 'ordered') && Array.isArray(content)) {
      const map: Map<string | number, TorchValue> = kind === 'ordered' ? new OrderedDict() : new Map();
      for (const pair of content) {
        if (!Array.isArray(pair) || pair.length !== 2 || !['string', 'number'].includes(typeof pair[0]))
          throw wrong('has a dictionary entry that is not a pair of key and value');
        map.set(pair[0], read(pair[1], depth + 1));
      }
      return map;
    }
    throw wrong(`has an unknown part "${kind}"`);
  };
  let json: unknown;
  try {
    json = parseStrictJson(tree);
  } catch (cause) {
    throw wrong('is not JSON', cause);
  }
  return read(json, 0);
}
