// What the machine code of a kernel does, read from the text of `cuobjdump -sass`: its loops, the instructions that a warp executes in
// them, and how it reads and writes memory. Nothing here needs a card.

interface Instruction {
  address: number;
  /** Whether a predicate may skip it. */
  conditional: boolean;
  /** With its modifiers: LDG.E.128. */
  opcode: string;
  operands: string;
  /** Where a branch goes. */
  target?: number;
}

/** Counts by the bytes that a thread moves with one instruction. */
export type Widths = Record<string, number>;

/** A loop without its inner loops, or a kernel without its loops. */
export interface PartFacts {
  /** Instructions of the longest path through it; inner loops and called subroutines are not counted. */
  instructions: number;
  /**
   * The same for paths without operands that only some calls have: rows that are copied to shared memory in a part with
   * products of warpgroups, loads in a branch in a part that loads and stores 16 bytes.
   */
  plain?: number;
  /** Accesses to global memory. */
  loads: Widths;
  stores: Widths;
  /**
   * How often that path waits for loads from global memory that it began, by the width of the load it waits for: 4
   * loads and 1 wait are 4 loads at once.
   */
  waits: Widths;
  /**
   * Asynchronous copies to shared memory, and how often the path waits for those that it began. Copies that begin before
   * products of warpgroups have arrived after them.
   */
  copies?: number;
  copyWaits?: number;
  /** Divisions of integers, of doubles, and those of floats that are rounded to nearest. */
  divisions: number;
  /** Products of matrices: HMMA and HGMMA. */
  products: number;
}

export interface LoopFacts extends PartFacts {
  /** The loop around it, as an index into the kernel's loops; -1 if there is none. */
  parent: number;
}

export interface CodeFacts extends PartFacts {
  /** Accesses to local memory. */
  local: number;
  /** Registers that instructions name, per thread. */
  registers: number;
  /** For each setmaxnreg, the registers that it leaves and those that are named after it. */
  limits: { limit: number; used: number }[];
  /** In the order of their first instruction. */
  loops: LoopFacts[];
}

/** Facts by kernel. @param text what `cuobjdump -sass` prints */
export function codeFacts(text: string): Record<string, CodeFacts> {
  const [, ...kernels] = text.split(/^\s*Function : /m);
  return Object.fromEntries(
    kernels.map((kernel) => [kernel.slice(0, kernel.search(/\s/)), factsOf(instructionsOf(kernel))]),
  );
}

function instructionsOf(text: string): Instruction[] {
  const found = [...text.matchAll(/^\s*\/\*([0-9a-f]{4,})\*\/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)\s*(.*?)\s*;/gm)];
  return found.map(([, address, predicate, opcode, operands]) => {
    const target = /^(BRA|CALL|BRX|JMP)/.test(opcode) ? operands.match(/0x([0-9a-f]+)\s*$/)?.[1] : undefined;
    return {
      address: Number.parseInt(address, 16),
      conditional: predicate !== undefined,
      opcode,
      operands,
      ...(target && { target: Number.parseInt(target, 16) }),
    };
  });
}

/** Instructions that are executed one after the other. */
interface Block {
  first: number;
  /** The index after its last instruction. */
  end: number;
  next: number[];
  /** Whether it calls a subroutine: the way of a division with odd operands, which is rare. */
  calls: boolean;
}

function blocksOf(code: readonly Instruction[]): Block[] {
  const place = new Map(code.map(({ address }, i) => [address, i]));
  const starts = new Set([0]);
  const ends = /^(BRA|EXIT|RET|CALL|JMP|BRX|KILL)/;
  code.forEach(({ opcode, target }, i) => {
    if (!ends.test(opcode)) return;
    starts.add(i + 1);
    if (target !== undefined) starts.add(place.get(target) as number);
  });
  const sorted = [...starts].filter((i) => i < code.length).sort((a, b) => a - b);
  const blockAt = new Map(sorted.map((first, b) => [first, b]));
  return sorted.map((first, b) => {
    const end = sorted[b + 1] ?? code.length;
    const { opcode, conditional, target, operands } = code[end - 1];
    const next: number[] = [];
    // A branch names a predicate among its operands too: BRA P0, 0x120, or BRA.DIV.
    const always = !conditional && !/^!?U?P\d/.test(operands) && /^(BRA|JMP)$/.test(opcode);
    const stops = !conditional && /^(EXIT|RET|KILL)/.test(opcode);
    if (!always && !stops && end < code.length) next.push(b + 1);
    if (/^(BRA|JMP)/.test(opcode) && target !== undefined)
      next.push(blockAt.get(place.get(target) as number) as number);
    return { first, end, next, calls: /^CALL/.test(opcode) };
  });
}

