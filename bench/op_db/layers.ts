// The rows of op_db/mapping.ts for softmax, embeddings, groups of channels and windows of images.
import type { Tensor } from '../../src/index.ts';
import * as ops from '../../src/index.ts';
import { extentOf, last, second } from './images.ts';
import { argument, inputOf, type Run, Semantics } from './sample.ts';

const alongAxis =
  (f: (x: Tensor, options: { axis: number }) => Tensor): Run =>
  (sample) => {
    const x = inputOf(sample);
    if (x.rank === 0) throw new Semantics('a scalar has no axes');
    return f(x, { axis: argument(sample, 0, 'dim', -1) });
  };

const embedding: Run = (sample) => {
  const { padding_idx, max_norm, scale_grad_by_freq } = sample.kwargs;
  if (padding_idx !== undefined && padding_idx !== null)
    throw new Semantics('every row gets a gradient (no padding_idx)');
  if (max_norm !== undefined && max_norm !== null) throw new Semantics('rows are not normalised');
  if (scale_grad_by_freq) throw new Semantics('gradients are not scaled by frequency');
  return ops.take(inputOf(sample), sample.args[0] as Tensor, { axis: 0 });
};

const groupNorm: Run = (sample) => {
  const x = inputOf(sample);
  const eps = argument(sample, 3, 'eps', 1e-5);
  if (eps < 0) throw new Semantics('a negative eps is refused');
  const [weight, bias] = ['weight', 'bias'].map((name, i) =>
    argument<Tensor | undefined>(sample, i + 1, name, undefined),
  );
  const channels = [x.shape[1]];
  return second(
    ops.groupNorm(last(x), weight ?? ops.ones(channels), bias ?? ops.zeros(channels), {
      groups: argument(sample, 0, 'num_groups', 1),
      eps,
    }),
  );
};

/** [N, C k, windows] there, [N, H', W', k C] here. */
const unfold: Run = (sample) => {
  const x = inputOf(sample);
  const image = x.rank === 3 ? ops.unsqueeze(x, 0) : x;
  const [kernel, dilation, padding, stride] = ['kernel_size', 'dilation', 'padding', 'stride'].map((name, i) =>
    extentOf(sample, i, name, name === 'padding' ? 0 : 1),
  );
  const rows = ops.unfold(last(image), { kernel, dilation, padding, stride });
  const [n, height, width, length] = rows.shape;
  const channels = image.shape[1];
  const taps = channels === 0 ? 0 : length / channels;
  const parted = ops.permute(ops.reshape(rows, [n, height * width, taps, channels]), [0, 3, 2, 1]);
  const windows = ops.reshape(parted, [n, channels * taps, height * width]);
  return x.rank === 3 ? ops.squeeze(windows, { axes: 0 }) : windows;
};

const shuffled =
  (f: (x: Tensor, factor: number) => Tensor, name: string): Run =>
  (sample) =>
    second(f(last(inputOf(sample)), argument(sample, 0, name, 1)));

const rows: Record<string, Run> = {
  embedding,
  group_norm: groupNorm,
  one_hot: ({ input, args: [depth], kwargs: { num_classes } }) => {
    const classes = (depth ?? num_classes ?? -1) as number;
    if (classes < 0) throw new Semantics('the number of classes is given');
    return ops.cast(ops.oneHot(input as Tensor, classes), 'i32');
  },
  pixel_shuffle: shuffled(ops.pixelShuffle, 'upscale_factor'),
  pixel_unshuffle: shuffled(ops.pixelUnshuffle, 'downscale_factor'),
  softmin: alongAxis((x, options) => ops.softmax(ops.neg(x), options)),
  unfold,
};

export const layerRows: Record<string, Run> = {
  log_softmax: alongAxis(ops.logSoftmax),
  softmax: alongAxis(ops.softmax),
  ...Object.fromEntries(Object.entries(rows).map(([name, run]) => [`nn.functional.${name}`, run])),
};
