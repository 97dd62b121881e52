// The kernels of a planned training step: what each launch computes, by layer and pass, and the work that it is for a card. Every kernel of
// the step is here; one that is not known is an error.
import { hopperBuilds, PRODUCT_WORDS, type Tile, tilesOf } from '../../src/kernels/conv/hopper.ts';
import { cutOf, loadOf, productOf } from '../../src/kernels/conv/hopper_weight_gradients.ts';
import { convTableOrder } from '../../src/kernels/conv/shape.ts';
import { normTableOrder } from '../../src/kernels/group_norm.ts';
import { hopperModel, type LaunchWork } from './card_model.ts';
import { fewPass, fewWork } from './few_work.ts';
import {
  convolutionsOf,
  FULL,
  GRADIENTS,
  HALF,
  HOPPER_GRADIENTS,
  linear,
  type NormSizes,
  ofConvolution,
  ofNorm,
  ofProduct,
  type Part,
  readTable,
  type Tables,
} from './layer_parts.ts';
import { executed, factsOf, hopperLoops, mmaTrips, type Other, type StaticFacts, streamTrips } from './machine_code.ts';
import { normWork, sizesAt } from './norm_work.ts';
import type { PlannedNode } from './planning_device.ts';

export interface Launch {
  kernel: string;
  work: LaunchWork;
  parts: readonly Part[];
  /** Rows and columns of the tile, for convolutions on sm_90a. */
  tile?: string;
}

/** Words of a table of joined_product.ts and linears.ts, and of an entry of each; those of leaf_gradients.ts. */
const LAYERS_TABLE = 576;
const JOINED_WORDS = 6;
const LINEARS_WORDS = 8;
const LEAVES = { table: 960, words: 8, written: 2 ** 31 };
/** Terms of a step of tensor_tile.cuh and of hopper.cu. */
const MMA_STEP = 32;
const HOPPER_STEP = 64;
/** Terms of a run of long sums. */
const RUN = 4096;
const WARP = 32;
/** Elements of a thread that has 16 bytes of them in bf16. */
const EIGHT = 8;

/** A planned node as a launch; undefined for copies. */
export function launchOf(node: PlannedNode, tables: Tables, statics: StaticFacts): Launch | undefined {
  if (node.kind !== 'kernel') return undefined;
  const { name, arguments: values } = node;
  if (name.startsWith('conv_hopper_')) return ofHopper(node, tables, statics);
  if (name.startsWith('group_norm_slices_')) {
    const at = sizesAt(name);
    const shape = Object.fromEntries(normTableOrder.map((size, i) => [size, values[at + i]])) as NormSizes;
    return { kernel: name, work: normWork(node, shape, statics), parts: [ofNorm(shape, name)] };
  }
  if (name.startsWith('conv_few_')) return ofFew(node, tables, statics);
  return ofMma(node, tables, statics) ?? ofStream(node, tables, statics);
}

// ---------------------------------------------------------------- elements

