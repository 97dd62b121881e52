// Finds the state dict of a network in the checkpoint of any trainer, and the prefix that the trainer added to its
// names:
//   official code      {model, ema: {shadow_params}, optimizer, step}, "module.all_modules.0.weight"
//   a bare state dict  the file itself
//   Lightning          {state_dict, pytorch-lightning_version, ...}, "model.all_modules.0.weight"
//   timm and others    {model | state_dict | model_state_dict, ema | model_ema | state_dict_ema}
// DDP prefixes names with "module.", once or more; torch.compile, FSDP and checkpointing insert a segment anywhere.
import { FileError } from '../../errors.ts';
import type { ArrayFile, TorchValue } from '../../io/index.ts';
import { escapeName } from '../../text.ts';

type Dict = Map<string | number, TorchValue>;

interface FoundState {
  /** The weights; known names without their prefix, unknown names unchanged. */
  weights: Map<string, ArrayFile>;
  /** The moving average, if the file has one with names. */
  average?: Map<string, ArrayFile>;
  /** Notices about removed prefixes; empty for files of the official code and for a bare state dict. */
  said: string[];
}

const weightKeys = ['model', 'state_dict', 'model_state_dict'];
const averageKeys = ['ema', 'model_ema', 'ema_model', 'state_dict_ema', 'ema_state_dict'];
const insertedSegments = new Set(['_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module']);
/** The counter that AveragedModel of torch.optim.swa_utils adds to the tensors of its network. */
const updateCount = 'n_averaged';
const usualPrefixes = ['', 'module.'];
const LISTED = 5;

/**
 * Finds weights and average in a checkpoint.
 * @param known names of the network's tensors
 * @throws FileError for a file without a state dict, or with several candidates
 */
export function findState(path: string, root: TorchValue, known: ReadonlySet<string>): FoundState {
  if (!(root instanceof Map)) throw new FileError(path, 'is not a checkpoint: it does not hold a dictionary');
  const [weightKey, averageKey] = [keyAmong(path, root, weightKeys), keyAmong(path, root, averageKeys)];
  const key = weightKey ?? averageKey ?? (isState(root) ? undefined : onlyDict(path, root));
  const dict = key === undefined ? root : namedIn(root.get(key) as Dict);
  const said = key === undefined || key === 'model' ? [] : [`reading its weights under "${escapeName(String(key))}"`];
  const { weights, average, prefix, averagePrefix } = split(path, dict, known);
  if (!usualPrefixes.includes(prefix)) said.push(`removed "${escapeName(prefix)}" from its names`);
  if (averagePrefix !== undefined) said.push(`removed "${escapeName(averagePrefix)}" from the names of its average`);
  if (average || weightKey === undefined || averageKey === undefined) return { weights, average, said };
  const named = split(path, namedIn(root.get(averageKey) as Dict), known);
  said.push(`reading its average under "${averageKey}"`);
  return { weights, average: named.weights, said };
}

function isTensor(value: TorchValue | undefined): value is ArrayFile {
  return typeof value === 'object' && value !== null && 'dtype' in value;
}

/** Whether a value is a dictionary in which at least half of the values are tensors. */
function isState(value: TorchValue | undefined): boolean {
  if (!(value instanceof Map)) return false;
  const tensors = [...value.values()].filter(isTensor).length;
  return tensors > 0 && 2 * tensors >= value.size;
}

/** The state dict in a dictionary. It may be one level deeper, like that of an average stored next to its decay. */
function namedIn(dict: Dict): Dict {
  const inner = isState(dict) ? undefined : [...dict.values()].find(isState);
  return (inner as Dict | undefined) ?? dict;
}

function holdsState(value: TorchValue | undefined): boolean {
  return value instanceof Map && isState(namedIn(value));
}

function keyAmong(path: string, root: Dict, keys: readonly string[]): string | undefined {
  const there = keys.filter((key) => (key === 'model' ? root.get(key) instanceof Map : holdsState(root.get(key))));
  if (there.length > 1) throw ambiguous(path, `state dicts under ${quotedList(there)}`);
  return there[0];
}

/**
 * The key of the only state dict in a file without the usual keys.
 * @throws FileError if there is none, or more than one
 */
