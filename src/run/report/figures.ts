// The contents of report.json, and how numbers are written in a report.
import { describeDuration, megabytes } from '../machine/resources.ts';
import type { TransferFigures } from './transfer.ts';

/** The contents of report.json. */
export interface ReportFigures {
  version: string;
  revision: string;
  created: string;
  device: string;
  /** Seed of the samples' noise. */
  seed: number;
  /** Number of samples for each flow and number of steps. */
  samples: number;
  /** Features of the Frechet distances; absent if samples were not scored. */
  features?: string;
  /** Distance of real held-out images, the lowest that a generator can be expected to reach. */
  heldOut?: { images: number; fd: number };
  /** The captions of samples 0, 1, ..., in turn; absent for flows without captions. */
  captions?: readonly string[];
  /** The classifier of eval.reader: its accuracy on real images that it was not trained on, 0 to 1. */
  reader?: { accuracy: number };
  /** The flows of a domain transfer in both directions; a distilled one is left out. */
  transfers?: TransferFigures[];
  /** Flows that have a snapshot. */
  stages: StageFigures[];
}

export interface StageFigures {
  name: string;
  checkpoint: string;
  /** Number of updates. */
  steps: number;
  straightness: number;
  /** Number of Euler steps that straightness is averaged over. */
  straightness_steps: number;
  /** Frechet distance by number of Euler steps, and for "rk45". */
  fd: Record<string, number>;
  /** Network evaluations per sample of rk45. */
  nfe: number;
  /** Share of the samples in which the reader reads the class of their caption, by number of Euler steps and for "rk45". */
  read?: Record<string, number>;
}

/** A measured value with three figures and no exponent: "0.00679", "0.380", "26.1", "1,230". */
export function figuresText(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) < 1e-6) return '0';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en');
  return value.toLocaleString('en', { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
}

/** A share as "97.4 %". */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** A mean of whole numbers: "38", "37.5". */
export function mean(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: 1 });
}

/** "412 kB", "30 MB". */
export function size(bytes: number): string {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : megabytes(bytes);
}

export function count(value: number): string {
  return value.toLocaleString('en');
}

export function plural(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
}

/** "12 s", "3 min 10 s", "2.5 h". */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds < 10 ? Number(seconds.toFixed(1)) : Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 > 0 ? ` ${whole % 60} s` : ''}`;
  return describeDuration(seconds);
}