/** Part, and elements of a thread in each pass, of the kernels that go over elements. */
function streamOf(
  { name, module = '', arguments: values }: PlannedNode,
  tables: Tables,
): Part & Other & { elements?: number } {
  const half = module.endsWith('.bf16') ? HALF : FULL;
  const [, , third, fourth, fifth] = values;
  const part = (text: string, bytes: number, more: Other & { elements?: number } = {}) => ({
    ...{ name: text, flops: 0, bytes },
    ...more,
  });
  switch (name) {
    case 'softmax_forward':
    case 'softmax_forward_short':
      return part(`softmax of ${third} x ${fourth}`, third * fourth * (FULL + HALF), { elements: fourth / WARP });
    case 'softmax_backward':
    case 'softmax_backward_short': {
      const bytes = fourth * fifth * (HALF + FULL + HALF);
      return part(`softmax of ${fourth} x ${fifth}, gradient`, bytes, { elements: fifth / WARP });
    }
    case 'optimizer_adam':
      // Values, two moments and the average are read and written, gradients read and perhaps zeroed, and copies written.
      return part('Adam, average, copies', values[8] * ((9 + (values.at(-1) as number)) * FULL + HALF));
    case 'optimizer_norm_runs':
      return part('norm of the gradient', third * FULL, { elements: RUN / WARP });
    case 'optimizer_norm':
      return part('norm of the gradient, sum of runs', third * 2 * FULL, { elements: third / 1024 });
    case 'flow_inputs_path':
      return part('points and directions of paths', values[5] * 4 * FULL);
    case 'flow_inputs_sinusoids':
      return part('embedding of times', values[3] * 2 * FULL);
    case 'resample_sum_eights':
      return part(`sums of 2 x 2, ${EIGHT * third} elements`, EIGHT * third * 5 * half, {
        ...{ outer: values[5], elements: values[5] ** 2 },
      });
    case 'resample_repeat_eights':
      return part(`repeat 2 x 2, ${EIGHT * third * values[5] ** 2} elements`, EIGHT * third * 5 * half, {
        ...{ outer: values[5], inner: values[5] ** 2 },
      });
    case 'accumulate_add':
      return part(`sum of two gradients, ${third} elements`, third * 3 * half);
    case 'reduce_sum_columns':
      return part(`sum of ${fourth} rows of ${fifth}`, third * fourth * half, {
        ...{ elements: Math.min(fourth, RUN), outer: Math.ceil(Math.min(fourth, RUN) / WARP) },
      });
    case 'reduce_sum_runs':
      return part(`sum of ${fifth} runs of ${third}`, third * (fifth * FULL + half), { elements: fifth });
    case 'loss_squares_runs':
      return part('squared error', fourth * 2 * FULL, { elements: RUN / WARP });
    case 'loss_squares_sum':
      return part('squared error, sum of runs', third * 2 * FULL, { elements: third / WARP });
    case 'loss_squares_backward':
      return part('squared error, gradient', fifth * 3 * FULL);
    case 'random_normal':
    case 'random_uniform':
      return part(`${name.slice('random_'.length)} numbers, ${values[1] * third}`, values[1] * third * FULL);
    case 'cast_to_bf16':
    case 'cast_from_bf16':
      return part(`${name.replaceAll('_', ' ')}, ${third} elements`, third * (HALF + FULL));
    case 'elementwise_mul':
    case 'elementwise_add':
      if (tables.get(fourth)?.[0] !== 1) throw new Error(`${name} of the training step has operands that broadcast`);
      return part(`${name.slice('elementwise_'.length)}, ${fifth} elements`, fifth * 3 * half);
    case 'elementwise_silu':
      return part(`${name.slice('elementwise_'.length)}, ${third} elements`, third * 2 * half);
    case 'elementwise_silu_backward':
      return part(`silu gradient, ${fourth} elements`, fourth * 3 * half);
    default:
      throw new Error(`bench/gpu/launches.ts does not know what ${name} of the training step does`);
  }
}

function ofStream(node: PlannedNode, tables: Tables, statics: StaticFacts): Launch {
  const { name } = node;
  if (name.startsWith('leaf_gradients_')) return ofLeaves(node, statics);
  const { facts, blocks, threads, resident } = factsOf(node, statics);
  const { elements = 0, search, outer, ...part } = streamOf(node, tables);
  const warp = executed(facts, streamTrips(name, facts, elements, { search, outer }));
  const instructions = (blocks * threads * warp.instructions) / WARP;
  const work = { blocks, threads, resident, instructions, waiting: warp.waiting, bytes: part.bytes };
  return { kernel: name, work, parts: [part] };
}

/** Sums of rows or of partial sums, of many parameters. The blocks of an entry have its number of terms. */
function ofLeaves(node: PlannedNode, statics: StaticFacts): Launch {
  const { name, arguments: values } = node;
  const { facts, blocks, threads, resident } = factsOf(node, statics);
  const count = values[LEAVES.table];
  let [bytes, instructions, waiting] = [0, 0, 0];
  for (let e = 0; e < count; e++) {
    const [first, second, , last] = values.slice(e * LEAVES.words + 4, (e + 1) * LEAVES.words);
    const rows = name === 'leaf_gradients_rows';
    // Rows: [first] rows of [second] columns in runs of [last]; else [terms] of [first] elements, four of a thread.
    const terms = second % LEAVES.written;
    const [sums, elements] = rows ? [Math.ceil(first / last) * second, last] : [first / 4, terms];
    bytes += rows
      ? first * second * (node.module?.endsWith('.bf16') ? HALF : FULL) + sums * FULL
      : first * (terms + (second === terms ? 2 : 1)) * FULL;
    const warp = executed(facts, streamTrips(name, facts, elements, { search: Math.ceil(Math.log2(count)) }));
    const share = Math.ceil(sums / threads) / blocks;
    instructions += (share * blocks * threads * warp.instructions) / WARP;
    waiting += share * warp.waiting;
  }
  const text = name === 'leaf_gradients_add' ? 'gradients of parameters, added' : 'sums of rows';
  const parts = [{ name: text, flops: 0, bytes }];
  return { kernel: name, work: { blocks, threads, resident, instructions, waiting, bytes }, parts };
}

