// The link that restores the page: the settings in the fragment of the address, with a version, the points that were drawn in 12 bits a
// coordinate, and a checksum that tells a link which was cut from one that is whole.
import { isDigitText } from './digits.ts';
import {
  couplings,
  defaults,
  EXTENT,
  interpolants,
  isPreset,
  MOST_POINTS,
  type Problem,
  pages,
  ranges,
  type Settings,
  type Source,
  samplers,
  solvers,
  type View,
  velocities,
  within,
} from './settings.ts';

const VERSION = 1;
/** Longest fragment that is read; a whole cloud of 10,000 points in both places has 80,000 letters. */
const LONGEST = 200_000;
const LEVELS = 4095;
/** Points that a link holds of each cloud. */
export const LINKED_POINTS = 2000;

/** A link that cannot be read; the message is for people. */
export class LinkError extends Error {}

/** The fragment without its #, such as v1.eyJ....a1b2c3. */
export function encodeSettings(settings: Settings): string {
  const { from, to, ...problem } = settings.problem;
  const text = JSON.stringify({ ...problem, from: packSource(from), to: packSource(to), view: settings.view });
  const body = toBase64(new TextEncoder().encode(text));
  return `v${VERSION}.${body}.${checksum(body)}`;
}

/**
 * Reads a fragment. Numbers outside their range are moved into it.
 * @throws LinkError for a link that was cut, edited, or made by a newer version
 */
export function decodeSettings(fragment: string): Settings {
  const [version, body, sum, ...rest] = fragment.replace(/^#/, '').split('.');
  if (!/^v\d+$/.test(version)) throw new LinkError('This link does not hold a playground.');
  if (version !== `v${VERSION}`)
    throw new LinkError(`This link was made by another version of the playground (${version.slice(0, 8)}).`);
  if (fragment.length > LONGEST || body === undefined || sum === undefined || rest.length > 0 || checksum(body) !== sum)
    throw new LinkError('This link was cut or edited, so the playground starts with its default settings.');
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(fromBase64(body)));
  } catch {
    parsed = undefined;
  }
  if (typeof parsed !== 'object' || parsed === null)
    throw new LinkError('This link is damaged, so the playground starts with its default settings.');
  const given = parsed as Record<string, unknown>;
  return { problem: problemOf(given), view: viewOf(given.view) };
}

function problemOf(given: Record<string, unknown>): Problem {
  const { problem } = defaults;
  const number = (name: 'noise' | 'width' | 'depth' | 'batch' | 'rate' | 'l2' | 'seed') =>
    within(given[name], ranges[name]) ?? problem[name];
  return {
    from: sourceOf(given.from) ?? problem.from,
    to: sourceOf(given.to) ?? problem.to,
    noise: number('noise'),
    coupling: oneOf(given.coupling, couplings) ?? problem.coupling,
    width: number('width'),
    depth: number('depth'),
    batch: number('batch'),
    rate: number('rate'),
    l2: number('l2'),
    seed: number('seed'),
    steps: within(given.steps, ranges.trainingSteps) ?? problem.steps,
  };
}

function viewOf(value: unknown): View {
  const given = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const { view } = defaults;
  const flag = (name: 'drawer' | 'paths' | 'arrows' | 'target' | 'field' | 'difference' | 'density' | 'pairs') =>
    typeof given[name] === 'boolean' ? (given[name] as boolean) : view[name];
  return {
    page: oneOf(given.page, pages) ?? view.page,
    digitSeed: within(given.digitSeed, ranges.digitSeed) ?? view.digitSeed,
    digitSteps: within(given.digitSteps, ranges.digitSteps) ?? view.digitSteps,
    digitFrom: within(given.digitFrom, ranges.digitCell) ?? view.digitFrom,
    digitTo: within(given.digitTo, ranges.digitCell) ?? view.digitTo,
    digitPlace: within(given.digitPlace, ranges.time) ?? view.digitPlace,
    digitOwn: isDigitText(given.digitOwn) ? given.digitOwn : view.digitOwn,
    velocity: oneOf(given.velocity, velocities) ?? view.velocity,
    bandwidth: within(given.bandwidth, ranges.bandwidth) ?? view.bandwidth,
    neighbours: within(given.neighbours, ranges.neighbours) ?? view.neighbours,
    steps: within(given.steps, ranges.steps) ?? view.steps,
    solver: oneOf(given.solver, solvers) ?? view.solver,
    drawer: flag('drawer'),
    interpolant: oneOf(given.interpolant, interpolants) ?? view.interpolant,
    sampler: oneOf(given.sampler, samplers) ?? view.sampler,
    fresh: within(given.fresh, ranges.fresh) ?? view.fresh,
    paths: flag('paths'),
    arrows: flag('arrows'),
    target: flag('target'),
    field: flag('field'),
    difference: flag('difference'),
    density: flag('density'),
    pairs: flag('pairs'),
    time: within(given.time, ranges.time) ?? view.time,
    tab: within(given.tab, ranges.tab) ?? view.tab,
  };
}

function oneOf<Names extends object>(value: unknown, names: Names): keyof Names | undefined {
  return typeof value === 'string' && Object.hasOwn(names, value) ? (value as keyof Names) : undefined;
}

function packSource(source: Source): string {
  return 'preset' in source ? source.preset : `*${packPoints(source.points)}`;
}

function sourceOf(value: unknown): Source | undefined {
  if (typeof value !== 'string') return undefined;
  if (!value.startsWith('*')) return isPreset(value) ? { preset: value } : undefined;
  const points = unpackPoints(value.slice(1));
  return points.length > 0 ? { points } : undefined;
}

/** Three bytes a point, 12 bits for each coordinate in [-EXTENT, EXTENT]. */
export function packPoints(points: Float32Array): string {
  const count = points.length / 2;
  const kept = Math.min(count, LINKED_POINTS);
  const bytes = new Uint8Array(3 * kept);
  for (let i = 0; i < kept; i++) {
    const from = 2 * Math.floor((i * count) / kept);
    const [x, y] = [points[from], points[from + 1]].map(level);
    bytes.set([x >> 4, ((x & 15) << 4) | (y >> 8), y & 255], 3 * i);
  }
  return toBase64(bytes);
}

function level(value: number): number {
  return Math.max(0, Math.min(LEVELS, Math.round(((value + EXTENT) / (2 * EXTENT)) * LEVELS)));
}

export function unpackPoints(text: string): Float32Array {
  let bytes: Uint8Array;
  try {
    bytes = fromBase64(text);
  } catch {
    return new Float32Array(0);
  }
  const count = Math.min(Math.floor(bytes.length / 3), MOST_POINTS);
  const points = new Float32Array(2 * count);
  for (let i = 0; i < count; i++) {
    const [a, b, c] = bytes.subarray(3 * i, 3 * i + 3);
    points[2 * i] = (((a << 4) | (b >> 4)) / LEVELS) * 2 * EXTENT - EXTENT;
    points[2 * i + 1] = ((((b & 15) << 8) | c) / LEVELS) * 2 * EXTENT - EXTENT;
  }
  return points;
}

/** Base64 for addresses (RFC 4648, section 5), without padding. */
function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let from = 0; from < bytes.length; from += 8192)
    text += String.fromCharCode(...bytes.subarray(from, from + 8192));
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (one) => one.charCodeAt(0));
}

/** FNV-1a of 32 bits, in base 36. */
function checksum(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(36);
}
