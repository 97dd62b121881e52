// libmpi, found at run time. Its handles differ between implementations: Open MPI has addresses of symbols, MPICH and what shares its binary
// interface (Intel MPI, MVAPICH, Cray MPICH) 32-bit constants, and the standard interface of MPI 5.0 small numbers as pointers.
import { DeviceError } from '../../errors.ts';
import { fromEnvironment } from '../environment.ts';
import type { Launch } from '../launch.ts';
import { Library } from './loader.ts';

interface Handles {
  /** Kind of a handle as an argument. */
  kind: 'ptr' | 'i32';
  world: number;
  byte: number;
  errorsReturn: number;
  statusIgnore: number;
  /** MPI_THREAD_FUNNELED: only the thread that called MPI_Init_thread calls MPI. */
  funneled: number;
}

/** mpi.h of MPICH 4.0. */
const MPICH: Handles = {
  kind: 'i32',
  world: 0x44000000,
  byte: 0x4c00010d,
  errorsReturn: 0x54000001,
  statusIgnore: 1,
  funneled: 1,
};

/** mpi.h of mpi-forum/mpi-abi-stubs. */
const STANDARD: Handles = {
  kind: 'ptr',
  world: 0x101,
  byte: 0x247,
  errorsReturn: 0x142,
  statusIgnore: 0,
  funneled: 1024,
};

const openMpiFiles = ['libmpi.so.40'];
const otherFiles = ['libmpi.so.12', 'libmpich.so.12', 'libmpi_abi.so.0'];

/** Most bytes of one message; counts of MPI are 32-bit. */
const MOST_BYTES = 2 ** 30;

type Call = (...values: unknown[]) => number;

export class Mpi {
  /** The library's own name and version, "Open MPI v4.1.4". */
  readonly version: string;
  readonly path: string;
  readonly rank: number;
  readonly size: number;
  readonly host: string;
  private readonly handles: Handles;
  private readonly calls: Record<string, Call> = {};

  /**
   * Loads the library of the launcher, or that of RECTIFLOW_MPI, and calls MPI_Init_thread.
   * @throws DeviceError saying what to install; DeviceError if the library sees another number of processes than the launcher started
   */
  constructor(launch: Launch) {
    const library = openLibrary(launch);
    const handles = handlesOf(library);
    const handle = handles.kind;
    this.handles = handles;
    this.path = library.path;
    const bind = (name: string, ...kinds: string[]) => {
      this.calls[name] = library.bindKinds<unknown>(`MPI_${name}`, kinds, 'i32');
    };
    bind('Init_thread', 'ptr', 'ptr', 'i32', 'array');
    bind('Get_library_version', 'array', 'array');
    bind('Get_processor_name', 'array', 'array');
    bind('Error_string', 'i32', 'array', 'array');
    bind('Comm_rank', handle, 'array');
    bind('Comm_size', handle, 'array');
    bind('Comm_set_errhandler', handle, handle);
    bind('Bcast', 'ptr', 'i32', handle, 'i32', handle);
    bind('Allgather', 'array', 'i32', handle, 'array', 'i32', handle, handle);
    bind('Alltoallv', 'ptr', 'array', 'array', handle, 'ptr', 'array', 'array', handle, handle);
    bind('Allgatherv', 'ptr', 'i32', handle, 'ptr', 'array', 'array', handle, handle);
    bind('Send', 'array', 'i32', handle, 'i32', 'i32', handle);
    bind('Recv', 'array', 'i32', handle, 'i32', 'i32', handle, 'ptr');
    bind('Ibarrier', handle, 'array');
    bind('Test', 'array', 'array', 'ptr');
    bind('Abort', handle, 'i32');
    bind('Finalize');
    this.version = titleOf(this.text('Get_library_version'));
    this.call('Init_thread', 0, 0, handles.funneled, new Int32Array(1));
    this.call('Comm_set_errhandler', handles.world, handles.errorsReturn);
    this.rank = this.number('Comm_rank');
    this.size = this.number('Comm_size');
    this.host = this.text('Get_processor_name');
    if (this.size !== launch.size)
      throw new DeviceError(
        `the launcher (${launch.by}) started ${launch.size} processes, and ${this.version} (${library.path}) sees ${this.size}: it is ` +
          'another MPI than the launcher; start with the mpirun of that library, or set RECTIFLOW_MPI to the library of the launcher',
      );
  }

  /** The first rank's bytes, at this address, to all. */
  broadcast(address: number, bytes: number): void {
    const { byte, world } = this.handles;
    for (let at = 0; at < bytes; at += MOST_BYTES)
      this.call('Bcast', address + at, Math.min(MOST_BYTES, bytes - at), byte, 0, world);
  }

  /** Gathers as many bytes from each rank. @returns those of all, in their order */
  gather(own: Uint8Array): Uint8Array {
    const { byte, world } = this.handles;
    const all = new Uint8Array(own.length * this.size);
    this.call('Allgather', own, own.length, byte, all, own.length, byte, world);
    return all;
  }

