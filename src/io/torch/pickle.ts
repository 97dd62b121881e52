// A restricted unpickler. A pickle is a program for a small stack machine; this machine only builds data. A global that
// a pickle calls must be in the caller's table of names; otherwise it is refused with its full name. No code is ever
// run.
//
// Python             here
// None, bool, float  null, boolean, number
// int                number, or bigint if a number would not be exact
// str                string; a Python 2 str has one character per byte
// bytes              Uint8Array
// list, tuple, dict  array, Tuple, Map (keys: string, number, bigint; bytes as a Python 2 str)
//
// Source: Lib/pickle.py and Lib/pickletools.py of CPython, protocols 0 to 5.
import { PickleInput } from './pickle_input.ts';
import { PickleMachine, type UnpickleOptions } from './pickle_machine.ts';
import { operations } from './pickle_operations.ts';

const STOP = 0x2e;

/**
 * Reads the pickle that begins at byte `start`; `end` is the byte after it. Parts that the pickle refers to twice are
 * one object, and a value can contain itself, so the caller must bound its traversal.
 * @throws FileError if the pickle is truncated, damaged, or uses a name that is not in the table
 */
export function unpickle(bytes: Uint8Array, start: number, options: UnpickleOptions): { value: unknown; end: number } {
  const input = new PickleInput(bytes, start, options.name);
  const machine = new PickleMachine(input, options);
  for (let code = input.byte(); code !== STOP; code = input.byte()) {
    const operation = operations[code];
    if (!operation) throw input.problem(`holds the unknown operation 0x${code.toString(16).padStart(2, '0')}`);
    operation(machine, input);
  }
  return { value: machine.result(), end: input.at };
}
