// The names of tensors in a single file of CompVis' Stable Diffusion, for the names that diffusers and transformers give
// them. Networks are lists of numbered parts there; the numbers follow from the layers of a resolution.

/** Prefixes of the three networks in a single file. */
export const originalPrefixes = {
  unet: 'model.diffusion_model.',
  vae: 'first_stage_model.',
  text_encoder: 'cond_stage_model.transformer.',
} as const;

const resnetNames: Record<string, string> = {
  norm1: 'in_layers.0',
  conv1: 'in_layers.2',
  time_emb_proj: 'emb_layers.1',
  norm2: 'out_layers.0',
  conv2: 'out_layers.3',
  conv_shortcut: 'skip_connection',
};

/**
 * The name of a tensor of UNet2DCondition, behind the prefix.
 * @param layers residual layers of a block on the way down
 * @param attends whether the blocks on the way up have attention, the lowest resolution first
 */
export function originalUNetName(name: string, layers: number, attends: readonly boolean[]): string {
  const [part, ...rest] = name.split('.');
  const tail = (from: number) => rest.slice(from).join('.');
  const layerOf = (prefix: string) => {
    const [kind, index, ...inner] = prefix === '' ? rest : rest.slice(1);
    if (kind !== 'resnets') return { kind, index: Number(index), inner: inner.join('.') };
    const [module, ...leaf] = inner;
    return { kind, index: Number(index), inner: [resnetNames[module] ?? module, ...leaf].join('.') };
  };
  switch (part) {
    case 'conv_in':
      return `input_blocks.0.0.${tail(0)}`;
    case 'time_embedding':
      return `time_embed.${rest[0] === 'linear_1' ? 0 : 2}.${tail(1)}`;
    case 'down_blocks': {
      const { kind, index, inner } = layerOf('down');
      const first = (layers + 1) * Number(rest[0]) + 1;
      if (kind === 'downsamplers') return `input_blocks.${first + layers}.0.op.${inner.replace('conv.', '')}`;
      return `input_blocks.${first + index}.${kind === 'resnets' ? 0 : 1}.${inner}`;
    }
    case 'mid_block': {
      const { kind, index, inner } = layerOf('');
      return `middle_block.${kind === 'resnets' ? 2 * index : 1}.${inner}`;
    }
    case 'up_blocks': {
      const block = Number(rest[0]);
      const { kind, index, inner } = layerOf('up');
      const first = (layers + 1) * block;
      if (kind === 'upsamplers') return `output_blocks.${first + layers}.${attends[block] ? 2 : 1}.${inner}`;
      return `output_blocks.${first + index}.${kind === 'resnets' ? 0 : 1}.${inner}`;
    }
    case 'conv_norm_out':
      return `out.0.${tail(0)}`;
    case 'conv_out':
      return `out.2.${tail(0)}`;
    default:
      return name;
  }
}

const attentionNames: Record<string, string> = {
  group_norm: 'norm',
  to_q: 'q',
  to_k: 'k',
  to_v: 'v',
  'to_out.0': 'proj_out',
};

/** The name of a tensor of AutoencoderKL, behind the prefix. @param levels number of resolutions */
export function originalAutoencoderName(name: string, levels: number): string {
  return name
    .replace(/^(encoder)\.down_blocks\.(\d+)\.resnets\.(\d+)/, '$1.down.$2.block.$3')
    .replace(/^(encoder)\.down_blocks\.(\d+)\.downsamplers\.0/, '$1.down.$2.downsample')
    .replace(/^decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)/, (_, level, kind, index) =>
      kind === 'resnets'
        ? `decoder.up.${levels - 1 - Number(level)}.block.${index}`
        : `decoder.up.${levels - 1 - Number(level)}.upsample`,
    )
    .replace(/mid_block\.resnets\.(\d)/, (_, index) => `mid.block_${Number(index) + 1}`)
    .replace(
      /mid_block\.attentions\.0\.(group_norm|to_q|to_k|to_v|to_out\.0)/,
      (_, module) => `mid.attn_1.${attentionNames[module]}`,
    )
    .replace('conv_norm_out', 'norm_out')
    .replace('conv_shortcut', 'nin_shortcut');
}

/** Names of the attention of an autoencoder in folders from before diffusers 0.18. */
export const formerAttentionNames: ReadonlyMap<string, string> = new Map([
  ['query', 'to_q'],
  ['key', 'to_k'],
  ['value', 'to_v'],
  ['proj_attn', 'to_out.0'],
]);
