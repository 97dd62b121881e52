// The argument kinds of the kernels in a source text. A foreign call checks nothing, so declared signatures are compared with them.

/** The kind of a C or CUDA parameter, as in Signature; `unknown TYPE` for a type that no kind stands for. */
export function kindOfParameter(parameter: string): string {
  if (parameter.includes('*')) return 'ptr';
  if (parameter.includes('__grid_constant__ tensor_map ')) return 'map';
  const type = parameter
    .replace(/\bconst\b|\b__grid_constant__\b/g, '')
    .trim()
    .split(/\s+/)[0];
  const [, counted, count] = /^(words|tensor_maps)<(\d+)>$/.exec(type) ?? [];
  if (counted) return `${counted === 'words' ? 'words' : 'maps'}:${count}`;
  return { int32_t: 'i32', int: 'i32', float: 'f32', double: 'f64' }[type] ?? `unknown ${type}`;
}

/** The argument kinds of each kernel that a text defines with `KERNEL` by name. Kernels that macros define are left out. */
export function writtenKernels(language: 'c' | 'cuda', text: string): Map<string, string> {
  const plain = text.replace(/\/\*.*?\*\/|\/\/[^\n]*/gs, ' ');
  const prototype =
    language === 'c' ? /\bKERNEL\s+\w+\s+(\w+)\s*\(([^)]*)\)\s*\{/g : /\bKERNEL\s+(\w+)\s*\(([^)]*)\)\s*\{/g;
  const found = new Map<string, string>();
  for (const [, name, parameters] of plain.matchAll(prototype)) {
    const empty = parameters.trim() === '' || parameters.trim() === 'void';
    found.set(name, empty ? '' : parameters.split(',').map(kindOfParameter).join(' '));
  }
  return found;
}
