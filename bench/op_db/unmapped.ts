// The operators of PyTorch's database without an equivalent among our functions, by the reason. A name that ends in * stands
// for all that begin so.
const reasons: Record<string, string> = {
  'linear algebra (decompositions, inverses, determinants)': `
    cholesky* geqrf linalg.cholesky* linalg.cond linalg.cross linalg.det linalg.eig* linalg.householder_product
    linalg.inv* linalg.ldl* linalg.lstsq* linalg.lu* linalg.matrix_norm linalg.matrix_power linalg.matrix_rank*
    linalg.multi_dot linalg.pinv* linalg.qr linalg.slogdet linalg.solve* linalg.svd* linalg.tensorinv
    linalg.tensorsolve linalg.vander logdet lu lu_solve lu_unpack matrix_exp norm:nuc ormqr pca_lowrank pinverse qr svd*
    triangular_solve cov corrcoef cross cdist`,
  'complex numbers and Fourier transforms': `
    angle cdouble cfloat chalf complex conj conj_physical fft.* imag istft nn.functional.silu:complex polar real
    resolve_conj resolve_neg stft view_as_complex view_as_real isreal`,
  'special functions': `
    digamma erfinv i0 igamma igammac lgamma mvlgamma* polygamma* special.* logit sinc`,
  'random numbers, which differ by generator': `
    bernoulli cauchy exponential geometric log_normal multinomial nn.functional.alpha_dropout nn.functional.dropout*
    nn.functional.feature_alpha_dropout* nn.functional.fractional_max_pool* nn.functional.rrelu normal* rand_like randint*
    randn* uniform native_dropout_backward`,
  'uninitialised memory': 'empty* new_empty*',
  'strides, storage and in-place operators': `
    alias_copy as_strided* resize_ resize_as_ zero_`,
  'sparse and quantised tensors, segments, just-in-time compilation, kernels of CUDA alone': `
    _segment_reduce* bmm:triton_optimized hash_tensor jiterator_* sparse.* to_sparse torch._scaled_mm*
    torch.ops.aten._efficient_attention_forward torch.ops.aten._flash_attention_forward`,
  'internal operators that back those of torch.nn.functional or give their statistics too': `
    _batch_norm_with_update _chunk_cat _native_batch_norm_legit _softmax_backward_data _unsafe_masked_index*
    _upsample_bilinear2d_aa max_pool2d_with_indices_backward native_batch_norm native_group_norm native_layer_norm
    nn.functional.batch_norm:without_cudnn torch.ops.aten._safe_softmax.default`,
  'results of float64, float16, int8 or int16': `
    byte char double float_power half log_softmax:with_dtype nn.functional.softmin:with_dtype short softmax:with_dtype
    bfloat16 to`,
  'masked tensors': 'masked.*',
  'windows of signals': 'signal.windows.*',
  'volumes: three axes of space': `
    grid_sampler_3d nn.functional.adaptive_avg_pool3d nn.functional.adaptive_max_pool3d nn.functional.avg_pool3d
    nn.functional.conv3d nn.functional.conv_transpose3d nn.functional.interpolate:trilinear nn.functional.max_pool3d`,
  'sums of products that several of our functions compute': `
    addbmm addcdiv addcmul addmm* addmv addr baddbmm kron lerp nn.functional.bilinear
    nn.functional.linear_cross_entropy* nn.functional.multi_head_attention_forward trapezoid trapz cumulative_trapezoid`,
  'shapes and joins that several of our functions compute': `
    __getitem__ atleast_* block_diag broadcast_shapes cartesian_prod column_stack combinations diagonal_scatter dstack
    hstack rot90 select_scatter slice_scatter vstack sum_to_size unfold unfold_copy nn.functional.channel_shuffle positive
    tril_indices triu_indices item unravel_index`,
  'padding other than by a constant': `
    nn.functional.pad:circular nn.functional.pad:reflect nn.functional.pad:replicate*`,
  'writing by index other than scatterAdd, scatterAlongAxis and indexAdd': `
    index_put index_reduce* masked_scatter put scatter_reduce*`,
  'resizing and reading of images by other rules': `
    grid_sampler_2d nn.functional.grid_sample nn.functional.interpolate:nearest-exact nn.functional.upsample_bilinear
    nn.functional.max_unpool*`,
  'elementwise functions that are not ours': `
    copysign deg2rad fmax fmin frac frexp gcd heaviside hypot isneginf isposinf lcm ldexp logaddexp
    logaddexp2 nan_to_num nextafter rad2deg round:decimals_3 round:decimals_neg_3 signbit xlogy`,
  'comparisons of whole tensors': 'allclose equal isclose isin',
  'reductions, orders and statistics that are not ours': `
    cummax cummin diff gradient histc histogram* kthvalue logcumsumexp mode nanmean nanmedian nanquantile nansum
    nonzero_static quantile renorm unique_consecutive dist`,
  'activations that are not ours': `
    nn.functional.celu nn.functional.glu nn.functional.hardshrink nn.functional.softshrink nn.functional.tanhshrink
    nn.functional.threshold`,
  'layers and losses that are not ours': `
    nn.functional.binary_cross_entropy nn.functional.ctc_loss nn.functional.embedding_bag nn.functional.gaussian_nll_loss
    nn.functional.hinge_embedding_loss nn.functional.local_response_norm nn.functional.margin_ranking_loss
    nn.functional.multi_margin_loss nn.functional.multilabel_* nn.functional.normalize nn.functional.pairwise_distance
    nn.functional.pdist nn.functional.poisson_nll_loss nn.functional.soft_margin_loss nn.functional.triplet_margin_*`,
};

/** @throws Error for a name without a reason, so that a new operator of the database is not left out silently */
export function unmapped(names: readonly string[]): Record<string, string[]> {
  const rest = new Set(names);
  const found = Object.entries(reasons).map(([reason, text]): [string, string[]] => {
    const patterns = text.trim().split(/\s+/);
    const matches = (name: string) =>
      patterns.some((pattern) => (pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern));
    const members = [...rest].filter(matches);
    for (const name of members) rest.delete(name);
    return [reason, members];
  });
  if (rest.size > 0)
    throw new Error(`op_db: neither mapped nor listed in bench/op_db/unmapped.ts: ${[...rest].join(', ')}`);
  return Object.fromEntries(found);
}