// ---------------------------------------------------------------- products on mma.sync

interface Mma {
  parts: readonly Part[];
  terms: number;
  /** Bit 1: the left operand is copied in chunks; bit 2: the right. */
  chunked: number;
  search?: number;
  /** Whether each sum has an addend or a residual that is loaded. */
  residual?: boolean;
}

function mmaOf({ name, launchGrid, arguments: values }: PlannedNode, tables: Tables): Mma | undefined {
  const shape = (at: number) => readTable(tables, values[at], convTableOrder);
  if (name === 'conv_forward') {
    const { kernelHeight, kernelWidth, channels } = shape(6);
    const terms = kernelHeight * kernelWidth * channels;
    return {
      parts: [ofConvolution(shape(6), 'forward')],
      terms,
      chunked: values[8],
      residual: values[4] + values[5] > 0,
    };
  }
  if (name === 'conv_input_gradient') {
    const { kernelHeight, kernelWidth, outputs } = shape(3);
    return {
      parts: [ofConvolution(shape(3), 'input')],
      terms: kernelHeight * kernelWidth * outputs,
      chunked: values[5],
    };
  }
  if (name === 'conv_weight_gradients') {
    const parts = convolutionsOf(values, GRADIENTS, tables).map((one) => ofConvolution(one, 'weight'));
    const [run, chunked] = [values[11], values[12]];
    return { parts, terms: run, chunked, search: parts.length };
  }
  if (name === 'joined_product') {
    const [pairs, , rows, terms, inputs, run, , chunked] = values.slice(LAYERS_TABLE);
    const outputs = Array.from({ length: pairs }, (_, e) => values[JOINED_WORDS * e + JOINED_WORDS - 1]);
    const parts = outputs.map((columns) => ofProduct(linear(rows, inputs, columns), 'input'));
    return { parts, terms: Math.min(terms, run || terms), chunked, search: Math.ceil(Math.log2(pairs + 1)) };
  }
  if (name === 'linears_forward') {
    const [layers, , rows, inputs, chunked] = values.slice(LAYERS_TABLE);
    const outputs = Array.from({ length: layers }, (_, e) => values[LINEARS_WORDS * e + LINEARS_WORDS - 2]);
    const parts = outputs.map((columns) => ofProduct(linear(rows, inputs, columns), 'forward'));
    return { parts, terms: inputs, chunked, search: layers };
  }
  if (!name.startsWith('matmul_multiply')) return undefined;
  const [rows, terms, columns] = values.slice(4, 7);
  const chunked = values[11];
  if (values[2] !== 0) return { parts: [ofProduct(linear(rows, terms, columns), 'forward')], terms, chunked };
  const edge = (launchGrid?.block[0] as number) / 2;
  const batches = (launchGrid?.grid[0] as number) / (Math.ceil(rows / edge) * Math.ceil(columns / edge));
  const elements = rows * terms + terms * columns;
  const wide = values[10] !== 0;
  const bytes = batches * (HALF * elements + (wide ? FULL : HALF) * rows * columns);
  const text = `attention, ${batches} times ${rows} x ${terms} x ${columns}${wide ? ', f32' : ''}`;
  return { parts: [{ name: text, flops: 2 * batches * rows * terms * columns, bytes }], terms, chunked };
}

