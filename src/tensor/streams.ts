// The streams of the counter-based generator. Each use draws from its own stream, so one seed serves a whole run.
export const streams = {
  /** x_0 in training. */
  noise: 0,
  /** t in training. */
  times: 1,
  /** x_0 in sampling. */
  samples: 2,
  /** x_0 and t of the evaluation loss. */
  evaluation: 3,
  evaluationTimes: 4,
  /** The first of the dropout layers; each takes the next. */
  dropout: 1 << 16,
  /** The first of the initialised tensors; each takes the next. */
  initialisation: 1 << 20,
  /** The first of the likelihood's probes; each repetition takes the next. */
  probes: 1 << 23,
  /** The first of the stochastic sampler's steps; each takes the next. */
  diffusion: 1 << 24,
  /** The ASCII codes of "da" (data), and a number. */
  shuffle: 0x64610001,
  flip: 0x64610002,
  dequantize: 0x64610003,
  points: 0x64610004,
  realPairs: 0x64610005,
  emptyCaptions: 0x64610006,
  pairCaptions: 0x64610007,
  /** The seed of the source of a domain transfer. */
  source: 0x64610008,
  /** The times and the noise of the classifier of two domains. */
  domains: 0x64610009,
  /** Which neighbour an image of a domain transfer is paired with. */
  neighbours: 0x6461000a,
} as const;