  /** Sends counts[k] bytes at from + at[k] to each rank k, and places arriving[k] bytes from it at to + places[k]. */
  scatter(
    from: number,
    counts: Int32Array,
    at: Int32Array,
    to: number,
    arriving: Int32Array,
    places: Int32Array,
  ): void {
    const { byte, world } = this.handles;
    this.call('Alltoallv', from, counts, at, byte, to, arriving, places, byte, world);
  }

  /** Sends `bytes` at `from` to all ranks; what comes from rank k, counts[k] bytes, goes to to + at[k]. */
  collect(from: number, bytes: number, to: number, counts: Int32Array, at: Int32Array): void {
    const { byte, world } = this.handles;
    this.call('Allgatherv', from, bytes, byte, to, counts, at, byte, world);
  }

  /** Sends bytes to a rank, which calls `receive` meanwhile. */
  send(to: number, bytes: Uint8Array): void {
    const { byte, world } = this.handles;
    for (const piece of pieces(bytes)) this.call('Send', piece, piece.length, byte, to, 0, world);
  }

  /** Fills `bytes` with what a rank sends. */
  receive(from: number, bytes: Uint8Array): void {
    const { byte, world, statusIgnore } = this.handles;
    for (const piece of pieces(bytes)) this.call('Recv', piece, piece.length, byte, from, 0, world, statusIgnore);
  }

  /** Enters a barrier. @returns a function that says whether all ranks have entered it */
  barrier(): () => boolean {
    const request = new BigUint64Array(1);
    const done = new Int32Array(1);
    this.call('Ibarrier', this.handles.world, request);
    return () => {
      this.call('Test', request, done, this.handles.statusIgnore);
      return done[0] !== 0;
    };
  }

  /** Ends all ranks. */
  abort(code: number): void {
    this.calls.Abort(this.handles.world, code);
  }

  finish(): void {
    this.call('Finalize');
  }

  private call(name: string, ...values: unknown[]): void {
    const code = this.calls[name](...values);
    if (code !== 0) throw new DeviceError(`MPI_${name} failed: ${this.text('Error_string', code)}`);
  }

  private number(name: string): number {
    const out = new Int32Array(1);
    this.call(name, this.handles.world, out);
    return out[0];
  }

  private text(name: string, ...before: unknown[]): string {
    return textOf(this.calls[name], ...before);
  }
}

/** Bytes in pieces of at most one message. */
function pieces(bytes: Uint8Array): Uint8Array[] {
  const count = Math.ceil(bytes.length / MOST_BYTES);
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * MOST_BYTES, (i + 1) * MOST_BYTES));
}

/** "Open MPI v4.1.4", "MPICH 4.0.2": the text up to the first number with dots. */
function titleOf(text: string): string {
  const line = text.replace(/\s+/g, ' ').replace('Version: ', '').trim();
  return /^.{0,40}?\d+(?:\.\d+)+/.exec(line)?.[0] ?? line.slice(0, 60);
}

/**
 * The MPI library that a job would use, without joining one: "Open MPI v4.1.4 (libmpi.so.40)".
 * @throws DeviceError saying what to install
 */
export function findMpi(launch?: Launch): string {
  const library = openLibrary(launch);
  // The only call that MPI allows at any time, besides those that ask whether it has been initialised.
  const version = library.bindKinds<unknown>('MPI_Get_library_version', ['array', 'array'], 'i32');
  return `${titleOf(textOf(version))} (${library.path})`;
}

/** Calls a function that writes a text and its length. */
function textOf(call: Call, ...before: unknown[]): string {
  const bytes = new Uint8Array(8192);
  const length = new Int32Array(1);
  call(...before, bytes, length);
  return new TextDecoder().decode(bytes.subarray(0, length[0])).split('\0')[0];
}

function handlesOf(library: Library): Handles {
  if (/_abi\b|_abi\./.test(library.path)) return STANDARD;
  let world: number;
  try {
    world = library.address('ompi_mpi_comm_world');
  } catch {
    return MPICH;
  }
  const [byte, errorsReturn] = ['ompi_mpi_byte', 'ompi_mpi_errors_return'].map((name) => library.address(name));
  return { kind: 'ptr', world, byte, errorsReturn, statusIgnore: 0, funneled: 1 };
}

/** Opens the library that belongs to the launcher: one of another implementation would see processes of one rank each. */
function openLibrary(launch: Launch | undefined): Library {
  const named = fromEnvironment('RECTIFLOW_MPI');
  const files = launch?.by === 'Hydra' ? otherFiles : [...openMpiFiles, ...otherFiles];
  const reasons: string[] = [];
  for (const file of named ? [named] : files)
    try {
      return new Library(file);
    } catch (error) {
      reasons.push((error as Error).message);
    }
  const why = launch ? `${launch.by} started several processes, and no` : 'no';
  throw new DeviceError(
    `${why} MPI library was found: ${reasons.join('; ')}. Install that of the launcher (Debian: libopenmpi3, libmpich12) or set ` +
      'RECTIFLOW_MPI to its file',
  );
}
