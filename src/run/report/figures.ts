// What report.json holds.
export interface ReportFigures {
  version: string;
  revision: string;
  created: string;
  device: string;
  /** Of the samples' noise. */
  seed: number;
  /** Of each flow and number of steps. */
  samples: number;
  /** What the Frechet distances are of; absent where nothing could be scored. */
  features?: string;
  /** Of real held-out images: what no generator is expected to go below. */
  heldOut?: { images: number; fd: number };
  stages: StageFigures[];
}

export interface StageFigures {
  name: string;
  checkpoint: string;
  /** Updates done. */
  steps: number;
  straightness: number;
  /** Euler steps that it is the mean over. */
  straightness_steps: number;
  /** Frechet distance by number of Euler steps, and of rk45. */
  fd: Record<string, number>;
  /** Of rk45: evaluations of the network a sample. */
  nfe: number;
}
