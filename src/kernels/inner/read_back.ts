// Work of an op that the host takes part in and that therefore cannot be recorded.
import { RecordingError } from '../../errors.ts';

/** Why a function that takes indices cannot be recorded. */
export const INDICES_CHECKED = 'its indices are checked';

/** Runs `read`, which waits for the device or writes to it. @throws RecordingError that names the op and `why` while work is recorded */
export function readBack<T>(op: string, why: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof RecordingError)) throw error;
    throw new RecordingError(`[${op}] expected no recording around it, because ${why}: ${error.message}`, {
      cause: error,
    });
  }
}