function onlyDict(path: string, root: Dict): string | number {
  const dicts = [...root].filter(([, value]) => isState(value)).map(([key]) => key);
  const keys = root.size === 0 ? 'it is empty' : `its keys are ${quotedList([...root.keys()])}`;
  if (dicts.length === 0) throw new FileError(path, `holds no state dict: ${keys}`);
  if (dicts.length > 1) throw ambiguous(path, `state dicts under ${quotedList(dicts)}`);
  return dicts[0];
}

function ambiguous(path: string, what: string): FileError {
  return new FileError(path, `is ambiguous: it holds ${what}; save only one of them`);
}

function quotedList(names: readonly (string | number)[]): string {
  const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : '';
  return `${names
    .slice(0, LISTED)
    .map((name) => `"${escapeName(String(name), 60)}"`)
    .join(', ')}${more}`;
}

/** Splits a state dict into the network's weights and, if it holds both, their average, each without its prefix. */
function split(path: string, dict: Dict, known: ReadonlySet<string>) {
  const names = new Map<string, ArrayFile>();
  for (const [key, value] of dict) {
    if (key === updateCount) continue;
    if (!isTensor(value)) throw new FileError(path, `"${key}" is not a tensor`);
    const name = withoutInserted(String(key));
    if (names.has(name)) throw new FileError(path, `holds "${name}" twice, with and without the names of a wrapper`);
    names.set(name, value);
  }
  const [prefix, averagePrefix] = choosePrefixes(path, prefixesOf(names.keys(), known));
  const weights = new Map<string, ArrayFile>();
  const average = averagePrefix === undefined ? undefined : new Map<string, ArrayFile>();
  for (const [name, value] of names)
    if (averagePrefix !== undefined && name.startsWith(averagePrefix))
      average?.set(name.slice(averagePrefix.length), value);
    else {
      const own = name.startsWith(prefix) ? name.slice(prefix.length) : name;
      if (weights.has(own)) throw new FileError(path, `holds "${own}" twice, with and without "${prefix}"`);
      weights.set(own, value);
    }
  const inserted = [...dict.keys()].map(String).find((key) => key !== withoutInserted(key));
  return { weights, average, averagePrefix, prefix: inserted === undefined ? prefix : wrapperOf(inserted, prefix) };
}

function withoutInserted(key: string): string {
  return key
    .split('.')
    .filter((segment) => !insertedSegments.has(segment))
    .join('.');
}

/** The prefix with inserted segments: "module._orig_mod." for "module._orig_mod.all_modules.0.weight" and "module.". */
function wrapperOf(key: string, prefix: string): string {
  const rest = withoutInserted(key).slice(prefix.length);
  return key.endsWith(rest)
    ? key.slice(0, key.length - rest.length)
    : `${[...insertedSegments].find((s) => key.includes(s))}.`;
}

/** The number of known names after each prefix. */
function prefixesOf(names: Iterable<string>, known: ReadonlySet<string>): Map<string, number> {
  const counts = new Map<string, number>();
  const longest = [...known].reduce((most, name) => Math.max(most, name.length), 0);
  const next = (name: string, from: number) => name.indexOf('.', from) + 1 || -1;
  for (const name of names)
    for (let at = name.length <= longest ? 0 : next(name, name.length - longest - 1); at >= 0; at = next(name, at))
      if (known.has(name.slice(at))) {
        counts.set(name.slice(0, at), (counts.get(name.slice(0, at)) ?? 0) + 1);
        break;
      }
  return counts;
}

/** The prefix of the network and, if there are two and one contains "ema", that of its average. */
function choosePrefixes(
  path: string,
  counts: ReadonlyMap<string, number>,
): [prefix: string, average: string | undefined] {
  const most = [...counts.values()].reduce((a, b) => Math.max(a, b), 0);
  const full = [...counts.keys()].filter((prefix) => 2 * (counts.get(prefix) as number) > most);
  if (full.length === 0) return ['', undefined];
  if (full.length === 1) return [full[0], undefined];
  const averages = full.filter((prefix) => /(^|[._])ema([._]|$)/i.test(prefix));
  if (full.length > 2 || averages.length !== 1)
    throw ambiguous(path, `the network under the prefixes ${quotedList(full)}`);
  return [full.find((prefix) => prefix !== averages[0]) as string, averages[0]];
}
