// TensorBoard event files. A record: u64 length | u32 crc(length) | Event, a protocol buffer | u32 crc(Event), where
// crc is CRC-32C rotated by 15 bits plus 0xa282ead8 (tensorflow/core/lib/io/record_writer.cc). Fields by number, as in
// tensorflow/core/util/event.proto and summary.proto:
//   Event   1 wall_time double, 2 step int64, 3 file_version string, 5 summary, 7 session_log
//   Summary 1 value: 1 tag, 2 simple_value float, 4 image: 1 height, 2 width, 3 colorspace, 4 encoded_image_string
//                    8 tensor: 1 dtype, 2 tensor_shape: 2 dim: 1 size, 8 string_val
//                    9 metadata: 1 plugin_data: 1 plugin_name, 2 content; 4 data_class
// and of tensorboard/plugins/hparams/plugin_data.proto:
//   HParamsPluginData 3 session_start_info: 1 hparams: 1 key, 2 value: 2 number, 3 string, 4 bool; 5 start_time_secs
//                     4 session_end_info: 1 status, 2 end_time_secs
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { byOpen, checkArgument, checkArguments, checkByOpen, checkOptions, kinds, oneOf } from '../arguments.ts';
import { makeFolders } from '../folders.ts';
import { asFileError } from './file.ts';
import { bytesField, doubleField, floatField, integerField, stringField } from './protobuf.ts';

export interface EventImage {
  png: Uint8Array;
  width: number;
  height: number;
  channels: number;
}

/** How a session ended, as TensorBoard numbers it. */
const statuses = { success: 1, failure: 2 } as const;

const DATA_CLASS_TENSOR = 2;
const DT_STRING = 7;

const imageParts = { png: kinds.bytes, width: kinds.count, height: kinds.count, channels: kinds.count };
const imageNames = ['png', 'width', 'height', 'channels'] as const;

/**
 * The event file of one session. A session that resumes from a step hides the events of earlier files from that step
 * on.
 * @example
 * import { basename } from 'node:path';
 *
 * const events = await EventFile.open('runs/mine');
 * await events.scalars(0, { 'train/loss': 0.9 });
 * await events.scalars(1, { 'train/loss': 0.7 });
 * await events.close();
 * basename(events.path).startsWith('events.out.tfevents.'); // true
 */
export class EventFile {
  readonly path: string;
  private readonly handle: FileHandle;
  /** The time of the last event, in seconds; it never decreases, even if the clock is set back. */
  private time: number;

  private constructor(token: symbol, path: string, handle: FileHandle, time: number) {
    checkByOpen('EventFile', token);
    this.path = path;
    this.handle = handle;
    this.time = time;
  }

  /**
   * Creates a new file in `folder`, and the folder if it is missing.
   * @param from the first step of this session; the reader drops earlier sessions' events from that step on
   * @throws FileError when it cannot be written
   */
  static async open(folder: string, from = 0): Promise<EventFile> {
    checkArguments('EventFile.open', { folder: [folder, kinds.path], from: [from, kinds.whole] });
    let handle: FileHandle | undefined;
    try {
      makeFolders(folder);
      // The reader takes files in the order of their names. A new one must come last, even within the same second or
      // after the clock was set back.
      const seconds = Math.max(Math.floor(Date.now() / 1000), (await newest(folder)) + 1);
      const name = `events.out.tfevents.${String(seconds).padStart(10, '0')}.${hostname()}.${process.pid}.${randomBytes(3).toString('hex')}`;
      const path = join(folder, name);
      handle = await open(path, 'ax');
      const file = new EventFile(byOpen, path, handle, seconds);
      await file.append(0, stringField(3, 'brain.Event:2'));
      const START = 1;
      if (from > 0) await file.append(from, bytesField(7, integerField(1, START)));
      return file;
    } catch (error) {
      await handle?.close();
      throw asFileError(folder, error);
    }
  }

  /** Appends values by tag, such as `{ 'train/loss': 0.3 }`. */
  async scalars(step: number, values: Readonly<Record<string, number>>): Promise<void> {
    checkArguments('EventFile.scalars', { step: [step, kinds.whole], values: [values, kinds.object] });
    const entries = Object.entries(values).map(([tag, value]) => {
      checkArgument('EventFile.scalars', tag, value, kinds.number);
      return bytesField(1, Buffer.concat([stringField(1, tag), floatField(2, value)]));
    });
    return this.append(step, bytesField(5, Buffer.concat(entries)));
  }

