// A summary of each command in one line, for the list of `rectiflow --help`, which loads no command, and for the help of
// the command.
export const summaries = {
  quickstart: 'run a whole chain on handwritten digits, in minutes',
  chain: 'train a few-step generator from data, in one resumable run',
  estimate: 'estimate time, memory and cost of a chain, or of pictures of texts',
  train: 'train a 1-rectified flow',
  reflow: 'generate pairs from a trained flow, then reflow or distil on them',
  pairs: 'check whether stored pairs are fit for training',
  eval: 'evaluate snapshots: loss, bits per dimension, straightness, samples',
  sample: 'sample images from a checkpoint',
  transfer: 'carry images to the other domain of a flow between two data sets',
  text: 'make pictures of texts with InstaFlow or Stable Diffusion',
  serve: 'sample images from a checkpoint, or pictures of texts, over HTTP',
  report: 'write an HTML report on a chain or a run',
  runs: 'list the runs of a folder: state, steps, loss, best score, size',
  compare: 'write a page that compares runs: changed keys, losses, scores, times',
  figure: 'draw a figure of a run for a paper: SVG, PDF or PNG',
  stats: 'compute the data set features that scores compare with',
  classifier: 'train a small feature network for scores, where Inception does not fit',
  playground: 'serve the page that trains flows between drawn clouds in the browser',
  config: 'list configurations, show or compare them, explain their keys',
  convert: 'convert checkpoints of the official code (.pth) to .safetensors and back',
  inspect: 'list the contents of a checkpoint, a network, a text-to-image model or a PNG',
  toy: 'train flows between clouds in the plane, and measure what the papers measure',
  tune: 'measure the convolution algorithms on this processor',
  doctor: 'check this machine; say what is missing and how to fix it',
} as const;

export type CommandName = keyof typeof summaries;