/** For each block, the blocks through which every way to it leads. */
function dominatorsOf(blocks: readonly Block[]): Set<number>[] {
  const all = blocks.map((_, b) => b);
  const before = all.map((b) => all.filter((other) => blocks[other].next.includes(b)));
  const sets = all.map((b) => new Set(b === 0 ? [0] : all));
  for (let changed = true; changed; ) {
    changed = false;
    for (const b of all.slice(1)) {
      const from = before[b].map((p) => sets[p]);
      const common = from.length === 0 ? [] : [...from[0]].filter((d) => from.every((set) => set.has(d)));
      const now = new Set([...common, b]);
      if (now.size !== sets[b].size) {
        sets[b] = now;
        changed = true;
      }
    }
  }
  return sets;
}

interface Loop {
  header: number;
  body: Set<number>;
}

function loopsOf(blocks: readonly Block[], dominators: readonly ReadonlySet<number>[]): Loop[] {
  const bodies = new Map<number, Set<number>>();
  blocks.forEach(({ next }, b) => {
    for (const header of next) {
      if (!dominators[b].has(header)) continue;
      const body = bodies.get(header) ?? new Set([header]);
      const pending = [b];
      for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
        if (body.has(at)) continue;
        body.add(at);
        const here = at;
        blocks.forEach((block, p) => {
          if (block.next.includes(here)) pending.push(p);
        });
      }
      bodies.set(header, body);
    }
  });
  // A loop of one block that branches to itself is a stop after the end of the code.
  return [...bodies]
    .map(([header, body]) => ({ header, body }))
    .filter(({ header, body }) => body.size > 1 || blocks[header].end - blocks[header].first > 1)
    .sort((a, b) => a.header - b.header);
}

/** The longest way through the blocks of `within` from `start`, where the blocks of `inner` cost nothing. */
function longestPath(
  blocks: readonly Block[],
  start: number,
  within: ReadonlySet<number>,
  inner: readonly Loop[],
): { length: number; path: number[] } {
  const known = new Map<number, { length: number; next?: number }>();
  const inside = (b: number) => inner.some(({ body }) => body.has(b));
  const cost = (b: number) => (inside(b) ? 0 : blocks[b].end - blocks[b].first);
  const onPath = new Set<number>();
  const from = (b: number): number => {
    const memo = known.get(b);
    if (memo) return memo.length;
    onPath.add(b);
    const next = blocks[b].next.filter((n) => n !== start && within.has(n) && !onPath.has(n));
    const usual = next.filter((n) => !blocks[n].calls);
    let best: { length: number; next?: number } = { length: 0 };
    for (const n of usual.length > 0 ? usual : next) {
      const length = from(n);
      if (length > best.length || best.next === undefined) best = { length, next: n };
    }
    onPath.delete(b);
    known.set(b, { length: cost(b) + best.length, next: best.next });
    return cost(b) + best.length;
  };
  const length = from(start);
  const path: number[] = [];
  for (let b: number | undefined = start; b !== undefined && !path.includes(b); b = known.get(b)?.next)
    if (!inside(b)) path.push(b);
  return { length, path };
}

function bytesOf(opcode: string): number {
  const [, bits] = opcode.match(/\.(128|64|[US]?16|[US]?8)(\.|$)/) ?? [];
  return bits ? Number(bits.replace(/\D/, '')) / 8 : 4;
}

function widthsOf(code: readonly Instruction[], name: 'LDG' | 'STG'): Widths {
  const widths: Widths = {};
  for (const { opcode } of code) {
    if (!opcode.startsWith(`${name}.`)) continue;
    const bytes = bytesOf(opcode);
    widths[bytes] = (widths[bytes] ?? 0) + 1;
  }
  return widths;
}

/** How often code waits for a load that it began. */
function waitsOf(code: readonly Instruction[]): Widths {
  const waits: Widths = {};
  let pending = new Map<number, number>();
  for (const { opcode, operands } of code) {
    const registers = registersOf(operands);
    const awaited = registers.find((register) => pending.has(register));
    if (awaited !== undefined) {
      const bytes = pending.get(awaited) as number;
      waits[bytes] = (waits[bytes] ?? 0) + 1;
      pending = new Map();
    }
    if (!opcode.startsWith('LDG.')) continue;
    const bytes = bytesOf(opcode);
    for (let i = 0; i < Math.max(1, bytes / 4); i++) pending.set(registers[0] + i, bytes);
  }
  return waits;
}