function ofMma(node: PlannedNode, tables: Tables, statics: StaticFacts): Launch | undefined {
  const mma = mmaOf(node, tables);
  if (!mma) return undefined;
  const { facts, blocks, threads, resident } = factsOf(node, statics);
  const steps = Math.ceil(mma.terms / MMA_STEP);
  const chunked = [(mma.chunked & 1) !== 0, (mma.chunked & 2) !== 0] as const;
  const { latency, multiprocessors } = hopperModel;
  // Outside of the loops only the epilogue loads 16 bytes from global memory: the bias and addends of adjacent sums at once.
  const { 16: addends = 0, ...others } = facts.waits;
  const loops = executed({ ...facts, waits: {} }, mmaTrips({ steps, chunked, search: mma.search }), latency.l2);
  const epilogue = Object.values(others).reduce((sum, count) => sum + count, 0) * latency.l1;
  const waiting = latency.memory + loops.waiting + epilogue + addends * (mma.residual ? latency.memory : latency.l1);
  const edge = threads / 2;
  const operations = Math.ceil(blocks / multiprocessors) * 2 * edge * edge * steps * MMA_STEP;
  return {
    kernel: node.name,
    work: {
      ...{ blocks, threads, resident, waiting, products: { unit: 'mma', operations } },
      instructions: (blocks * threads * loops.instructions) / WARP,
      bytes: mma.parts.reduce((sum, { bytes }) => sum + bytes, 0),
    },
    parts: mma.parts,
  };
}

// ---------------------------------------------------------------- convolutions of few channels

function ofFew(node: PlannedNode, tables: Tables, statics: StaticFacts): Launch {
  const { name, arguments: values } = node;
  const reading = readTable(tables, values[name === 'conv_few_weight_gradient' ? 3 : 4], convTableOrder);
  const { shape, pass } = fewPass(node, reading);
  const part = ofConvolution(shape, pass);
  return { kernel: name, work: fewWork(node, reading, part.bytes, statics), parts: [part] };
}

// ---------------------------------------------------------------- convolutions on sm_90a

/** Warps of the two warpgroups that multiply. */
const CONSUMERS = 8;

interface HopperTiles {
  parts: readonly Part[];
  bytes: number;
  /** Tiles of all blocks, tiles and steps of the block that has the most, and steps of all tiles. */
  tiles: number;
  most: number;
  mostSteps: number;
  steps: number;
  /** Whether the epilogue has that addend. */
  bias: boolean;
  add: boolean;
  residual: boolean;
  /** Whether the epilogue reads probabilities twice, two at a time. */
  probabilities?: boolean;
}

function hopperTiles({ name, arguments: values }: PlannedNode, tile: Tile, tables: Tables): HopperTiles {
  const { multiprocessors } = hopperModel;
  if (name === 'conv_hopper_weight_gradients') {
    const shapes = convolutionsOf(values, HOPPER_GRADIENTS, tables);
    const parts = shapes.map((shape) => ofConvolution(shape, 'weight'));
    const { tiles, waves, mostSteps, steps, written } = loadOf(shapes.map(productOf), tile, cutOf(shapes).run);
    // Partial sums are written instead of the gradient; leaf_gradients_add reads them.
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0) + written;
    return { parts, bytes, tiles, most: waves, mostSteps, steps, bias: false, add: false, residual: false };
  }
  const forward = name === 'conv_hopper_forward';
  const shape = readTable(tables, values[forward ? 6 : 3], convTableOrder);
  const part = ofConvolution(shape, forward ? 'forward' : 'input');
  const { batch, height, width, channels, outputHeight, outputWidth, outputs, kernelHeight, kernelWidth } = shape;
  const [pixels, columns, terms] = forward
    ? [outputHeight * outputWidth, outputs, channels]
    : [height * width, channels, outputs];
  const each = (kernelHeight * kernelWidth * terms) / HOPPER_STEP;
  const tiles = tilesOf(tile, batch * pixels, columns);
  const most = Math.ceil(tiles / multiprocessors);
  const [add, residual] = forward ? [values[4] !== 0, values[5] !== 0] : [false, false];
  const bytes = part.bytes + (residual ? HALF * batch * pixels * columns : 0);
  return {
    parts: [part],
    bytes,
    tiles,
    most,
    mostSteps: most * each,
    steps: tiles * each,
    bias: forward,
    add,
    residual,
  };
}

