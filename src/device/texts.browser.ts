// A bundle for browsers has this file in place of texts.ts. In dist it reads the texts that such a bundle contains: tuning tables.

export const textRoot = 'rectiflow:/';

/** @throws Error always; the build puts a function that reads the package's tables in its place */
export function readText(url: URL): never {
  throw new Error(`a program in a browser has no ${url.pathname}`);
}
