// A kernel as a function, which writes the launch grid and the arguments into a block of native memory and enqueues a launch. The driver
// reads the block during the call. A kernel has one block: a CUlaunchConfig, the arguments at multiples of 8 bytes, then their addresses.
import { DeviceError } from '../../errors.ts';
import { interruptionPoint } from '../interruption.ts';
import { type LaunchGrid, mapsIn, parseSignature, type Signature, wordsIn } from '../module.ts';
import { allowSharedMemory, type Driver, type Stream } from '../native/libcuda.ts';
import { addressOf } from '../native/loader.ts';

const BYTES: Record<string, number> = { ptr: 8, i32: 4, f32: 4, f64: 8 };
const bytesOf = (kind: string) => BYTES[kind] ?? 4 * (wordsIn(kind) ?? 0) + 128 * (mapsIn(kind) ?? 0);
/** Bytes of dynamic shared memory that every kernel may use without opting in. */
const FREE_SHARED = 48 * 1024;
/**
 * Places in CUlaunchConfig, counted in words of 8 bytes. It holds grid, block and shared memory (u32 each), the stream,
 * and the address and number of launch attributes (none here). The arguments follow it.
 */
const STREAM = 4;
const ARGUMENTS = 7;
/** Smaller arrays may be on V8's heap, where the garbage collector moves them. */
const LEAST_BLOCK = 128;

export type CudaLauncher = (grid: LaunchGrid, ...values: number[]) => void;

/** @throws DeviceError if the parameters of the loaded kernel differ from those in `signature` */
export function bindKernel(
  driver: Driver,
  stream: Stream,
  kernel: number,
  name: string,
  signature: Signature,
): CudaLauncher {
  const { parameters, returns } = parseSignature(signature);
  if (returns !== 'void')
    throw new DeviceError(`${name}: CUDA kernels return nothing, but this one is declared "${signature}"`);
  checkParameters(name, parameters, driver.parameterSizes(kernel));
  const lengths = parameters.map(wordsIn);
  const mapped = parameters.map((kind) => mapsIn(kind) !== undefined);
  const count = lengths.reduce<number>((total, length) => total + (length ?? 1), 0);
  /** The 8-byte slot of each parameter; the slots of their addresses follow. */
  const slots = parameters.map(() => 0);
  let table = ARGUMENTS;
  parameters.forEach((kind, i) => {
    slots[i] = table;
    // Maps are read in place.
    if (!mapsIn(kind)) table += Math.ceil(bytesOf(kind) / 8);
  });
  const buffer = new ArrayBuffer(Math.max(LEAST_BLOCK, 8 * (table + parameters.length)));
  const words = new Uint32Array(buffer);
  const integers = new Int32Array(buffer);
  const floats = new Float32Array(buffer);
  const doubles = new Float64Array(buffer);
  const writePointer = (slot: number, address: number) => {
    words[2 * slot] = address;
    words[2 * slot + 1] = address / 2 ** 32;
  };
  const config = addressOf(words);
  writePointer(STREAM, stream.handle);
  slots.forEach((slot, i) => {
    writePointer(table + i, config + 8 * slot);
  });
  let allowed = FREE_SHARED;

  return ({ grid, block, shared = 0 }, ...values) => {
    if (values.length !== count)
      throw new DeviceError(`${name} takes ${count} arguments (${signature}), got ${values.length}`);
    interruptionPoint();
    let next = 0;
    for (let i = 0; i < parameters.length; i++) {
      const [kind, slot] = [parameters[i], slots[i]];
      const length = lengths[i];
      for (let w = 0; w < (length ?? 0); w++) words[2 * slot + w] = values[next++];
      if (length !== undefined) continue;
      const value = values[next++];
      if (kind === 'ptr') writePointer(slot, value);
      else if (mapped[i]) writePointer(table + i, value);
      else if (kind === 'i32') integers[2 * slot] = value;
      else if (kind === 'f32') floats[2 * slot] = value;
      else doubles[slot] = value;
    }
    if (shared > allowed) {
      allowSharedMemory(driver, kernel, shared);
      allowed = shared;
    }
    stream.lastKernel = name;
    for (let axis = 0; axis < 3; axis++) {
      words[axis] = grid[axis] ?? 1;
      words[3 + axis] = block[axis] ?? 1;
    }
    words[6] = shared;
    try {
      driver.launch(config, kernel, config + 8 * table);
      stream.onLaunch?.(name);
    } catch (cause) {
      const launch = `grid ${grid.join(' x ')}, block ${block.join(' x ')}, ${shared} bytes of shared memory`;
      throw new DeviceError(`${name} (${launch}) was not launched: ${(cause as Error).message}`, { cause });
    }
  };
}

/** @param sizes the driver's parameter sizes, if it reports them */
function checkParameters(name: string, parameters: readonly string[], sizes: readonly number[] | undefined): void {
  if (!sizes) return;
  const declared = parameters.map(bytesOf);
  if (declared.join() !== sizes.join())
    throw new DeviceError(
      `${name} is declared as "${parameters.join(' ')}", parameters of ${declared.join(', ') || 'no'} bytes; ` +
        `the compiled kernel has ${sizes.join(', ') || 'none'}`,
    );
}
