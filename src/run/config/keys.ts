// Properties that each key of the schema states next to its type: whether a run may resume with another value, whether the
// key describes the network, and whether it has an effect. A key without them does not compile.
import { z } from 'zod';

/** What a change of the key's value makes: another network, another training run of the same network, or neither. */
type Binding = 'network' | 'run' | 'nothing';

export interface KeyProperties {
  readonly binds: Binding;
  /** Set if the key has no effect, because the official code never reads it or reads it for other models only. */
  readonly inert?: true;
}

const properties = z.registry<KeyProperties>();

/** A mark that exists for the compiler only: it tells a key with properties from a plain type. */
export declare const stated: unique symbol;

export type Key<Type extends z.ZodType = z.ZodType> = Type & { readonly [stated]: true };

/** The network's weights, what it computes from them, or the range of its data depend on it. */
export function network<Type extends z.ZodType>(type: Type): Key<Type> {
  return state(type, { binds: 'network' });
}

/** A run resumes with the same value only. */
export function fixed<Type extends z.ZodType>(type: Type): Key<Type> {
  return state(type, { binds: 'run' });
}

/** It may change when a run resumes, because what has been learned does not depend on it. */
export function free<Type extends z.ZodType>(type: Type): Key<Type> {
  return state(type, { binds: 'nothing' });
}

/** It has no effect. */
export function inert<Type extends z.ZodType>(key: Key<Type>): Key<Type> {
  return state(key as Type, { ...(properties.get(key) as KeyProperties), inert: true });
}

/** An object of the configuration with these keys, and no others. */
export function table<Shape extends Record<string, Key | z.ZodObject>>(shape: Shape) {
  return z.strictObject(shape);
}

/** The properties of a key by its type in the schema; undefined for a table. */
export function propertiesOf(type: z.ZodType): KeyProperties | undefined {
  return properties.get(type);
}

function state<Type extends z.ZodType>(type: Type, stated: KeyProperties): Key<Type> {
  const own = type.clone();
  properties.add(own, stated);
  return own as Key<Type>;
}