  /** Appends an image, encoded as PNG. */
  async image(step: number, tag: string, image: EventImage): Promise<void> {
    checkArguments('EventFile.image', { step: [step, kinds.whole], tag: [tag, kinds.text] });
    const { png, width, height, channels } = checkOptions('EventFile.image', image, imageParts, imageNames);
    const fields = [integerField(1, height), integerField(2, width), integerField(3, channels), bytesField(4, png)];
    const value = Buffer.concat([stringField(1, tag), bytesField(4, Buffer.concat(fields))]);
    return this.append(step, bytesField(5, bytesField(1, value)));
  }

  /** Appends a text, which TensorBoard shows as Markdown. */
  async text(step: number, tag: string, text: string): Promise<void> {
    checkArguments('EventFile.text', { step: [step, kinds.whole], tag: [tag, kinds.text], text: [text, kinds.text] });
    const tensor = Buffer.concat([
      integerField(1, DT_STRING),
      bytesField(2, bytesField(2, integerField(1, 1))),
      stringField(8, text),
    ]);
    return this.plugin(step, tag, 'text', Buffer.alloc(0), bytesField(8, tensor));
  }

  /** Records the hyperparameters of this session, by which TensorBoard compares runs. */
  async hyperparameters(step: number, values: Readonly<Record<string, number | string | boolean>>): Promise<void> {
    checkArguments('EventFile.hyperparameters', { step: [step, kinds.whole], values: [values, kinds.object] });
    const entries = Object.entries(values).map(([name, value]) =>
      bytesField(1, Buffer.concat([stringField(1, name), bytesField(2, parameter(name, value))])),
    );
    const start = Buffer.concat([...entries, doubleField(5, Date.now() / 1000)]);
    return this.plugin(step, '_hparams_/session_start_info', 'hparams', bytesField(3, start));
  }

  /** Records how the session with the hyperparameters ended. */
  async ended(step: number, status: keyof typeof statuses): Promise<void> {
    checkArguments('EventFile.ended', { step: [step, kinds.whole], status: [status, oneOf(Object.keys(statuses))] });
    const end = Buffer.concat([integerField(1, statuses[status]), doubleField(2, Date.now() / 1000)]);
    return this.plugin(step, '_hparams_/session_end_info', 'hparams', bytesField(4, end));
  }

  /** Appends a value that a plugin of TensorBoard shows. */
  private plugin(step: number, tag: string, name: string, content: Buffer, value = emptyTensor()): Promise<void> {
    const data = Buffer.concat([stringField(1, name), bytesField(2, content)]);
    const metadata = Buffer.concat([bytesField(1, data), integerField(4, DATA_CLASS_TENSOR)]);
    return this.append(
      step,
      bytesField(5, bytesField(1, Buffer.concat([stringField(1, tag), value, bytesField(9, metadata)]))),
    );
  }

  /** Closes the file; every event has been written. */
  close(): Promise<void> {
    return this.handle.close();
  }

  private async append(step: number, content: Buffer): Promise<void> {
    this.time = Math.max(this.time, Date.now() / 1000);
    try {
      await this.handle.appendFile(record(Buffer.concat([doubleField(1, this.time), integerField(2, step), content])));
    } catch (error) {
      throw asFileError(this.path, error);
    }
  }
}

const DT_FLOAT = 1;
/** The value of an event whose content is in its metadata: a tensor of one number, 0. */
function emptyTensor(): Buffer {
  return bytesField(8, Buffer.concat([integerField(1, DT_FLOAT), bytesField(2, Buffer.alloc(0)), floatField(5, 0)]));
}

function parameter(name: string, value: number | string | boolean): Buffer {
  if (typeof value === 'number') return doubleField(2, value);
  if (typeof value === 'boolean') return integerField(4, Number(value));
  checkArgument('EventFile.hyperparameters', name, value, kinds.text);
  return stringField(3, value);
}

/** The seconds in the name of the last event file of a folder; 0 if there is none. */
async function newest(folder: string): Promise<number> {
  const numbers = (await readdir(folder)).map((name) =>
    Number(/^events\.out\.tfevents\.(\d{1,12})\./.exec(name)?.[1] ?? 0),
  );
  return Math.max(0, ...numbers);
}

function record(data: Buffer): Buffer {
  const out = Buffer.alloc(16 + data.length);
  out.writeBigUInt64LE(BigInt(data.length), 0);
  out.writeUInt32LE(maskCrc(crc32c(out.subarray(0, 8))), 8);
  data.copy(out, 12);
  out.writeUInt32LE(maskCrc(crc32c(data)), 12 + data.length);
  return out;
}

function maskCrc(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C (Castagnoli). */
export function crc32c(bytes: Uint8Array): number {
  checkArgument('crc32c', 'bytes', bytes, kinds.bytes);
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 255];
  return (crc ^ 0xffffffff) >>> 0;
}