/** How often code waits for asynchronous copies that it began. They are waited for in groups, of which the latest may be pending. */
function copyWaitsOf(code: readonly Instruction[]): number {
  let waits = 0;
  let begun = false;
  let groups: boolean[] = [];
  for (const { opcode, operands } of code) {
    if (opcode.startsWith('LDGSTS')) begun = true;
    if (opcode.startsWith('LDGDEPBAR')) {
      groups.push(begun);
      begun = false;
    }
    if (opcode.startsWith('HGMMA')) {
      begun = false;
      groups = groups.map(() => false);
    }
    if (!opcode.startsWith('DEPBAR.LE')) continue;
    const pending = Number(operands.match(/SB0, 0x([0-9a-f]+)/)?.[1] ?? Number.NaN);
    if (Number.isNaN(pending)) continue;
    const awaited = groups.splice(0, Math.max(0, groups.length - pending));
    if (awaited.includes(true)) waits++;
  }
  return waits;
}

const registersOf = (operands: string) => [...operands.matchAll(/\bR(\d+)/g)].map(([, number]) => Number(number));

/** A division of integers begins with a reciprocal, one of floats with a check, one of doubles with its upper half. */
const isDivision = ({ opcode }: Instruction) => /^I2F\S*\.RP$|^FCHK|^MUFU\.RCP64H/.test(opcode);

function factsOf(code: readonly Instruction[]): CodeFacts {
  const blocks = blocksOf(code);
  const dominators = dominatorsOf(blocks);
  const loops = loopsOf(blocks, dominators);
  const codeOf = (members: Iterable<number>) =>
    [...members].sort((a, b) => a - b).flatMap((b) => code.slice(blocks[b].first, blocks[b].end));
  const parents = loops.map((loop) => {
    const around = loops.filter((other) => other !== loop && other.body.has(loop.header));
    const nearest = around.reduce((best, one) => (one.body.size < best.body.size ? one : best), around[0]);
    return nearest ? loops.indexOf(nearest) : -1;
  });
  const partOf = (start: number, members: ReadonlySet<number>, index: number): PartFacts => {
    const inner = loops.filter((_, other) => parents[other] === index);
    const own = codeOf([...members].filter((b) => !inner.some(({ body }) => body.has(b))));
    const { length: instructions, path } = longestPath(blocks, start, members, inner);
    const loads = widthsOf(own, 'LDG');
    const products = own.filter(({ opcode }) => /^HG?MMA/.test(opcode)).length;
    const stores = widthsOf(own, 'STG');
    const copies = own.filter(({ opcode }) => opcode.startsWith('LDGSTS')).length;
    const onWarpgroups = own.some(({ opcode }) => opcode.startsWith('HGMMA'));
    const isOptional = onWarpgroups
      ? copies > 0
      : products === 0 && index >= 0 && loads[16] !== undefined && stores[16] !== undefined;
    const last = [...members].filter((b) => blocks[b].next.includes(start));
    // A block that every iteration executes has no optional load.
    const always = (b: number) => last.length > 0 && last.every((latch) => dominators[latch].has(b));
    const optional = (b: number) =>
      codeOf([b]).some(({ opcode }) =>
        onWarpgroups ? /^LDGSTS|^LDSM/.test(opcode) : opcode.startsWith('LDG.') && !always(b),
      );
    const without = new Set([...members].filter((b) => b === start || !optional(b)));
    const plain = longestPath(blocks, start, without, inner).length;
    return {
      instructions,
      ...(isOptional && { plain }),
      loads,
      stores,
      waits: waitsOf(codeOf(path)),
      ...(copies > 0 && { copies, copyWaits: copyWaitsOf(codeOf(path)) }),
      divisions: own.filter(isDivision).length,
      products,
    };
  };
  const greatest = (part: readonly Instruction[]) =>
    part.reduce((most, { operands }) => Math.max(most, ...registersOf(operands)), -1) + 1;
  return {
    ...partOf(0, new Set(blocks.keys()), -1),
    local: code.filter(({ opcode }) => /^(LDL|STL)/.test(opcode)).length,
    registers: greatest(code),
    limits: blocks.flatMap((block, b) =>
      code
        .slice(block.first, block.end)
        .filter(({ opcode }) => opcode.startsWith('USETMAXREG'))
        .map(({ operands }) => ({
          limit: Number(operands.match(/0x[0-9a-f]+/)?.[0]),
          used: greatest(codeOf(reachable(blocks, b))),
        })),
    ),
    loops: loops.map(({ header, body }, i) => ({ ...partOf(header, body, i), parent: parents[i] })),
  };
}

function reachable(blocks: readonly Block[], start: number): Set<number> {
  const found = new Set([start]);
  for (const b of found) for (const next of blocks[b].next) found.add(next);
  return found;
}
