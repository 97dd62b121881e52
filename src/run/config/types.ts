// The type of a configuration, with the text of each key for editors. scripts/config_pages.ts writes this file from schema.ts.

/** A whole configuration. */
export type Config = {
  /**
   * Seed of every random draw: initial weights, data order, noise, times, dropout. The official code reads it only as
   * the name of the folder of pairs. Expected: a whole number from 0 to 9007199254740991. Default: 42.
   */
  seed: number;
  /** Device to compute on, unless --device says otherwise. Expected: cpu, wasm, cuda or cuda:N. Default: cpu. */
  device: string;
  /**
   * Precision of matrix products and, for bf16, of stored activations. Precisions other than fp32 need the device cuda.
   * Default: fp32. Not in the official code.
   */
  precision: 'fp32' | 'tf32' | 'bf16';
  /**
   * Whether the CPU never uses Winograd convolutions: slower, with about a tenth of the error. Default: false. Not in
   * the official code.
   */
  exact: boolean;
  /** The images that a flow is trained on and compared with. */
  data: {
    /**
     * The data set. DIGITS is in the package, CIFAR10 is downloaded if data.root_path is empty, AFHQ, METFACES and
     * CELEBA are folders as they are published, FOLDER is any folder of images, PROMPTS a file of texts, for model.name
     * stable_diffusion. Names in capitals, except CIFAR10 and LSUN, are not in the official code. Default: CIFAR10.
     */
    dataset:
      | 'CIFAR10'
      | 'LSUN'
      | 'CelebA-HQ-Pytorch'
      | 'AFHQ-CAT-Pytorch'
      | 'AFHQ'
      | 'METFACES'
      | 'CELEBA'
      | 'FOLDER'
      | 'MNIST'
      | 'DIGITS'
      | 'PROMPTS';
    /**
     * Folder of the files of the data set, or the file of PROMPTS, UTF-8 with a text in each line; empty if the set is
     * in the package or is downloaded. Default: ''.
     */
    root_path: string;
    /**
     * Category of LSUN (bedroom, church_outdoor and so on) or AFHQ (cat, dog or wild). For a data set with classes, the
     * classes to use: names or numbers such as cat or 3,5; empty for all. Default: ''. Has an effect only if
     * data.dataset is LSUN, AFHQ or a data set with classes.
     */
    category: string;
    /**
     * Which images of DIGITS: all, digits 1 to 898 of the file or digits 899 to 1797. Each half has its own held-out
     * part. Default: whole. Has an effect only if data.dataset is DIGITS. Not in the official code.
     */
    half: 'whole' | 'first' | 'second';
    /**
     * What is done to each image as it is read: bold is a grey dilation by 2 x 2 pixels, inverted is 255 minus each
     * pixel, rotated is a quarter turn counterclockwise. Default: none. Not in the official code.
     */
    change: 'none' | 'bold' | 'inverted' | 'rotated';
    /**
     * Height and width of the images. Image files are scaled and cropped to it; other data sets must have this size.
     * Expected: a whole number from 1 to 16384 (pixels). Default: 32.
     */
    image_size: number;
    /**
     * Channels of the images: 3 for colour, 1 for grey. Expected: a whole number from 1 to 1024 (channels). Default: 3.
     */
    num_channels: number;
    /** Whether training mirrors each image with probability 1/2. Default: true. */
    random_flip: boolean;
    /**
     * Whether image files are rotated by their EXIF orientation, as viewers do; false reads them as PIL and torchvision
     * do. Default: true. Has an effect only if data.dataset is a data set of image files. Not in the official code.
     */
    exif_orientation: boolean;
    /** Range of the pixels that the network sees: true is [-1, 1], false is [0, 1]. Default: false. */
    centered: boolean;
    /**
     * Caption of an image, in which {class} stands for the name of its class. If empty, the flow takes no text.
     * Default: ''. Has an effect only if model.name is unet2d_condition. Not in the official code.
     */
    caption: string;
    /**
     * Whether training adds uniform noise below one grey level to each image, so that the data has a density. Default:
     * false.
     */
    uniform_dequantization: boolean;
  };
  /**
   * The images that paths start from, if they do not start from noise: a domain transfer. They get the size, the
   * channels and the EXIF rotation of `data`.
   */
  source: {
    /**
     * The data set, as data.dataset. Default: CIFAR10. Has an effect only if sampling.init_type is data. Not in the
     * official code.
     */
    dataset:
      | 'CIFAR10'
      | 'LSUN'
      | 'CelebA-HQ-Pytorch'
      | 'AFHQ-CAT-Pytorch'
      | 'AFHQ'
      | 'METFACES'
      | 'CELEBA'
      | 'FOLDER'
      | 'MNIST'
      | 'DIGITS'
      | 'PROMPTS';
    /**
     * Folder of its files, as data.root_path. Default: ''. Has an effect only if sampling.init_type is data. Not in the
     * official code.
     */
    root_path: string;
    /**
     * Its category or classes, as data.category. Default: ''. Has an effect only if source.dataset is a data set with
     * classes or categories. Not in the official code.
     */
    category: string;
    /**
     * Which half of it, as data.half. Default: whole. Has an effect only if source.dataset is DIGITS. Not in the
     * official code.
     */
    half: 'whole' | 'first' | 'second';
    /**
     * What is done to its images, as data.change. Default: none. Has an effect only if sampling.init_type is data. Not
     * in the official code.
     */
    change: 'none' | 'bold' | 'inverted' | 'rotated';
    /**
     * Whether training mirrors each of its images with probability 1/2, independently of data.random_flip. Default:
     * true. Has an effect only if sampling.init_type is data. Not in the official code.
     */
    random_flip: boolean;
  };
  /** The network: a DDPM++ or NCSN++ of Score SDE (Song et al., 2021), or one that takes a text. */
  model: {
    /**
     * The architecture. ncsnpp covers DDPM++ and NCSN++. Two are not in the official code: unet2d_condition is the
     * network of Stable Diffusion with a text network, for images with captions; stable_diffusion is the one in
     * model.folder, for latents. Default: ncsnpp.
     */
    name: 'ncsnpp' | 'unet2d_condition' | 'stable_diffusion';
    /**
     * Folder of diffusers, or single file, of Stable Diffusion 1 or 2 or InstaFlow: the network to start from, the text
     * network and the autoencoder. Default: ''. Has an effect only if model.name is stable_diffusion. Not in the
     * official code.
     */
    folder: string;
    /**
     * Folder of the tokenizer. If empty, the one in model.folder; a single file has none. Default: ''. Has an effect
     * only if model.name is stable_diffusion. Not in the official code.
     */
    tokenizer: string;
    /**
     * What the network in model.folder predicts when it makes pairs: the velocity, as InstaFlow does, or the noise, as
     * Stable Diffusion does. A student learns the velocity. Default: velocity. Has an effect only if model.name is
     * stable_diffusion. Not in the official code.
     */
    prediction: 'velocity' | 'noise';
    /**
     * Rank of low-rank changes (LoRA) of the linear layers in transformer blocks, which are trained in place of the
     * weights; 0 trains the weights. Expected: a whole number from 0 to 1024. Default: 0. Has an effect only if
     * model.name is stable_diffusion. Not in the official code. Source: LoRA: Hu et al., 2021.
     */
    lora_rank: number;
    /**
     * Heads of attention, in the network and in its text network. Expected: a whole number from 1 to 1024. Default: 4.
     * Has an effect only if model.name is unet2d_condition. Not in the official code.
     */
    heads: number;
    /**
     * Channels of the text network. Expected: a whole number from 1 to 16384 (channels). Default: 64. Has an effect
     * only if model.name is unet2d_condition. Not in the official code.
     */
    text_width: number;
    /**
     * Layers of the text network. Expected: a whole number from 1 to 64 (layers). Default: 2. Has an effect only if
     * model.name is unet2d_condition. Not in the official code.
     */
    text_layers: number;
    /**
     * Tokens of a caption, with its start, its end and what fills it up; 77 in Stable Diffusion. Expected: a whole
     * number from 2 to 1024 (tokens). Default: 77. Has an effect only if model.name is unet2d_condition. Not in the
     * official code.
     */
    text_length: number;
    /**
     * Largest decay of the moving average of the weights, which samples are drawn with. After n updates the decay is
     * min(ema_rate, (1 + n) / (10 + n)). Expected: a number from 0 to below 1. Default: 0.9999.
     */
    ema_rate: number;
    /**
     * Share of the activations that each block drops in training. Expected: a number from 0 to below 1. Default: 0.1.
     */
    dropout: number;
    /**
     * The normalisation; the network always has group norms. Default: GroupNorm. Has no effect, as in the official
     * code.
     */
    normalization: 'GroupNorm';
    /** The activation function. Default: swish. */
    nonlinearity: 'swish' | 'elu' | 'relu' | 'lrelu';
    /**
     * Channels of the first level; each level multiplies it by its entry of model.ch_mult. Expected: a whole number
     * from 4 to 16384 (channels). Default: 128.
     */
    nf: number;
    /**
     * Channels of each level as a multiple of model.nf. The number of entries is the number of levels; each halves the
     * image. Expected: a list of 1 to 15 whole numbers from 1 to 256. Default: [1, 2, 2, 2].
     */
    ch_mult: number[];
    /**
     * Residual blocks of each level on the way down; one more on the way up. Expected: a whole number from 1 to 256
     * (blocks). Default: 4.
     */
    num_res_blocks: number;
    /**
     * Image heights at which blocks have attention. Expected: a list of 0 to 64 whole numbers from 1 to 16384 (pixels).
     * Default: [16].
     */
    attn_resolutions: number[];
    /** The kind of attention; there is one. Default: ddpm. Has no effect, as in the official code. */
    attention_type: 'ddpm';
    /**
     * Whether resampling between two levels includes a convolution. Default: true. Has an effect only if
     * model.resblock_type is ddpm.
     */
    resamp_with_conv: boolean;
    /**
     * Whether to resample with model.fir_kernel instead of nearest neighbour and mean. Default: false. Source: Score
     * SDE (Song et al., 2021), appendix H.
     */
    fir: boolean;
    /**
     * Taps of the filter for resampling; rows and columns use the same ones, and their sum is scaled to 1. Expected: a
     * list of 1 to 64 numbers from -1e+30 to 1e+30. Default: [1, 3, 3, 1]. Has an effect only if model.fir is true.
     */
    fir_kernel: number[];
    /**
     * Residual blocks of BigGAN, which resample themselves, or of DDPM. Default: biggan. Source: Score SDE (Song et
     * al., 2021), appendix H.
     */
    resblock_type: 'biggan' | 'ddpm';
    /**
     * How the levels on the way up add to the output: not, as an image of each level, or as features. Default: none.
     * Source: Score SDE (Song et al., 2021), appendix H.
     */
    progressive: 'none' | 'output_skip' | 'residual';
    /**
     * How smaller copies of the input enter the levels on the way down: not, as images, or as features. Default: none.
     * Source: Score SDE (Song et al., 2021), appendix H.
     */
    progressive_input: 'none' | 'input_skip' | 'residual';
    /**
     * How a smaller copy of the input joins the features: their sum, or concatenation. Default: sum. Has an effect only
     * if model.progressive_input is input_skip.
     */
    progressive_combine: 'sum' | 'cat';
    /**
     * Embedding of the time: sines and cosines of fixed frequencies, or random Fourier features of its logarithm.
     * Default: fourier.
     */
    embedding_type: 'positional' | 'fourier';
    /**
     * Deviation of the frequencies of random Fourier features. Expected: a number above 0, at most 1e+30. Default: 16.
     * Has an effect only if model.embedding_type is fourier.
     */
    fourier_scale: number;
    /** Whether the network receives the time. Default: true. */
    conditional: boolean;
    /**
     * Whether the output is divided by 999 t, the time as the network receives it; such a network cannot be evaluated
     * at t = 0. Default: false.
     */
    scale_by_sigma: boolean;
    /** Whether the sum of a block and its shortcut is divided by the square root of 2. Default: true. */
    skip_rescale: boolean;
    /**
     * Scale of the initial weights of last convolutions. 0 means 1e-10, as in the official initialiser. Expected: a
     * number from 0 to 1e+30. Default: 0.
     */
    init_scale: number;
    /**
     * Size of the convolutions; the network always has 3. Expected: a whole number from 1 to 64. Default: 3. Has no
     * effect, as in the official code.
     */
    conv_size: number;
    /**
     * Smallest noise level of Score SDE. It is stored in checkpoints (the buffer sigmas) and does not affect a flow.
     * Expected: a number above 0, at most 1e+30. Default: 0.01.
     */
    sigma_min: number;
    /**
     * Largest noise level of Score SDE. It is stored in checkpoints (the buffer sigmas) and does not affect a flow.
     * Expected: a number above 0, at most 1e+30. Default: 50.
     */
    sigma_max: number;
    /**
     * Number of noise levels of Score SDE, stored in checkpoints (the buffer sigmas); it does not affect a flow.
     * Expected: a whole number from 1 to 1000000 (levels). Default: 1000.
     */
    num_scales: number;
    /**
     * Smallest noise rate of the VP SDE of Score SDE. Expected: a number above 0, at most 1e+30. Default: 0.1. Has no
     * effect, as in the official code.
     */
    beta_min: number;
    /**
     * Largest noise rate of the VP SDE of Score SDE. Expected: a number above 0, at most 1e+30. Default: 20. Has no
     * effect, as in the official code.
     */
    beta_max: number;
    /**
     * Whether backward recomputes the activations of blocks instead of keeping them: less memory, more time,
     * bit-identical results. Default: false. Not in the official code.
     */
    activation_checkpointing: boolean;
  };
  /** The optimiser and its learning rate. */
  optim: {
    /**
     * The optimiser. Muon updates matrices, and AdamW the other parameters. The official code has Adam only. Default:
     * Adam.
     */
    optimizer: 'Adam' | 'AdamW' | 'SGD' | 'Lion' | 'Muon';
    /**
     * Learning rate after the warm-up. Larger values learn faster until the loss diverges. Expected: a number above 0,
     * at most 1e+30. Default: 0.0002.
     */
    lr: number;
    /**
     * Decay of the mean of the gradients. Expected: a number from 0 to below 1. Default: 0.9. Has an effect only if
     * optim.optimizer is other than SGD.
     */
    beta1: number;
    /**
     * Decay of the mean of the squared gradients; for Lion that of its only mean, 0.99 in its paper. The official code
     * always has 0.999. Expected: a number from 0 to below 1. Default: 0.999. Has an effect only if optim.optimizer is
     * other than SGD. Not in the official code.
     */
    beta2: number;
    /**
     * Number added to the root of the mean square, so that nothing is divided by 0. Expected: a number above 0, at most
     * 1e+30. Default: 1e-8. Has an effect only if optim.optimizer is Adam, AdamW or Muon.
     */
    eps: number;
    /**
     * Weight decay: an L2 penalty for Adam and SGD; the others subtract the learning rate times it from each parameter
     * (decoupled decay). Expected: a number from 0 to 1e+30. Default: 0.
     */
    weight_decay: number;
    /**
     * Momentum of SGD and of Muon; 0 for none. Expected: a number from 0 to below 1. Default: 0.95. Has an effect only
     * if optim.optimizer is SGD or Muon. Not in the official code.
     */
    momentum: number;
    /**
     * Whether that momentum is Nesterov's. Default: true. Has an effect only if optim.optimizer is SGD or Muon. Not in
     * the official code.
     */
    nesterov: boolean;
    /**
     * Learning rate of the matrices with Muon; the other parameters have optim.lr. Expected: a number above 0, at most
     * 1e+30. Default: 0.02. Has an effect only if optim.optimizer is Muon. Not in the official code. Source: Muon
     * (Jordan et al., 2024).
     */
    muon_lr: number;
    /**
     * Updates over which the learning rate rises linearly from 0; 0 for none. Expected: a whole number from 0 to
     * 1000000000000 (updates). Default: 5000.
     */
    warmup: number;
    /**
     * The learning rate after the warm-up: constant, a linear or a cosine decay, or a factor every
     * optim.schedule_steps. The official code keeps it constant. Default: constant. Not in the official code.
     */
    schedule: 'constant' | 'linear' | 'cosine' | 'step';
    /**
     * Updates after which linear and cosine end, the warm-up included, or between two changes of step. Expected: a
     * whole number from 1 to 1000000000000 (updates). Default: 1300002. Has an effect only if optim.schedule is other
     * than constant. Not in the official code.
     */
    schedule_steps: number;
    /**
     * The last learning rate of linear and cosine as a share of optim.lr, or the factor of each change of step.
     * Expected: a number from 0 to 1. Default: 0.1. Has an effect only if optim.schedule is other than constant. Not in
     * the official code.
     */
    schedule_factor: number;
    /**
     * Largest global norm of the gradient; larger gradients are scaled down to it. A negative number disables clipping.
     * Expected: a number from -1e+30 to 1e+30. Default: 1.
     */
    grad_clip: number;
  };
  /** Batches, steps, what is written and how often, and the law of the times. */
  training: {
    /** The method; there is one. Default: rectified_flow. */
    sde: 'rectified_flow';
    /** Images of one update. Expected: a whole number from 1 to 1048576 (images). Default: 128. */
    batch_size: number;
    /**
     * Number of parts in which a batch is evaluated, one after another; it divides training.batch_size. Memory is
     * needed for one part only. Expected: a whole number from 1 to 1048576 (parts). Default: 1. Not in the official
     * code.
     */
    accumulation: number;
    /**
     * Index of the last step. Steps count from 0, so there are n_iters + 1 updates, as in the official loop. Expected:
     * a whole number from 0 to 1000000000000 (steps). Default: 1300001.
     */
    n_iters: number;
    /**
     * Steps between two numbered snapshots: checkpoint_k is written at step k * snapshot_freq. Expected: a whole number
     * from 1 to 1000000000000 (steps). Default: 50000.
     */
    snapshot_freq: number;
    /**
     * Steps between two states to resume from. The last two are kept. Expected: a whole number from 1 to 1000000000000
     * (steps). Default: 10000.
     */
    snapshot_freq_for_preemption: number;
    /**
     * Steps between two entries of the loggers. Expected: a whole number from 1 to 1000000000000 (steps). Default: 50.
     */
    log_freq: number;
    /**
     * Where a run logs to besides log.jsonl: event files for TensorBoard, metrics.csv, both or neither. Default:
     * tensorboard. Not in the official code. Source: docs/loggers.md.
     */
    loggers: 'tensorboard' | 'csv' | 'tensorboard,csv' | 'none';
    /**
     * Steps between two evaluations on four held-out batches. Expected: a whole number from 1 to 1000000000000 (steps).
     * Default: 100.
     */
    eval_freq: number;
    /** Whether to sample and evaluate each snapshot. Default: true. */
    snapshot_sampling: boolean;
    /** Whether the loss of an image is the mean over its dimensions; false takes half the sum. Default: true. */
    reduce_mean: boolean;
    /** A loss of Score SDE; Rectified Flow has no other loss, so it must be false. Default: false. */
    continuous: false;
    /** A loss of Score SDE; Rectified Flow has no other loss, so it must be false. Default: false. */
    likelihood_weighting: false;
    /**
     * Distribution of the times that training draws. The official code draws them uniformly. Default: uniform. Not in
     * the official code. Source: logit_normal and cosmap: Esser et al., 2024; u_shaped: Lee, Lin, Fanti, 2024.
     */
    time_law: 'uniform' | 'logit_normal' | 'u_shaped' | 'cosmap';
    /**
     * Mean of the logit of the times. Expected: a number from -1000 to 1000. Default: 0. Has an effect only if
     * training.time_law is logit_normal. Not in the official code.
     */
    time_mean: number;
    /**
     * Standard deviation of the logit of the times. Expected: a number above 0, at most 1000. Default: 1. Has an effect
     * only if training.time_law is logit_normal. Not in the official code.
     */
    time_deviation: number;
    /**
     * How strongly the u_shaped law favours times near 0 and 1. Expected: a number above 0, below 80. Default: 4. Has
     * an effect only if training.time_law is u_shaped. Not in the official code.
     */
    time_steepness: number;
    /**
     * In a domain transfer, the weight w of the loss in features of a classifier of the two domains: w times the mean
     * square of J (x_1 - x_0 - v), plus 1 - w times that of x_1 - x_0 - v. Applies to `train` and `reflow`; 0 for the
     * plain loss. Expected: a number from 0 to 1. Default: 0. Has an effect only if sampling.init_type is data. Not in
     * the official code. Source: Flow Straight and Fast (Liu, Gong, Liu 2023), section 5.3.
     */
    feature_weight: number;
    /**
     * In a domain transfer, each training image is paired with one of its nearest images of the other domain: this is
     * their number; 0 pairs at random. Likeness is found without labels: cosines of the images, each less the mean of
     * its domain, then linear maps between neighbours, in turns. Applies to `train`; the loss on held-out images stays
     * that of random pairs. Expected: a whole number from 0 to 100 (images). Default: 0. Has an effect only if
     * sampling.init_type is data. Not in the official code. Source: the turns: Word Translation Without Parallel Data
     * (Conneau et al. 2018).
     */
    neighbours: number;
    /**
     * File of that classifier; if empty, it is trained first, into domains.safetensors of the run. Default: ''. Has an
     * effect only if training.feature_weight is above 0. Not in the official code.
     */
    feature_network: string;
    /**
     * Share of the captions that are left empty, in training and in pairs, so that guidance has a flow without a
     * caption to start from. Expected: a number from 0 to 1. Default: 0.1. Has an effect only if model.name is
     * unet2d_condition or stable_diffusion. Not in the official code. Source: classifier-free guidance (Ho, Salimans,
     * 2021).
     */
    caption_dropout: number;
    /** Folder of CelebA-HQ-Pytorch and AFHQ-CAT-Pytorch in the official code; data.root_path works too. Default: ''. */
    data_dir: string;
  };
  /** What `eval` computes, and for which snapshots. */
  eval: {
    /**
     * Folder below the work directory for results; --eval_folder in the official code. Expected: the name of a folder:
     * letters, digits, _ . - without a leading dot. Default: eval. Not in the official code.
     */
    folder: string;
    /**
     * Number of the first snapshot to evaluate. Expected: a whole number from 0 to 1000000000000 (snapshots). Default:
     * 9.
     */
    begin_ckpt: number;
    /**
     * Number of the last snapshot to evaluate. Expected: a whole number from 0 to 1000000000000 (snapshots). Default:
     * 26.
     */
    end_ckpt: number;
    /** Images of one batch of an evaluation. Expected: a whole number from 1 to 1048576 (images). Default: 1024. */
    batch_size: number;
    /**
     * Samples that scores are computed from; published scores use 50,000. Expected: a whole number from 1 to 2147483647
     * (images). Default: 50000.
     */
    num_samples: number;
    /** Whether `eval` draws samples and computes FID, IS, KID, precision and recall. Default: false. */
    enable_sampling: boolean;
    /**
     * Features that samples are compared in: those of Inception, as published scores use, pixels, or a classifier that
     * `classifier` trained. Expected: inception, pixels or classifier:FILE. Default: inception. Not in the official
     * code.
     */
    features: string;
    /**
     * File of the Inception weights. If empty, they are found or downloaded: docs/from-pytorch.md. Default: ''. Not in
     * the official code.
     */
    inception: string;
    /**
     * File of the data set's statistics. If empty, it is searched in assets/stats/ and the user's data folder. Default:
     * ''. Not in the official code.
     */
    statistics: string;
    /**
     * File of a classifier that reads the class in samples with captions, so that a report says how often it is the one
     * of the caption; empty for none. It should be trained on other images than the flow: rectiflow classifier
     * --held-out. Default: ''. Has an effect only if model.name is unet2d_condition. Not in the official code.
     */
    reader: string;
    /**
     * In a domain transfer, features as eval.features for images that come to the source; if empty, eval.features.
     * Expected: inception, pixels, classifier:FILE or nothing. Default: ''. Has an effect only if sampling.init_type is
     * data. Not in the official code.
     */
    source_features: string;
    /**
     * In a domain transfer, file of a classifier of the two domains that took no part in training, by which a report
     * says how often images are read as the domain that they come to; empty for none. Default: ''. Has an effect only
     * if sampling.init_type is data. Not in the official code.
     */
    domains: string;
    /** Whether `eval` writes sheets of images and nothing else. Default: false. */
    enable_figures_only: boolean;
    /** Whether `eval` computes the loss over the held-out part. Default: false. */
    enable_loss: boolean;
    /**
     * Whether `eval` computes bits per dimension, an upper bound of the negative log-likelihood. Default: false.
     * Source: Score SDE (Song et al., 2021), appendix D.
     */
    enable_bpd: boolean;
    /**
     * Whether `eval` computes how straight the flow's paths are. Default: false. Not in the official code. Source:
     * Rectified Flow (Liu, Gong, Liu, 2023), section 2.2.
     */
    enable_straightness: boolean;
    /**
     * Number of paths that straightness is computed from. Expected: a whole number from 1 to 2147483647 (paths).
     * Default: 1000. Not in the official code.
     */
    straightness_samples: number;
    /** Part for the bits per dimension: 5 passes over test or 1 over train, each with new noise. Default: test. */
    bpd_dataset: 'train' | 'test';
    /**
     * Use at most this many images of the data set, from the first one; 0 for all. Expected: a whole number from 0 to
     * 2147483647 (images). Default: 0. Not in the official code.
     */
    max_images: number;
  };
  /** How noise becomes images. */
  sampling: {
    /** The method; there is one. Default: rectified_flow. */
    method: 'rectified_flow';
    /**
     * The distribution pi_0 that paths start from: noise, or the images of source.*, which makes the flow a domain
     * transfer. The official code has gaussian. Default: gaussian.
     */
    init_type: 'gaussian' | 'data';
    /**
     * Standard deviation of the noise that paths start from, pi_0. Expected: a number above 0, at most 1e+30. Default:
     * 1. Has an effect only if sampling.init_type is gaussian.
     */
    init_noise_scale: number;
    /**
     * Deviation of the noise that is added to the images of source.*, in the range that the network sees: a few images
     * have no density, so without it paths from images that are close to each other may go anywhere. Expected: a number
     * from 0 to 1e+30. Default: 0. Has an effect only if sampling.init_type is data. Not in the official code. Source:
     * Flow Straight and Fast (Liu, Gong, Liu 2023), section 2.2.
     */
    smooth_source: number;
    /**
     * The ODE solver: rk45 chooses its steps by sampling.ode_tol, the others take sampling.sample_N equal steps. The
     * official code has euler and rk45. Default: rk45.
     */
    use_ode_sampler: 'euler' | 'heun' | 'midpoint' | 'rk4' | 'rk45';
    /**
     * Absolute and relative tolerance of rk45. Expected: a number above 0, at most 1. Default: 0.00001. Has an effect
     * only if sampling.use_ode_sampler is rk45.
     */
    ode_tol: number;
    /**
     * Steps of the solvers with equal steps. euler evaluates the network once per step, heun and midpoint twice, rk4
     * four times. Expected: a whole number from 1 to 10000000 (steps). Default: 1000. Has an effect only if
     * sampling.use_ode_sampler is other than rk45.
     */
    sample_N: number;
    /**
     * Above 0, euler becomes a stochastic sampler with noise of deviation (1 - t) sigma_variance sqrt(dt) per step.
     * Expected: a number from 0 to 1e+30. Default: 0. Has an effect only if sampling.use_ode_sampler is euler.
     */
    sigma_variance: number;
    /**
     * Drift of the stochastic sampler; the official one, legacy, does not preserve the marginals. Default: exact. Has
     * an effect only if sampling.sigma_variance is above 0. Not in the official code.
     */
    sde_drift: 'exact' | 'legacy';
    /**
     * Scale of the guidance towards the caption: v(empty) + guidance (v(caption) - v(empty)). At most 1: none, and one
     * evaluation a step instead of two. Expected: a number from 0 to 1000. Default: 1. Has an effect only if model.name
     * is unet2d_condition or stable_diffusion. Not in the official code. Source: classifier-free guidance (Ho,
     * Salimans, 2021).
     */
    guidance: number;
    /**
     * Memory that one evaluation of the network may use; larger batches are evaluated in parts. Expected: a whole
     * number from 1 to 1125899906842624 (bytes). Default: 2147483648. Not in the official code.
     */
    memory_budget: number;
    /**
     * Whether samples that are not finite are an error or are left out and counted. In pairs they are always an error.
     * Default: refuse. Not in the official code.
     */
    not_finite: 'refuse' | 'leave_out';
    /**
     * Corrector steps of Score SDE. Expected: a whole number from 1 to 10000000 (steps). Default: 1. Has no effect, as
     * in the official code.
     */
    n_steps_each: number;
    /** A last denoising step of Score SDE. Default: true. Has no effect, as in the official code. */
    noise_removal: boolean;
    /** The probability flow sampler of Score SDE. Default: false. Has no effect, as in the official code. */
    probability_flow: boolean;
    /**
     * Signal-to-noise ratio of the corrector of Score SDE. Expected: a number above 0, at most 1e+30. Default: 0.16.
     * Has no effect, as in the official code.
     */
    snr: number;
  };
  /** Pairs from a trained flow, and the flow that is trained on them. */
  reflow: {
    /**
     * What `reflow` does: generate pairs from noise, or from images of the data set (not in the official code); train
     * on stored pairs, or on pairs that the teacher makes in each step. Default: train_reflow. Source: Rectified Flow
     * (Liu, Gong, Liu, 2023), section 2.2.
     */
    reflow_type: 'generate_data_from_z0' | 'generate_data_from_z1' | 'train_reflow' | 'train_online_reflow';
    /**
     * Times of the training: uniform for reflow; t0 distils to one step; a number k distils to k steps; t1 is the
     * reverse, one step from data to noise. Expected: one of t0, t1, uniform, or a whole number from 1 to 10000000.
     * Default: uniform. Source: Rectified Flow (Liu, Gong, Liu, 2023), section 2.2.
     */
    reflow_t_schedule: 't0' | 't1' | 'uniform' | number;
    /**
     * Distance of velocities or, with lpips, of images: src/run/training/distance.ts. The two with huber are not in the
     * official code. Default: l2. Source: lpips: Zhang et al., 2018; huber: Lee, Lin, Fanti, 2024.
     */
    reflow_loss: 'l2' | 'lpips' | 'lpips+l2' | 'pseudo-huber' | 'lpips-huber';
    /** Checkpoint of the flow to start from, which is also the teacher. Default: ''. */
    last_flow_ckpt: string;
    /** Folder of the pairs; those of one seed are in {data_root}/{seed}/. Default: ''. */
    data_root: string;
    /**
     * Number of pairs to generate. The official README advises at least a million for CIFAR-10. Expected: a whole
     * number from 1 to 2147483647 (pairs). Default: 10000.
     */
    total_number_of_samples: number;
    /**
     * File of the VGG16 weights for lpips. If empty, they are found or downloaded: docs/from-pytorch.md. Default: ''.
     * Has an effect only if reflow.reflow_loss is one with lpips. Not in the official code.
     */
    vgg16: string;
    /**
     * Whether a student starts from the raw weights of the flow, as in the official code, or from their moving average.
     * Default: raw. Not in the official code.
     */
    student: 'raw' | 'ema';
    /**
     * With t0, whether the network receives z0 itself, as in sampling, instead of 0.999 z0 + 0.001 z1 as in the
     * official code. Default: false. Not in the official code.
     */
    exact_t0: boolean;
    /**
     * How pairs are stored: z0.npy and z1.npy as the official code reads them, or one file of z1 per batch with z0
     * given by its seed. Default: official. Not in the official code.
     */
    pair_format: 'official' | 'shards';
    /**
     * How z1 is stored in shards: as f32, as 16 bits over [-4, 4] ([-1.5, 2.5] unless data.centered), or as f16, which
     * suits latents. Default: f32. Not in the official code.
     */
    pair_dtype: 'f32' | 'u16' | 'f16';
    /**
     * Share of pairs of real images, from generate_data_from_z1, in each batch of train_reflow. Expected: a number from
     * 0 to 1. Default: 0. Not in the official code.
     */
    real_data_ratio: number;
    /**
     * Folder of the pairs of real images. Default: ''. Has an effect only if reflow.real_data_ratio is above 0. Not in
     * the official code.
     */
    real_data_root: string;
    /**
     * Whether training mirrors both ends of each pair with probability 1/2. Default: false. Not in the official code.
     */
    flip_pairs: boolean;
    /**
     * Euler steps of the teacher of train_online_reflow; the official code always has 20. Expected: a whole number from
     * 1 to 10000000 (steps). Default: 20. Not in the official code.
     */
    online_steps: number;
  };
  /** The stages of `chain`, which take everything else from the other tables. The official code has no such command. */
  chain: {
    /**
     * Number of rectified flows: the first is trained on the data, each further one is the reflow of the one before.
     * Expected: a whole number from 1 to 1000 (flows). Default: 2. Not in the official code.
     */
    flows: number;
    /**
     * Index of the last step of each reflow, like training.n_iters for the first flow. Expected: a whole number from 0
     * to 1000000000000 (steps). Default: 300000. Has an effect only if chain.flows is above 1. Not in the official
     * code.
     */
    reflow_iters: number;
    /**
     * Euler steps of the generator that the last flow is distilled to; 0 for none. Expected: a whole number from 0 to
     * 10000000 (steps). Default: 1. Not in the official code.
     */
    distil_steps: number;
    /**
     * Index of the last step of the distillation, like training.n_iters. Expected: a whole number from 0 to
     * 1000000000000 (steps). Default: 100000. Has an effect only if chain.distil_steps is above 0. Not in the official
     * code.
     */
    distil_iters: number;
    /**
     * Number of pairs generated from each flow for the next stage. Expected: a whole number from 1 to 2147483647
     * (pairs). Default: 1000000. Not in the official code.
     */
    pairs: number;
    /**
     * ODE solver of the pairs, as sampling.use_ode_sampler is that of everything else. Default: rk45. Not in the
     * official code.
     */
    pair_sampler: 'euler' | 'heun' | 'midpoint' | 'rk4' | 'rk45';
    /**
     * Steps of chain.pair_sampler, if it takes equal steps. Expected: a whole number from 1 to 10000000 (steps).
     * Default: 100. Has an effect only if chain.pair_sampler is other than rk45. Not in the official code.
     */
    pair_steps: number;
    /**
     * Absolute and relative tolerance of chain.pair_sampler, if it is rk45. Expected: a number above 0, at most 1.
     * Default: 0.00001. Has an effect only if chain.pair_sampler is rk45. Not in the official code.
     */
    pair_tol: number;
    /**
     * Guidance of the pairs, as sampling.guidance is that of everything else: the next flow learns what the guided one
     * gives. Expected: a number from 0 to 1000. Default: 1. Has an effect only if model.name is unet2d_condition. Not
     * in the official code. Source: InstaFlow (Liu et al., 2024), section 4.
     */
    pair_guidance: number;
    /**
     * Whether to score with a classifier that is first trained on the data set's labels, instead of eval.features. With
     * captions, another one is trained on the held-out images, to read the classes of samples. Default: false. Not in
     * the official code.
     */
    classifier: boolean;
  };
};

/** The dotted path of a key. */
export type KeyPath = {
  [Name in keyof Config]: Config[Name] extends string | number | boolean
    ? Name
    : `${Name}.${keyof Config[Name] & string}`;
}[keyof Config];

type DeepPartial<T> = T extends readonly unknown[] ? T : T extends object ? { [K in keyof T]?: DeepPartial<T[K]> } : T;

/** Some keys of a configuration, nested as in the whole: `{ model: { nf: 8 } }`. */
export type ConfigOverrides = DeepPartial<Config>;

/**
 * The default export of a configuration file: its differences from `base`, a name or a path from the file; default
 * "base".
 */
export type ConfigFile = ConfigOverrides & { base?: string };
