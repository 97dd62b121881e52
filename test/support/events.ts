// Decodes event files of TensorBoard by the definitions of their messages.
import { readFileSync } from 'node:fs';

type Fields = Record<number, (number | Buffer)[]>;

/** Fields of a protocol buffer by number; nested ones as bytes. */
export function decodeFields(bytes: Buffer): Fields {
  const fields: Fields = {};
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const take = (length: number) => {
      at += length;
      return bytes.subarray(at - length, at);
    };
    const read: Record<number, () => number | Buffer> = {
      0: varint,
      1: () => take(8).readDoubleLE(),
      2: () => take(varint()),
      5: () => take(4).readFloatLE(),
    };
    const field = key >>> 3;
    fields[field] = [...(fields[field] ?? []), read[key & 7]()];
  }
  return fields;
}

export interface DecodedEvents {
  scalars: Record<string, [step: number, value: number][]>;
  texts: Record<string, string>;
  hyperparameters: Record<string, number | string | boolean>;
  /** How the session ended: 1 success, 2 failure. */
  status: number | undefined;
  /** The first step of the session. */
  from: number;
}

/** What the plugins of TensorBoard find in an event file. */
export function decodeEvents(path: string): DecodedEvents {
  const bytes = readFileSync(path);
  const found: DecodedEvents = { scalars: {}, texts: {}, hyperparameters: {}, status: undefined, from: 0 };
  const message = (value: unknown) => decodeFields((value as Buffer) ?? Buffer.alloc(0));
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    const event = decodeFields(bytes.subarray(at + 12, at + 12 + length));
    at += 16 + length;
    const step = (event[2]?.[0] as number) ?? 0;
    if (event[7]) found.from = step;
    for (const entry of message(event[5]?.[0])[1] ?? []) {
      const value = message(entry);
      const tag = String(value[1][0]);
      const plugin = message(message(value[9]?.[0])[1]?.[0]);
      if (value[2]) found.scalars[tag] = [...(found.scalars[tag] ?? []), [step, value[2][0] as number]];
      if (String(plugin[1]) === 'text') found.texts[tag] = String(message(value[8][0])[8][0]);
      if (String(plugin[1]) !== 'hparams') continue;
      const data = message(plugin[2]?.[0]);
      if (data[4]) found.status = message(data[4][0])[1][0] as number;
      for (const pair of message(data[3]?.[0])[1] ?? []) {
        const [name, box] = [message(pair)[1][0], message(message(pair)[2][0])];
        const [number, text, flag] = [box[2], box[3], box[4]];
        found.hyperparameters[String(name)] = number ? (number[0] as number) : text ? String(text[0]) : flag?.[0] === 1;
      }
    }
  }
  return found;
}
