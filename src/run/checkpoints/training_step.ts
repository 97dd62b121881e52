/** The figures of one update. */
export interface TrainingStep {
  /** Number of the update, from 0. */
  step: number;
  /** The number of the step to stop before. */
  total: number;
  /** Mean over the batch. */
  loss: number;
  learningRate: number;
  /** Global norm of the gradient before clipping. */
  gradientNorm: number;
  imagesPerSecond: number;
  /** Share of the step's time that went into waiting for its batch. */
  dataShare: number;
}
