// Classes of Python's and its trainers' whose objects lie beside tensors in checkpoints, such as the arguments of a command
// line. An object becomes the data it is made of: attributes a dictionary, a set a list, a path its text. None of their code is
// there to be run.
import { FileError } from '../../errors.ts';
import { PickleGlobal } from './pickle_machine.ts';

/** Objects that are their attributes, or dictionaries with other methods. */
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

/** For unpickle, by name. @param name stands in errors for the file */
export function pythonGlobals(name: string): PickleGlobal[] {
  const refuse = (what: string) => new FileError(name, `holds ${what}; the file is damaged`);

  // A Counter and a dictionary of Python 2 come with their content as an argument.
  const table = (args: readonly unknown[]) => new Map(args.find((arg) => arg instanceof Map));
  const setAttributes = (made: unknown, state: unknown) => {
    // (attributes, slots) where a class has slots.
    const attributes = Array.isArray(state) ? state[0] : state;
    if (attributes === null) return;
    if (!(attributes instanceof Map)) throw refuse('an object whose attributes are no dictionary');
    for (const [key, value] of attributes) (made as Map<unknown, unknown>).set(key, value);
  };
  const list = (what: string) => (args: readonly unknown[]) => {
    const [items = []] = args;
    if (!Array.isArray(items)) throw refuse(`a ${what} of what are no items`);
    return [...items];
  };
  const joined = (separator: string) => (parts: readonly unknown[]) => {
    if (!parts.every((part) => typeof part === 'string')) throw refuse('a path that is no text');
    return parts.join(separator).replace(/^\/\//, '/');
  };

  return [
    ...tables.map((global) => new PickleGlobal(global, table, setAttributes)),
    ...['builtins', '__builtin__'].flatMap((module) => [
      ...['set', 'frozenset'].map((what) => new PickleGlobal(`${module}.${what}`, list(what))),
      // What a defaultdict makes of a key that is not there.
      ...['int', 'float', 'str', 'bool', 'list', 'dict'].map((what) => new PickleGlobal(`${module}.${what}`)),
    ]),
    ...['pathlib', 'pathlib._local'].flatMap((module) =>
      paths.map((what) => new PickleGlobal(`${module}.${what}`, joined(what.includes('Windows') ? '\\' : '/'))),
    ),
    new PickleGlobal('torch.torch_version.TorchVersion', ([text]) => {
      if (typeof text !== 'string') throw refuse('a version that is no text');
      return text;
    }),
  ];
}
