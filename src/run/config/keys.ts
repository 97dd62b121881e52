// What each key of the schema states next to its type: its text, whether a run may resume with another value, whether it
// describes the network, which commands read it, and whether it has an effect. A key without them does not compile.
import { z } from 'zod';

/** What a change of the key's value makes: another network, another training run of the same network, or neither. */
type Binding = 'network' | 'run' | 'nothing';

/** A command whose result or cost depends on a key. */
export type Reader =
  | 'chain'
  | 'classifier'
  | 'convert'
  | 'estimate'
  | 'eval'
  | 'inspect'
  | 'pairs'
  | 'reflow'
  | 'report'
  | 'sample'
  | 'serve'
  | 'stats'
  | 'train'
  | 'transfer';

/** Commands that train a network. */
export const training: readonly Reader[] = ['train', 'reflow', 'chain', 'estimate'];

/** The setting of another key that a key needs to have an effect. */
interface Need {
  /** Dotted path of the other key. */
  readonly key: string;
  /** Completes "has an effect only if KEY is ...". */
  readonly words: string;
  /** @param own the value of the key that has the need */
  readonly met: (value: never, own: unknown) => boolean;
}

interface Details {
  /** What a number counts or measures. */
  readonly unit?: string;
  /** Set if the official code does not have the key. */
  readonly ours?: true;
  /** Where the value or the method is from, other than the official code. */
  readonly source?: string;
  readonly needs?: Need;
  /** Commands that read the key in addition to those of its table. */
  readonly also?: readonly Reader[];
}

export interface KeyProperties extends Omit<Details, 'also'> {
  readonly binds: Binding;
  /** What the key means. */
  readonly text: string;
  readonly readBy: readonly Reader[];
  /** Set if the key has no effect, because the official code never reads it or reads it for other models only. */
  readonly inert?: true;
}

const properties = z.registry<KeyProperties>();
const tables = z.registry<{ text: string }>();

/** A mark that exists for the compiler only: it tells a key with properties from a plain type. */
export declare const stated: unique symbol;

export type Key<Type extends z.ZodType = z.ZodType> = Type & { readonly [stated]: true };

/** The network's weights, what it computes from them, or the range of its data depend on it. */
export function network<Type extends z.ZodType>(type: Type, text: string, details?: Details): Key<Type> {
  return state(type, 'network', text, details);
}

/** A run resumes with the same value only. */
export function fixed<Type extends z.ZodType>(type: Type, text: string, details?: Details): Key<Type> {
  return state(type, 'run', text, details);
}

/** It may change when a run resumes, because what has been learned does not depend on it. */
export function free<Type extends z.ZodType>(type: Type, text: string, details?: Details): Key<Type> {
  return state(type, 'nothing', text, details);
}

/** It has no effect. */
export function inert<Type extends z.ZodType>(key: Key<Type>): Key<Type> {
  properties.add(key, { ...(properties.get(key) as KeyProperties), inert: true });
  return key;
}

/**
 * A table of the configuration with these keys, and no others.
 * @param readBy commands that read every key of the table
 */
export function table<Shape extends Record<string, Key | z.ZodObject>>(
  text: string,
  readBy: readonly Reader[],
  shape: Shape,
) {
  for (const key of Object.values(shape)) {
    const own = properties.get(key);
    if (own) properties.add(key, { ...own, readBy: [...new Set([...readBy, ...own.readBy])].sort() });
  }
  const type = z.strictObject(shape);
  tables.add(type, { text });
  return type;
}

/** The properties of a key by its type in the schema; undefined for a table. */
export function propertiesOf(type: z.ZodType): KeyProperties | undefined {
  return properties.get(type);
}

/** What a table is for. */
export function textOfTable(type: z.ZodObject): string {
  return tables.get(type)?.text ?? '';
}

function state<Type extends z.ZodType>(
  type: Type,
  binds: Binding,
  text: string,
  { also = [], ...details }: Details = {},
): Key<Type> {
  const own = type.clone();
  properties.add(own, { ...details, binds, text, readBy: also });
  return own as Key<Type>;
}