/** Products of matrices: see hopper_products.ts. */
function hopperProductTiles({ arguments: values }: PlannedNode, tile: Tile): HopperTiles {
  const { multiprocessors } = hopperModel;
  const [entries, pairs, batches, rows, terms, columns, stepLeft, stepRight, wide] = values.slice(1 + PRODUCT_WORDS);
  const [left, right] = [stepLeft ? batches : 1, stepRight ? batches : 1];
  const operands = HALF * pairs * (left * rows + right * columns) * terms;
  const bytes = operands + (wide ? FULL : HALF) * batches * rows * columns;
  const tiles = entries * batches * tilesOf(tile, rows, columns);
  const most = Math.ceil(tiles / multiprocessors);
  const each = (pairs * terms) / HOPPER_STEP;
  const text = `attention, ${batches} times ${rows} x ${terms} x ${columns}${wide ? ', f32' : ''}`;
  const bias = values[3] + values[4] > 0;
  // Layers have biases, and their input gradients have one matrix each.
  const layer = batches === 1;
  const parts = Array.from({ length: layer ? entries * pairs : entries }, () =>
    layer
      ? // Layers of one launch share what they read or write.
        {
          ...ofProduct(bias ? linear(rows, terms, columns) : linear(rows, columns, terms), bias ? 'forward' : 'input'),
          bytes: bytes / pairs,
        }
      : { name: text, flops: 2 * batches * rows * terms * columns, bytes },
  );
  const counts = { tiles, most, mostSteps: most * each, steps: tiles * each };
  return { parts, bytes: entries * bytes, ...counts, bias, add: false, residual: false };
}

/** Products of attention with a softmax or its gradient: see hopper_attention.ts. */
function attentionTiles({ name, arguments: values }: PlannedNode, tile: Tile): HopperTiles {
  const slopes = name === 'conv_hopper_slopes';
  const [batches, rows, terms, columns] = values.slice(slopes ? 4 : 3);
  const tiles = batches * tilesOf(tile, rows, columns);
  const most = Math.ceil(tiles / hopperModel.multiprocessors);
  const each = terms / HOPPER_STEP;
  const bytes = HALF * batches * ((rows + columns) * terms + (slopes ? 2 : 1) * rows * columns);
  const text = `attention, ${batches} times ${rows} x ${terms} x ${columns}, ${slopes ? 'gradient of the ' : ''}softmax`;
  const parts = [{ name: text, flops: 2 * batches * rows * terms * columns, bytes }];
  const counts = { tiles, most, mostSteps: most * each, steps: tiles * each };
  return { parts, bytes, ...counts, bias: false, add: false, residual: false, probabilities: slopes };
}

function productTilesOf(node: PlannedNode, tile: Tile): HopperTiles | undefined {
  if (/_(probabilities|slopes)$/.test(node.name)) return attentionTiles(node, tile);
  return node.name.startsWith('conv_hopper_multiply') ? hopperProductTiles(node, tile) : undefined;
}

function ofHopper(node: PlannedNode, tables: Tables, statics: StaticFacts): Launch {
  const tile = hopperBuilds.find(({ module }) => module.name === node.module);
  if (!tile) throw new Error(`no tile has the module ${node.module}`);
  const { facts, blocks, threads, resident } = factsOf(node, statics);
  const found = productTilesOf(node, tile) ?? hopperTiles(node, tile, tables);
  const { tile: outer, step } = hopperLoops(facts);
  const { issue, issued, latency } = hopperModel;
  // Half of the addends' code is executed if one of the two is there.
  const { instructions: full, plain = full } = outer;
  const addends = (found.add ? 1 : 0) + (found.residual ? 1 : 0);
  const perTile = plain + ((full - plain) * addends) / 2;
  // If warpgroups take turns, one of the two makes a tile.
  const warps = tile.together === 1 ? CONSUMERS / 2 : CONSUMERS;
  // Copies that did not begin before the products; the longest path has those of both addends.
  const { copyWaits = 0, waits: loads } = outer;
  const { 4: pairs = 0, 8: biases = 0 } = loads;
  const waits =
    (found.bias ? biases * latency.l1 : 0) +
    (found.probabilities ? (pairs / 2) * (latency.memory + latency.l1) : 0) +
    (found.add ? (copyWaits / 2) * latency.l2 : 0) +
    (found.residual ? (copyWaits / 2) * latency.memory : 0);
  return {
    kernel: node.name,
    work: {
      ...{ blocks, threads, resident, waiting: 0, bytes: found.bytes },
      instructions: warps * (found.tiles * perTile + found.steps * step.instructions),
      products: { unit: 'wgmma', operations: 2 * tile.rows * tile.columns * HOPPER_STEP * found.mostSteps },
      writing: {
        cycles: (warps * perTile) / (issue * issued) + waits,
        tiles: found.most,
        turns: tile.together === 1,
      },
    },
    parts: found.parts,
    tile: `${tile.rows} x ${tile.columns}`,
  };
}
