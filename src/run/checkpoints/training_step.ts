// The record of one training step. A state contains that of a step that was not evaluated.

/** The figures of one update. */
export interface TrainingStep {
  /** Index of the update, from 0. */
  step: number;
  /** Index of the step at which the run ends, exclusive. */
  total: number;
  /** Mean loss of the batch. */
  loss: number;
  /** Terms of the loss by name, if it has several: loss_features and loss_plain with training.feature_weight. */
  terms?: Record<string, number>;
  learningRate: number;
  /** Global norm of the gradient before clipping. */
  gradientNorm: number;
  imagesPerSecond: number;
  /** Share of the step's time spent waiting for its batch, 0 to 1. */
  dataShare: number;
}
