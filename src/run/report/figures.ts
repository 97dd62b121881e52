// The contents of report.json.
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
}
