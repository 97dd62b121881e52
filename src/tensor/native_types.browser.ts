// Tells built-in types apart in a browser. A bundle for browsers has this file in place of native_types.ts.

/** The name that the language gives to values of a built-in type; a class may give another one. */
const tag = (value: unknown): string => Object.prototype.toString.call(value).slice(8, -1);

export const isAnyArrayBuffer = (value: unknown): boolean => /^(Shared)?ArrayBuffer$/.test(tag(value));
export const isMap = (value: unknown): value is Map<unknown, unknown> => value instanceof Map;
export const isSet = (value: unknown): value is Set<unknown> => value instanceof Set;
export const isNativeError = (value: unknown): value is Error => tag(value) === 'Error';
export const isPromise = (value: unknown): value is Promise<unknown> => value instanceof Promise;

/** A browser does not tell which objects are Proxies; their traps may run where Node would refuse them. */
export const isProxy = (_: unknown): boolean => false;
