// The table `model`: the network, a DDPM++ or NCSN++ of Score SDE.
import { z } from 'zod';
import { fixed, free, inert, network, table, training } from '../keys.ts';
import { LARGEST, LARGEST_IMAGE, list, number, positive, rate, whole } from '../values.ts';

const scoreSde = 'Score SDE (Song et al., 2021), appendix H';
const MOST_SCALES = 1e6;

const captioned = {
  key: 'model.name',
  words: 'unet2d_condition',
  met: (name: string) => name === 'unet2d_condition',
};

const latent = {
  key: 'model.name',
  words: 'stable_diffusion',
  met: (name: string) => name === 'stable_diffusion',
};

export const modelTable = table(
  'The network: a DDPM++ or NCSN++ of Score SDE (Song et al., 2021), or one that takes a text.',
  [...training, 'eval', 'sample', 'serve', 'inspect', 'convert'],
  {
    name: network(
      z.enum(['ncsnpp', 'unet2d_condition', 'stable_diffusion']),
      'The architecture. ncsnpp covers DDPM++ and NCSN++. Two are not in the official code: unet2d_condition is the network of Stable Diffusion with a text network, for images with captions; stable_diffusion is the one in model.folder, for latents.',
    ),
    folder: free(
      z.string(),
      'Folder of diffusers, or single file, of Stable Diffusion 1 or 2 or InstaFlow: the network to start from, the text network and the autoencoder.',
      { ours: true, needs: latent },
    ),
    tokenizer: free(z.string(), 'Folder of the tokenizer. If empty, the one in model.folder; a single file has none.', {
      ours: true,
      needs: latent,
    }),
    prediction: fixed(
      z.enum(['velocity', 'noise']),
      'What the network in model.folder predicts when it makes pairs: the velocity, as InstaFlow does, or the noise, as Stable Diffusion does. A student learns the velocity.',
      { ours: true, needs: latent },
    ),
    lora_rank: network(
      whole(0, 1024),
      'Rank of low-rank changes (LoRA) of the linear layers in transformer blocks, which are trained in place of the weights; 0 trains the weights.',
      { ours: true, source: 'LoRA: Hu et al., 2021', needs: latent },
    ),
    heads: network(whole(1, 1024), 'Heads of attention, in the network and in its text network.', {
      ours: true,
      needs: captioned,
    }),
    text_width: network(whole(1, 2 ** 14), 'Channels of the text network.', {
      unit: 'channels',
      ours: true,
      needs: captioned,
    }),
    text_layers: network(whole(1, 64), 'Layers of the text network.', { unit: 'layers', ours: true, needs: captioned }),
    text_length: network(
      whole(2, 1024),
      'Tokens of a caption, with its start, its end and what fills it up; 77 in Stable Diffusion.',
      { unit: 'tokens', ours: true, needs: captioned },
    ),
    ema_rate: fixed(
      rate(),
      'Largest decay of the moving average of the weights, which samples are drawn with. After n updates the decay is min(ema_rate, (1 + n) / (10 + n)).',
    ),
    dropout: fixed(rate(), 'Share of the activations that each block drops in training.'),
    normalization: inert(fixed(z.enum(['GroupNorm']), 'The normalisation; the network always has group norms.')),
    nonlinearity: network(z.enum(['swish', 'elu', 'relu', 'lrelu']), 'The activation function.'),
    nf: network(
      whole(4, 2 ** 14),
      'Channels of the first level; each level multiplies it by its entry of model.ch_mult.',
      {
        unit: 'channels',
      },
    ),
    ch_mult: network(
      list(whole(1, 256), 1, 15),
      'Channels of each level as a multiple of model.nf. The number of entries is the number of levels; each halves the image.',
    ),
    num_res_blocks: network(whole(1, 256), 'Residual blocks of each level on the way down; one more on the way up.', {
      unit: 'blocks',
    }),
    attn_resolutions: network(list(whole(1, LARGEST_IMAGE), 0, 64), 'Image heights at which blocks have attention.', {
      unit: 'pixels',
    }),
    attention_type: inert(fixed(z.enum(['ddpm']), 'The kind of attention; there is one.')),
    resamp_with_conv: network(z.boolean(), 'Whether resampling between two levels includes a convolution.', {
      needs: { key: 'model.resblock_type', words: 'ddpm', met: (type: string) => type === 'ddpm' },
    }),
    fir: network(z.boolean(), 'Whether to resample with model.fir_kernel instead of nearest neighbour and mean.', {
      source: scoreSde,
    }),
    fir_kernel: network(
      list(number(-LARGEST, LARGEST), 1, 64),
      'Taps of the filter for resampling; rows and columns use the same ones, and their sum is scaled to 1.',
      { needs: { key: 'model.fir', words: 'true', met: (fir: boolean) => fir } },
    ),
    resblock_type: network(
      z.enum(['biggan', 'ddpm']),
      'Residual blocks of BigGAN, which resample themselves, or of DDPM.',
      {
        source: scoreSde,
      },
    ),
    progressive: network(
      z.enum(['none', 'output_skip', 'residual']),
      'How the levels on the way up add to the output: not, as an image of each level, or as features.',
      { source: scoreSde },
    ),
    progressive_input: network(
      z.enum(['none', 'input_skip', 'residual']),
      'How smaller copies of the input enter the levels on the way down: not, as images, or as features.',
      { source: scoreSde },
    ),
    progressive_combine: network(
      z.enum(['sum', 'cat']),
      'How a smaller copy of the input joins the features: their sum, or concatenation.',
      {
        needs: { key: 'model.progressive_input', words: 'input_skip', met: (input: string) => input === 'input_skip' },
      },
    ),
    embedding_type: network(
      z.enum(['positional', 'fourier']),
      'Embedding of the time: sines and cosines of fixed frequencies, or random Fourier features of its logarithm.',
    ),
    fourier_scale: fixed(positive(LARGEST), 'Deviation of the frequencies of random Fourier features.', {
      needs: { key: 'model.embedding_type', words: 'fourier', met: (type: string) => type === 'fourier' },
    }),
    conditional: network(z.boolean(), 'Whether the network receives the time.'),
    scale_by_sigma: network(
      z.boolean(),
      'Whether the output is divided by 999 t, the time as the network receives it; such a network cannot be evaluated at t = 0.',
    ),
    skip_rescale: network(
      z.boolean(),
      'Whether the sum of a block and its shortcut is divided by the square root of 2.',
    ),
    init_scale: fixed(
      number(0, LARGEST),
      'Scale of the initial weights of last convolutions. 0 means 1e-10, as in the official initialiser.',
    ),
    conv_size: inert(fixed(whole(1, 64), 'Size of the convolutions; the network always has 3.')),
    sigma_min: network(
      positive(LARGEST),
      'Smallest noise level of Score SDE. It is stored in checkpoints (the buffer sigmas) and does not affect a flow.',
    ),
    sigma_max: network(
      positive(LARGEST),
      'Largest noise level of Score SDE. It is stored in checkpoints (the buffer sigmas) and does not affect a flow.',
    ),
    num_scales: network(
      whole(1, MOST_SCALES),
      'Number of noise levels of Score SDE, stored in checkpoints (the buffer sigmas); it does not affect a flow.',
      { unit: 'levels' },
    ),
    beta_min: inert(fixed(positive(LARGEST), 'Smallest noise rate of the VP SDE of Score SDE.')),
    beta_max: inert(fixed(positive(LARGEST), 'Largest noise rate of the VP SDE of Score SDE.')),
    activation_checkpointing: free(
      z.boolean(),
      'Whether backward recomputes the activations of blocks instead of keeping them: less memory, more time, bit-identical results.',
      { ours: true },
    ),
  },
);
