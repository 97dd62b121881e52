// The package holds no kernel sources for browsers, where nothing compiles them. A bundle for browsers has this file in place of
// source.ts.
import { CompileError } from '../errors.ts';

/** Sources that a program gave as text, by URL. */
const given = new Set<string>();

/** The URL of a source that is not a file. @param name the file name in messages */
export function textUrl(name: string): URL {
  const url = new URL(`kernels/${name}?${given.size}`, 'rectiflow:/');
  given.add(url.href);
  return url;
}

/** Whether the source is a text that textUrl() took. */
export function isGivenText(url: URL): boolean {
  return given.has(url.href);
}

/** The name of a kernel file as a URL. @param path below src/ */
export function sourceUrl(path: string): URL {
  return new URL(path, 'rectiflow:/');
}

/** @throws CompileError always */
export function amalgamate(url: URL): never {
  throw new CompileError(`${url.pathname} cannot be compiled in a browser`);
}
