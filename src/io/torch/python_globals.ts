// Classes of Python and of training frameworks whose objects occur next to tensors in checkpoints, such as command-line
// arguments. An object becomes plain data: its attributes a dictionary, a set a list, a path its text. No code of the
// classes is run.
import { FileError } from '../../errors.ts';
import { PickleGlobal } from './pickle_machine.ts';

/** Classes whose objects become dictionaries: namespaces of attributes, and subclasses of dict. */
const tables = [
  'argparse.Namespace',
  'types.SimpleNamespace',
  'collections.defaultdict',
  'collections.Counter',
  'easydict.EasyDict',
  'pytorch_lightning.utilities.parsing.AttributeDict',
  'lightning.pytorch.utilities.parsing.AttributeDict',
  'lightning_fabric.utilities.data.AttributeDict',
  'lightning.fabric.utilities.data.AttributeDict',
];

const paths = ['PurePosixPath', 'PureWindowsPath', 'PosixPath', 'WindowsPath'];

/** Python's globals, for `unpickle`. @param name the file's name in errors */
export function pythonGlobals(name: string): PickleGlobal[] {
  const refuse = (what: string) => new FileError(name, `holds ${what}; the file is damaged`);

  // The content of a Counter, or of a Python 2 dictionary, is an argument.
  const table = (args: readonly unknown[]) => new Map(args.find((arg) => arg instanceof Map));
  const setAttributes = (made: unknown, state: unknown) => {
    // The state is (attributes, slots) if a class has slots.
    const attributes = Array.isArray(state) ? state[0] : state;
    if (attributes === null) return;
    if (!(attributes instanceof Map)) throw refuse('an object whose attributes are not a dictionary');
    for (const [key, value] of attributes) (made as Map<unknown, unknown>).set(key, value);
  };
  const list = (what: string) => (args: readonly unknown[]) => {
    const [items = []] = args;
    if (!Array.isArray(items)) throw refuse(`a ${what} of something other than items`);
    return [...items];
  };
  const joinParts = (separator: string) => (parts: readonly unknown[]) => {
    if (!parts.every((part) => typeof part === 'string')) throw refuse('a path that is not a string');
    return parts.join(separator).replace(/^\/\//, '/');
  };

  return [
    ...tables.map((global) => new PickleGlobal(global, table, setAttributes)),
    ...['builtins', '__builtin__'].flatMap((module) => [
      ...['set', 'frozenset'].map((what) => new PickleGlobal(`${module}.${what}`, list(what))),
      // A defaultdict's factory for missing keys.
      ...['int', 'float', 'str', 'bool', 'list', 'dict'].map((what) => new PickleGlobal(`${module}.${what}`)),
    ]),
    ...['pathlib', 'pathlib._local'].flatMap((module) =>
      paths.map((what) => new PickleGlobal(`${module}.${what}`, joinParts(what.includes('Windows') ? '\\' : '/'))),
    ),
    new PickleGlobal('torch.torch_version.TorchVersion', ([text]) => {
      if (typeof text !== 'string') throw refuse('a version that is not a string');
      return text;
    }),
  ];
}
