// What each key of a configuration states next to its type in the schema: what it binds, and whether it has an effect.
import { expect, it } from 'vitest';
import { z } from 'zod';
import { architectureDifferences } from '../../../src/run/checkpoints/model.ts';
import { loadConfig } from '../../../src/run/config/index.ts';
import { fixed, free, table } from '../../../src/run/config/keys.ts';
import { keyProperties, leafPaths } from '../../../src/run/config/tree.ts';

const paths = leafPaths().map((path) => path.join('.'));

/** Dotted paths, as written here by table; those of `top` are in none. */
function inTables(tables: Record<string, string>): string[] {
  return Object.entries(tables).flatMap(([table, keys]) =>
    keys
      .trim()
      .split(/\s+/)
      .map((key) => (table === 'top' ? key : `${table}.${key}`)),
  );
}

it('every key states what it binds', () => {
  expect(paths.filter((path) => keyProperties(path) === undefined)).toEqual([]);
  expect(keyProperties('model')).toBeUndefined();
  expect(keyProperties('model.nff')).toBeUndefined();
  expect(keyProperties('toString')).toBeUndefined();
});

it('a key without a statement does not compile', () => {
  table('One.', [], { a: fixed(z.string(), 'A.'), b: table('Two.', [], { c: free(z.string(), 'C.') }) });
  // @ts-expect-error: the key must state what it binds.
  table('One.', [], { a: z.string() });
  // @ts-expect-error: the key must have a text.
  table('One.', [], { a: fixed(z.string()) });
});

it('these may change when a run resumes', () => {
  const expected = inTables({
    top: 'device precision exact',
    data: 'root_path',
    source: 'root_path',
    model: 'folder tokenizer activation_checkpointing',
    training: `
      n_iters snapshot_freq snapshot_freq_for_preemption log_freq loggers eval_freq snapshot_sampling data_dir
      feature_network`,
    eval: `
      folder begin_ckpt end_ckpt batch_size num_samples enable_sampling features source_features domains inception statistics reader
      enable_figures_only enable_loss enable_bpd enable_straightness straightness_samples bpd_dataset
      max_images`,
    sampling: `
      method use_ode_sampler ode_tol sample_N sigma_variance sde_drift guidance memory_budget not_finite
      n_steps_each noise_removal probability_flow snr`,
    reflow: 'last_flow_ckpt total_number_of_samples vgg16 pair_format pair_dtype',
    chain: `
      flows reflow_iters distil_steps distil_iters pairs pair_sampler pair_steps pair_tol pair_guidance classifier`,
  });
  expect(paths.filter((path) => keyProperties(path)?.binds === 'nothing').sort()).toEqual(expected.sort());
});

it('these describe the network', () => {
  const expected = inTables({
    data: 'image_size num_channels centered caption',
    model: `
      name lora_rank heads text_width text_layers text_length nonlinearity nf ch_mult num_res_blocks attn_resolutions resamp_with_conv fir fir_kernel
      resblock_type progressive progressive_input progressive_combine embedding_type conditional
      scale_by_sigma skip_rescale sigma_min sigma_max num_scales`,
  });
  expect(paths.filter((path) => keyProperties(path)?.binds === 'network').sort()).toEqual(expected.sort());
});

it('these have no effect', () => {
  const expected = inTables({
    sampling: 'n_steps_each noise_removal probability_flow snr',
    model: 'attention_type beta_min beta_max conv_size normalization',
  });
  expect(paths.filter((path) => keyProperties(path)?.inert).sort()).toEqual(expected.sort());
});

it('networks differ in keys of the network, and in keys of a model that this version does not know', async () => {
  const { model, ...config } = await loadConfig('digits');
  const other = { ...config, seed: 7, model: { ...model, nf: model.nf + 4, dropout: 0.5, later: 1 } };
  expect(architectureDifferences({ ...config, model }, other).map(({ path }) => path)).toEqual([
    'model.nf',
    'model.later',
  ]);
});
